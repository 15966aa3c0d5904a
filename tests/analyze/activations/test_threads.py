import threading
import time

import pytest
import torch

from analyze.activations.settings import DEFAULT
from analyze.activations.threads import in_order, one_torch_thread


@pytest.mark.parametrize("n_threads", [2, 3])
def test_results_come_in_order_and_no_more_are_in_memory_than_allowed(n_threads: int) -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(thing: int) -> int:
        with lock:
            started.append(thing)
        time.sleep(0.002 * (thing % 3))
        return thing * thing

    taken = 0
    for place, result in enumerate(in_order(work, range(40), n_threads)):
        assert result == place * place
        taken += 1
        assert len(started) <= taken + n_threads + 1
    assert taken == 40
    assert sorted(started) == list(range(40))


def test_torch_keeps_to_one_thread_a_worker_and_gets_its_threads_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        iterator = in_order(lambda _: torch.get_num_threads(), range(6), 2)
        assert next(iterator) == 1
        assert torch.get_num_threads() == 1
        iterator.close()
        assert torch.get_num_threads() == 2
        with one_torch_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_failure_is_raised_where_its_result_is_due() -> None:
    def work(thing: int) -> int:
        if thing == 4:
            raise ValueError("four")
        return thing

    found = []
    with pytest.raises(ValueError, match="four"):  # noqa: PT012 (what comes before it counts)
        for thing in in_order(work, range(20), 2):
            found.append(thing)
    assert found == [0, 1, 2, 3]


def test_large_results_and_a_single_thread_are_not_shared_out() -> None:
    assert DEFAULT.uses_threads(2**22, 2)
    assert not DEFAULT.uses_threads(2**22, 1)
    assert not DEFAULT.uses_threads(2**27, 2)
