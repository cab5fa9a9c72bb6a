"""Prompts a second that a task of the kind `process` draws, asked as docs/custom-tasks.md says.

    python benches/generator.py python3 experiments/custom-task/nonlinearity.py

Medians of five rounds of 200 requests, in requests of as many prompts as evaluation and a batch of training ask for.
"""

import statistics
import subprocess
import sys
import time

REQUESTS = 200

generator = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def ask(request):
    generator.stdin.write(f"{request}\n".encode())
    generator.stdin.flush()


ask("shape")
n_points, d_x = map(int, generator.stdout.readline().split())
bytes_a_prompt = 4 * (1 + n_points * (d_x + 1))
for count in (64, 128):
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for number in range(REQUESTS):
            ask(f"sample 0 train {number * count} {count} -1")
            generator.stdout.read(count * bytes_a_prompt)
        rates.append(REQUESTS * count / (time.perf_counter() - started))
    print(f"requests of {count}: {statistics.median(rates):,.0f} prompts a second")
generator.stdin.close()
