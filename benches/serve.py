"""How long `serve` takes to list many runs: `python benches/serve.py [PROGRAM [RUNS [FOLDER]]]`. Needs Python alone.

A run of the preset `smoke` is trained and copied by hard links, and the copies are served. Printed are the times of the answers to
/api/runs: the first one, which names all runs, the one that first says the state of all, and those after it.
"""

import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def copies(program: str, count: int, folder: Path) -> None:
    subprocess.run([program, "train", "smoke", "--quiet", "--json", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    (run,) = folder.iterdir()
    text = (run / "config.toml").read_text()
    shutil.rmtree(run / "plots")
    for number in range(count - 1):
        copy = folder / f"copy-{number:05}"
        shutil.copytree(run, copy, copy_function=os.link)
        for name in ("config.toml", "seal.toml"):
            (copy / name).unlink()
        # A setting of its own for each, as the runs of a sweep have; without a seal nothing says that it was changed.
        (copy / "config.toml").write_text(text.replace("seed = 0", f"seed = {number + 1}"))


def ask(port: int) -> tuple[float, int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("GET", "/api/runs")
    body = connection.getresponse().read()
    return time.perf_counter() - began, len(body), json.loads(body)


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(program: str, folder: Path, count: int) -> None:
    started = time.perf_counter()
    server = subprocess.Popen([program, "serve", folder, "--port", "0"], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        port = int(server.stdout.readline().rstrip("/\n").rsplit(":", 1)[1])
        took, length, document = ask(port)
        assert len(document["runs"]) == count, len(document["runs"])
        print(f"first answer: {1000 * took:.0f} ms, {time.perf_counter() - started:.2f} s after the start, {length / 1e6:.2f} MB")
        while any(run["state"] == "unread" for run in document["runs"]):
            time.sleep(0.2)
            _, length, document = ask(port)
        print(f"all states known: {time.perf_counter() - started:.1f} s after the start, {length / 1e6:.2f} MB")
        time.sleep(10)
        later = [ask(port)[0] for _ in range(50)]
        print(f"later answers: median {1000 * statistics.median(later):.0f} ms, longest {1000 * max(later):.0f} ms")
        before = processor_seconds(server.pid)
        time.sleep(30)
        print(f"processor while nobody asks: {100 * (processor_seconds(server.pid) - before) / 30:.1f}% of a core")
        status = Path(f"/proc/{server.pid}/status").read_text()
        print("memory:", next(line.split(":")[1].strip() for line in status.splitlines() if line.startswith("VmRSS")))
    finally:
        server.kill()


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    program, count = given.get(0, "target/debug/emergence"), int(given.get(1, 10_000))
    with tempfile.TemporaryDirectory(dir=given.get(2)) as place:
        folder = Path(place) / "runs"
        copies(program, count, folder)
        measure(program, folder, count)
