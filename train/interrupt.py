"""Stopping in order: the first SIGINT or SIGTERM asks, the second insists."""

import os
import signal
import threading
from types import FrameType


class Interruptible:
    """Inside the block, `asked` becomes true on SIGINT or SIGTERM; a second signal leaves the process at once.

    Python gives signals to the main thread only. In another thread (Streamlit, Ray, `asyncio.to_thread`) the block
    leaves them to whoever handles them, and nobody asks.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruptible":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python, and cannot be from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
