"""Work that several threads do at once, with results in order."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


_lock = threading.Lock()
_before: list[int] = []
"""Torch's number of threads before each block that is open; the number is the process', whoever sets it."""


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Make torch use this thread alone: in small steps its other threads take more time to meet than they save.

    Blocks of several callers may overlap: the last one to leave puts back what the first one found.
    """
    with _lock:
        _before.append(torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()  # which of the open blocks' does not matter, except for the first
            if not _before:
                torch.set_num_threads(before)


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Inside the block torch has so many threads; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], n_threads: int) -> Generator[Result, None, None]:
    """`work` of each item, in the order of the items, on `n_threads` threads beside the caller's.

    Torch uses one thread in each, and in the caller between two results. Torch's own threads would keep a core busy
    for milliseconds after every step, waiting for the next one, while the caller needs it. At most n_threads + 1
    results are in memory. Close the generator to leave it early.
    """
    waiting: deque[Future[Result]] = deque()
    with one_torch_thread(), ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
