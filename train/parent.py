"""A process that stops in order once the one that it works for has ended, however that one ended.

A launcher stands between a study's stage and the trainings that it starts, and a dask worker between a study and its
stages. Whoever is killed tells nobody. So the one for whom a process works is named in its environment, and the
process looks after it.
"""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

WORKS_FOR = "POLYSEM_WORKS_FOR"
"""Names a process: where its number counts, and the number."""

EVERY = 0.5
"""Seconds between two looks."""


def working_for_this_process() -> dict[str, str]:
    """The variable that a process which works for this one is started with; launchers pass it on."""
    return {WORKS_FOR: f"{_numbering()} {os.getpid()}"}


def stop_with_parent() -> None:
    """From now on, send this process SIGTERM once the process for which it works has ended; without one, do nothing.

    On another machine, or in a container that numbers its processes itself, nothing is known of that process, and
    nothing is done.
    """
    numbering, _, number = os.environ.get(WORKS_FOR, "").rpartition(" ")
    if numbering != _numbering() or not number.isdecimal() or int(number) == os.getpid():
        return
    threading.Thread(target=_watch, args=(int(number),), name="stop with parent", daemon=True).start()


def _watch(number: int) -> None:
    try:
        parent = psutil.Process(number)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(EVERY)
    except psutil.NoSuchProcess:
        pass
    print(f"the process {number}, for which this one works, has ended", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


def _numbering() -> str:
    """Where process ids mean the same: this machine, and on Linux this namespace of processes."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}:{namespace}"
