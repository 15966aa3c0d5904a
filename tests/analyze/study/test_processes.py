"""Tasks in processes: order, cores and memory, failures, and that nothing is left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil
import pytest

from analyze.study.processes import Running, Stage, TaskFailed, _startable, run_tasks
from analyze.study.tasks import Report, Task, chains, in_order
from train.errors import BadInput, EnvironmentProblem, Stopped
from train.workers import workers

GIGABYTE = 10**9
ROOT = Path(__file__).parents[3]


def write(directory: Path, name: str, seconds: float, report: Report) -> None:
    """Leave the times between which it ran, its threads, directory and process."""
    import torch

    began = time.monotonic()
    with report.stage("write", name) as say:
        time.sleep(seconds)
        say("done")
    facts = [began, time.monotonic(), torch.get_num_threads(), os.getcwd(), os.getpid(), os.environ.get("MARK", "")]
    (directory / name).write_text("\n".join(map(str, facts)))


def fail(error: Exception, report: Report) -> None:
    print("before it failed")
    raise error


def die(number: int, report: Report) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def sleep(directory: Path, name: str, seconds: float, report: Report) -> None:
    """Stop in order: leave a file."""
    (directory / f"{name}.pid").write_text(str(os.getpid()))
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        (directory / f"{name}.stopped").touch()
        raise


def task(name: str, call: Callable[..., None] = fail, needs: tuple[str, ...] = (), **over) -> Task:
    values = {"seconds": 1.0, "memory": GIGABYTE} | over
    return Task("write", name, call, needs=tuple(f"write {need}" for need in needs), **values)  # pyright: ignore


def times(directory: Path, name: str) -> tuple[float, float]:
    began, ended, *_ = (directory / name).read_text().split("\n")
    return float(began), float(ended)


def run(tasks: list[Task], jobs: int = 2, free: int = 100 * GIGABYTE, **over) -> list[Stage]:
    stages: list[Stage] = []
    run_tasks(tasks, jobs, free, lambda task, stage: stages.append(stage), **over)
    return stages


def test_the_longest_chain_starts_first():
    tasks = [task("a"), task("b", needs=("a",), seconds=5.0), task("c", seconds=3.0), task("d", needs=("b", "c"))]
    assert chains(tasks) == {"write a": 7.0, "write b": 6.0, "write c": 4.0, "write d": 1.0}
    assert [each.name for each in in_order(tasks)] == ["a", "b", "c", "d"]
    assert chains(tasks, dict.fromkeys(chains(tasks), 2.0))["write a"] == 6.0


def test_tasks_run_side_by_side_and_after_what_they_need(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARK", "here")
    names = {"a": (), "b": (), "c": ("a", "b")}
    stages = run([task(name, partial(write, tmp_path, name, 0.5), needs) for name, needs in names.items()])
    a, b, c = (times(tmp_path, name) for name in names)
    assert max(a[0], b[0]) < min(a[1], b[1])
    assert c[0] > max(a[1], b[1])
    assert {stage.name for stage in stages} == {"a", "b", "c"}
    assert all(stage.said == "done" and stage.seconds >= 0.5 for stage in stages)
    facts = [(tmp_path / name).read_text().split("\n")[2:] for name in names]
    assert all(fact[0] == "1" and fact[1] == str(tmp_path) and fact[3] == "here" for fact in facts)
    assert len({fact[2] for fact in facts} | {str(os.getpid())}) == 4


@pytest.mark.parametrize(
    ("over", "jobs", "free"),
    [
        ({}, 1, 100 * GIGABYTE),
        ({}, 2, GIGABYTE * 3 // 2),
        ({"exclusive": "device"}, 2, 100 * GIGABYTE),
        ({"threads": 2}, 3, 100 * GIGABYTE),
    ],
    ids=["one core", "memory for one", "one device", "more threads than cores"],
)
def test_what_does_not_fit_beside_another_waits(tmp_path, over, jobs, free):
    run([task(name, partial(write, tmp_path, name, 0.2), **over) for name in "ab"], jobs, free)
    a, b = sorted(times(tmp_path, name) for name in "ab")
    assert a[1] < b[0]


def test_a_task_larger_than_all_memory_still_runs_alone(tmp_path):
    assert len(run([task(name, partial(write, tmp_path, name, 0.0)) for name in "ab"], 2, 1)) == 2


@pytest.mark.parametrize(
    "error", [BadInput("key 'x': no"), Stopped("saved"), EnvironmentProblem("disk full")], ids=repr
)
def test_a_failure_keeps_its_words_and_code_and_stops_the_others_in_order(tmp_path, error):
    said: list[tuple[str, str]] = []
    tasks = [
        task("long", partial(sleep, tmp_path, "long", 600), seconds=9.0),
        task("bad", partial(fail, error)),
        task("never", partial(write, tmp_path, "never", 0.0), needs=("bad",)),
    ]
    began = time.monotonic()
    with pytest.raises(TaskFailed) as failure:
        run(tasks, on_text=lambda stream, text: said.append((stream, text)))
    assert (str(failure.value), failure.value.exit_code) == (str(error), error.exit_code)
    assert time.monotonic() - began < 300
    assert ("stdout", "before it failed") in said
    assert (tmp_path / "long.stopped").exists() or not (tmp_path / "long.pid").exists()
    assert not (tmp_path / "never").exists()
    require_gone(tmp_path)


def require_gone(directory: Path) -> None:
    for path in directory.glob("*.pid"):
        assert not psutil.pid_exists(int(path.read_text())), path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
def test_a_process_that_the_system_kills_is_one_line(tmp_path, number):
    with pytest.raises(EnvironmentProblem, match=f"write bad: its process was killed .*{number.name}.*goes on"):
        run([task("bad", partial(die, number)), task("long", partial(sleep, tmp_path, "long", 600))])
    require_gone(tmp_path)


def test_an_interrupt_stops_every_process_in_order(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind `&`

    def interrupt() -> None:
        while len(list(tmp_path.glob("*.pid"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run([task(name, partial(sleep, tmp_path, name, 600)) for name in "ab"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(list(tmp_path.glob("*.stopped"))) == 2
    require_gone(tmp_path)


STUDY = """
import sys
from functools import partial
from pathlib import Path
from analyze.study.processes import run_tasks
from tests.analyze.study.test_processes import sleep, task

if __name__ == "__main__":
    out = Path(sys.argv[1])
    run_tasks([task(name, partial(sleep, out, name, 600)) for name in "ab"], 2, 10**12, lambda task, stage: None)
"""


def test_tasks_of_a_study_that_is_killed_stop_too(tmp_path):
    program = tmp_path / "study.py"
    program.write_text(STUDY)
    process = subprocess.Popen([sys.executable, program, tmp_path], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    while len(list(tmp_path.glob("*.stopped"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(tmp_path.glob("*.stopped"))) == 2


def test_what_runs_and_what_waits_is_told(tmp_path):
    seen: list[tuple[list[str], int]] = []

    def changed(running: list[Running], waiting: list[Task]) -> None:
        seen.append(([f"{each.slot} {each.task.name}" for each in running], len(waiting)))

    run(
        [task(name, partial(write, tmp_path, name, 0.3), seconds=9.0 - i) for i, name in enumerate("abc")],
        on_change=changed,
    )
    assert (["0 a", "1 b"], 1) in seen
    assert seen[-1] == ([], 0)


@pytest.mark.parametrize(
    ("over", "jobs", "free", "expected"),
    [
        ({"spreads": True}, 5, 100 * GIGABYTE, {"a": 3, "b": 2}),
        ({"spreads": True}, 5, 3 * GIGABYTE, {"a": 2, "b": 1}),
        ({}, 5, 100 * GIGABYTE, {"a": 1, "b": 1}),
        ({"spreads": True}, 1, 100 * GIGABYTE, {"a": 1}),
        ({"spreads": True, "exclusive": "device"}, 3, 100 * GIGABYTE, {"a": 3}),
    ],
    ids=["idle cores are dealt out", "memory for three", "cannot spread", "no core idles", "alone"],
)
def test_idle_cores_go_to_what_can_use_them(over, jobs, free, expected):
    tasks = [task("a", **over), task("b", **over), task("later", needs=("a", "b"))]
    chosen = _startable(tasks, [], set(), {each.key for each in tasks}, jobs, free)
    assert {each.name: cores for each, cores in chosen} == expected


def test_no_idle_core_is_given_away_while_a_task_waits_for_more_of_them():
    tasks = [task("a", spreads=True, seconds=9.0), task("wide", threads=3)]
    chosen = _startable(tasks, [], set(), {each.key for each in tasks}, 3, 100 * GIGABYTE)
    assert {each.name: cores for each, cores in chosen} == {"a": 1}


def test_cores_and_memory_of_what_spreads_are_taken_while_it_runs():
    first, second = task("first", spreads=True), task("second")
    messages, _ = multiprocessing.Pipe(duplex=False)
    running = [Running(first, 0, ForkServerProcess(), messages, 0.0, cores=2)]
    known = {first.key, second.key}
    assert _startable([second], running, set(), known, 2, 100 * GIGABYTE) == []
    assert _startable([second], running, set(), known, 3, 2 * GIGABYTE) == []
    assert _startable([second], running, set(), known, 3, 3 * GIGABYTE) == [(second, 1)]


def spread(directory: Path, seconds: float, report: Report, cores: int) -> None:
    """Keep so many processes of a pool busy; leave their ids, and then its own."""
    with workers(cores) as pool:
        others = [pool.submit(_busy, directory, i, seconds) for i in range(cores)]
        while len(list(directory.glob("worker-*.pid"))) < cores:
            time.sleep(0.05)
        (directory / "task.pid").write_text(str(os.getpid()))
        for other in others:
            other.result()


def _busy(directory: Path, i: int, seconds: float) -> None:
    (directory / f"worker-{i}.pid").write_text(str(os.getpid()))
    time.sleep(seconds)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None], ids=["killed", "asked to stop", "done"])
def test_processes_of_a_task_that_spreads_end_with_it(tmp_path, number):
    def stop() -> None:
        while not (tmp_path / "task.pid").exists() or not (tmp_path / "task.pid").read_text():
            time.sleep(0.05)
        os.kill(int((tmp_path / "task.pid").read_text()), number)  # pyright: ignore

    spreading = [task("a", partial(spread, tmp_path, 600 if number else 0.1), spreads=True)]
    if number is None:
        run(spreading)
    else:
        threading.Thread(target=stop, daemon=True).start()
        with pytest.raises(EnvironmentProblem if number == signal.SIGKILL else TaskFailed):
            run(spreading)
    assert len(list(tmp_path.glob("worker-*.pid"))) == 2
    deadline = time.monotonic() + 120
    while any(alive(path) for path in tmp_path.glob("*.pid")) and time.monotonic() < deadline:
        time.sleep(0.1)
    require_gone(tmp_path)


def alive(path: Path) -> bool:
    return psutil.pid_exists(int(path.read_text()))
