"""Starts a command as a process of its own and measures it."""

import os
import subprocess
import time
from typing import NamedTuple


class Measured(NamedTuple):
    """Seconds from start to end, the largest resident memory in MiB, and what was printed."""

    seconds: float
    memory: float
    printed: str


def measure(command: list, **options) -> Measured:
    """Runs a command, with `options` of `subprocess.Popen`; raises `CalledProcessError` if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, **options)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), process.args, printed)
    return Measured(time.perf_counter() - began, usage.ru_maxrss / 1024, printed)
