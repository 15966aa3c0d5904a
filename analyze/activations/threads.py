"""Work that several threads do at once, with results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Make torch use this thread alone: in small steps its other threads take more time to meet than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], n_threads: int) -> Generator[Result, None, None]:
    """`work` of each item, in the order of the items, on `n_threads` threads (2 or more, the caller's among them).

    Torch uses one thread in each, and in the caller between two results. Torch's own threads would keep a core busy
    for milliseconds after every step, waiting for the next one, while the caller needs it. At most n_threads + 1
    results are in memory. Close the generator to leave it early.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with (
        one_torch_thread(),
        ThreadPoolExecutor(n_threads - 1, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > n_threads:
                    yield _next(work, waiting)
            while waiting:
                yield _next(work, waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _next(work: Callable[[Item], Result], waiting: deque[tuple[Item, Future[Result]]]) -> Result:
    """The first result. While it is not ready, the caller does the first item that no thread has started."""
    if not waiting[0][1].done():
        for index, (item, future) in enumerate(waiting):
            if future.cancel():
                own: Future[Result] = Future()
                try:
                    own.set_result(work(item))
                except Exception as failure:  # raised when its turn comes
                    own.set_exception(failure)
                waiting[index] = (item, own)
                break
    return waiting.popleft()[1].result()
