"""What a process needs before it starts: a Python that is new enough, and settings with which it re-executes itself.

An old Python reads this file, so it is written in words that old ones know.
"""

import os
import platform
import sys

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "THP_MEM_ALLOC_ENABLE": "1"}
"""glibc keeps freed blocks and torch asks for huge pages: otherwise every step faults its tensors in anew."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for others sleep. Spinning, they would keep the cores from whatever else runs on the machine, and
each other from the work that all wait for: beside three other processes a training took three times as long."""

DONE = "POLYSEM_LAUNCHED"

OLDEST_PYTHON = (3, 11)


def require_python() -> None:
    """Leave the process with one line and exit code 3 where Python is too old."""
    if tuple(sys.version_info[:2]) < OLDEST_PYTHON:
        oldest, ours = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
        sys.stderr.write(f"error: polysem needs Python {oldest} or newer; this is {ours}\n")
        raise SystemExit(3)


def with_process_settings() -> None:
    """Re-execute this very command, once, with settings that must stand before torch is loaded.

    What the environment says already stays. A quota that a container sets is no affinity: OpenMP does not know it.
    """
    require_python()
    from train.cores import usable_cores  # not before: it is written for new Pythons

    if os.environ.get(DONE):
        return
    wanted = WAITING | (ALLOCATOR if platform.libc_ver()[0] == "glibc" else {})
    if usable_cores() < (os.cpu_count() or 1):
        wanted["OMP_NUM_THREADS"] = str(usable_cores())
    settings = {key: value for key, value in wanted.items() if key not in os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **settings, DONE: "1"})
