"""What threads work out ahead, given back in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Thing = TypeVar("Thing")
Result = TypeVar("Result")
AHEAD_BYTES = 2**24
"""Size of a result up to which threads work out several at once; the steps of larger ones torch shares out well."""


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch use this thread alone: in small steps its others take more time to meet than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def goes_ahead(n_bytes: int, n_threads: int) -> bool:
    """Whether results of that size are worked out ahead."""
    return n_threads > 1 and n_bytes <= AHEAD_BYTES


def ahead(work: Callable[[Thing], Result], things: Iterable[Thing], n_threads: int) -> Generator[Result, None, None]:
    """`work` of each thing, in their order, on so many threads, the caller's among them; two at least.

    Each has torch to itself, the caller between two results as well. Torch's own threads would keep a core busy
    for milliseconds after every step, waiting for the next, while the caller needs it. No more than n_threads + 1
    results are held. Close the iterator where it is left early.
    """
    waiting: deque[tuple[Thing, Future[Result]]] = deque()
    with (
        one_torch_thread(),
        ThreadPoolExecutor(n_threads - 1, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        try:
            for thing in things:
                waiting.append((thing, pool.submit(work, thing)))
                if len(waiting) > n_threads:
                    yield _next(work, waiting)
            while waiting:
                yield _next(work, waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _next(work: Callable[[Thing], Result], waiting: deque[tuple[Thing, Future[Result]]]) -> Result:
    """The first result; rather than wait for it, do the first thing that no thread has begun."""
    if not waiting[0][1].done():
        for place, (thing, future) in enumerate(waiting):
            if future.cancel():
                own: Future[Result] = Future()
                try:
                    own.set_result(work(thing))
                except Exception as failure:  # raised where the result is due
                    own.set_exception(failure)
                waiting[place] = (thing, own)
                break
    return waiting.popleft()[1].result()
