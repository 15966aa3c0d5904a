"""`train.run` as notebooks, Streamlit and Ray call it: in other threads, several times, beside another Accelerator."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from tests.train.fixtures import small_run
from train import load, run
from train.errors import BadInput, Diverged
from train.interrupt import Interruptible

STATES = (AcceleratorState, GradientState, PartialState)


def in_a_thread(call, *words):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *words).result()


def test_a_run_in_a_worker_thread_is_bit_identical_and_handles_no_signal(finished, data, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    outcome = in_a_thread(run, small_run(data), tmp_path / "gelu-s0")
    assert outcome.checkpoint.hash == load(finished).hash
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_inside_an_event_loop_and_beside_it_is_bit_identical(finished, data, tmp_path):
    async def cell():
        inside = run(small_run(data), tmp_path / "inside" / "gelu-s0")  # as a notebook's cell does
        beside = await asyncio.to_thread(run, small_run(data), tmp_path / "beside" / "gelu-s0")
        return inside, beside

    for outcome in asyncio.run(cell()):
        assert outcome.checkpoint.hash == load(finished).hash


def test_runs_of_both_precisions_follow_each_other_in_one_process(finished, data, tmp_path):
    low = run(small_run(data, train__precision="bf16"), tmp_path / "low" / "gelu-s0").checkpoint
    again = run(small_run(data), tmp_path / "again" / "gelu-s0").checkpoint
    low_again = run(small_run(data, train__precision="bf16"), tmp_path / "low-again" / "gelu-s0").checkpoint
    assert again.hash == load(finished).hash
    assert low.hash == low_again.hash != again.hash


def test_runs_in_two_threads_take_turns_and_both_are_right(finished, data, tmp_path, capsys):
    precisions = ("fp32", "bf16", "fp32")
    with ThreadPoolExecutor(3) as pool:
        configs = [small_run(data, train__precision=precision) for precision in precisions]
        outs = [tmp_path / str(index) / "gelu-s0" for index in range(3)]
        first, low, last = (outcome.checkpoint for outcome in pool.map(run, configs, outs))
    assert first.hash == last.hash == load(finished).hash != low.hash
    assert "waiting: another run trains in this process" in capsys.readouterr().err


def test_accelerates_state_is_left_as_it_was(data, tmp_path):
    for state in STATES:
        state._shared_state.clear()
    run(small_run(data), tmp_path / "clean-s0")
    assert [state._shared_state for state in STATES] == [{}, {}, {}]
    theirs = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=4)
    try:
        run(small_run(data), tmp_path / "beside-s0")
        assert (theirs.mixed_precision, theirs.gradient_accumulation_steps) == ("bf16", 4)
    finally:
        for state in STATES:
            state._shared_state.clear()


@pytest.mark.parametrize(
    ("over", "error"), [({"train__rows_per_step": 3, "train__accumulate": 2}, BadInput), ({}, Diverged)]
)
def test_a_run_that_fails_leaves_accelerate_and_signals_to_the_next(finished, data, tmp_path, monkeypatch, over, error):
    if error is Diverged:
        monkeypatch.setattr("train.loop.held_out_losses", lambda *words: (float("nan"), {}))
    with pytest.raises(error):
        run(small_run(data, train__precision="bf16", **over), tmp_path / "bad-s0")
    monkeypatch.undo()
    assert in_a_thread(run, small_run(data), tmp_path / "gelu-s0").checkpoint.hash == load(finished).hash


def test_a_signal_is_asked_for_in_the_main_thread_only():
    def ask() -> bool:
        with Interruptible() as interrupt:
            return interrupt.asked

    assert in_a_thread(ask) is False
    before = signal.getsignal(signal.SIGTERM)
    with Interruptible() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.current_thread() is threading.main_thread()
