"""`polysem status` beside a study: what runs, for how long yet, and what one that was killed left."""

import json
from pathlib import Path

import pytest

from tests.commands import Command
from train.files import locked
from train.study_progress import PROGRESS_FILE, duration, progress_line

FACTS = {
    "done": 3,
    "total": 20,
    "jobs": 2,
    "seconds_left": 1234.5,
    "running": [
        {"core": 1, "task": "train relu-s0", "seconds": 61.2},
        {"core": 2, "task": "measure gelu-s0", "seconds": 5.0},
    ],
    "pid": 1,
}
LINE = "3/20 stages, about 21 min left; 1: train relu-s0 (61 s), 2: measure gelu-s0 (5 s)"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Of a study that writes its progress."""
    results = tmp_path / "results" / "smoke"
    results.mkdir(parents=True)
    (results / PROGRESS_FILE).write_text(json.dumps(FACTS))
    (tmp_path / "checkpoints").mkdir()
    return results


def test_the_line_says_what_is_done_what_runs_and_how_long():
    assert progress_line(FACTS) == LINE
    assert progress_line(FACTS | {"seconds_left": None, "running": []}) == (
        "3/20 stages, time left unknown; nothing runs"
    )
    assert [duration(seconds) for seconds in (0.4, 119.0, 120.0, 7140.0, 7200.0, 1e4)] == [
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h 00 min",
        "2 h 47 min",
    ]


@pytest.mark.parametrize("where", [".", "checkpoints", "results", "results/smoke"])
def test_status_shows_a_running_study(results, tmp_path, train_command: Command, where):
    with locked(results):
        said = train_command("status", tmp_path / where)
    assert said.code == 0
    assert said.out.splitlines()[0] == f"study smoke: {LINE}"


def test_status_says_that_a_study_was_killed(results, tmp_path, train_command: Command):
    said = train_command("status", tmp_path)
    assert said.out.startswith("study smoke: does not run any more; the same command goes on.")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{]", json.dumps(FACTS | {"running": [3]})])
def test_a_file_of_another_program_is_passed_over(results, tmp_path, train_command: Command, text):
    (results / PROGRESS_FILE).write_text(text)
    said = train_command("status", tmp_path)
    assert (said.code, said.out.strip()) == (0, f"{tmp_path}: no runs")
