"""Settings that a process needs before it starts: it re-executes itself once with them."""

import os
import platform
import sys

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "THP_MEM_ALLOC_ENABLE": "1"}
"""glibc keeps freed blocks and torch asks for huge pages: otherwise every step faults its tensors in anew."""

DONE = "POLYSEM_LAUNCHED"


def with_allocator_settings() -> None:
    """Re-execute this very command with the allocator's settings, once; does nothing without glibc."""
    if os.environ.get(DONE) or platform.libc_ver()[0] != "glibc":
        return
    settings = {key: value for key, value in ALLOCATOR.items() if key not in os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **settings, DONE: "1"})
