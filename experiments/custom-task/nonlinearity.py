"""A task in Python: y is w·x or |w·x|, and which of the two is the concept. It answers on standard streams until they end."""
import sys

import numpy as np

VERSION, N_POINTS, D_X, CONCEPTS = "1", 8, 4, ["linear", "absolute value"]
PURPOSES = {"train": 0, "eval": 1, "probe": 2, "patch": 3}
HALF = (D_X * (1 + N_POINTS) + 1) // 2
BLOCKS = -(-(1 + 2 * HALF) // 4)  # Philox makes four numbers at every place of its counter.
PROMPT = np.dtype([("concept", "<i4"), ("xs", "<f4", (N_POINTS, D_X)), ("ys", "<f4", N_POINTS)])


def prompts(seed, purpose, index, count, concept):
    """The prompts from `index` on. Each depends on its own index only: the counter starts there."""
    philox = np.random.Philox(key=[seed, PURPOSES[purpose]], counter=index * BLOCKS)
    uniform = np.random.Generator(philox).random((count, 4 * BLOCKS))
    radius, angle = uniform[:, 1 : 1 + HALF], uniform[:, 1 + HALF : 1 + 2 * HALF]
    normal = np.sqrt(-2 * np.log1p(-radius)) * np.exp(2j * np.pi * angle)  # Box and Muller: two normal numbers
    normal = np.concatenate([normal.real, normal.imag], axis=1)
    w, xs = normal[:, :D_X], normal[:, D_X : D_X * (1 + N_POINTS)].reshape(count, N_POINTS, D_X)
    ys = np.einsum("nkd,nd->nk", xs, w)
    drawn = np.zeros(count, PROMPT)
    drawn["concept"] = (uniform[:, 0] * len(CONCEPTS)).astype(int) if concept < 0 else concept
    drawn["xs"], drawn["ys"] = xs, np.where(drawn["concept"][:, None] == 1, np.abs(ys), ys)
    return drawn.tobytes()


for line in sys.stdin.buffer:
    match line.decode().split():
        case ["version"]:
            answer = f"{VERSION}\n".encode()
        case ["shape"]:
            answer = f"{N_POINTS} {D_X}\n".encode()
        case ["concepts"]:
            names = [f"{1 / len(CONCEPTS)} {name}\n" for name in CONCEPTS]
            answer = f"{len(names)}\n{''.join(names)}".encode()
        case ["sample", seed, purpose, *numbers]:
            answer = prompts(int(seed), purpose, *map(int, numbers))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
