"""Settings that a process needs before it starts: it re-executes itself once with them."""

import os
import platform
import sys

from train.cores import usable_cores

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "THP_MEM_ALLOC_ENABLE": "1"}
"""glibc keeps freed blocks and torch asks for huge pages: otherwise every step faults its tensors in anew."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for others sleep. Spinning, they would keep the cores from whatever else runs on the machine, and
each other from the work that all wait for: beside three other processes a training took three times as long."""

DONE = "POLYSEM_LAUNCHED"


def with_process_settings() -> None:
    """Re-execute this very command, once, with settings that must stand before torch is loaded.

    What the environment says already stays. A quota that a container sets is no affinity: OpenMP does not know it.
    """
    if os.environ.get(DONE):
        return
    wanted = WAITING | (ALLOCATOR if platform.libc_ver()[0] == "glibc" else {})
    if usable_cores() < (os.cpu_count() or 1):
        wanted["OMP_NUM_THREADS"] = str(usable_cores())
    settings = {key: value for key, value in wanted.items() if key not in os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **settings, DONE: "1"})
