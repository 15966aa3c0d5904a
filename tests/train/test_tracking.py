"""What readers of metrics.jsonl see of a run that crashed, and of one that went on."""

import json

import pytest

from train.errors import BadInput
from train.tracking import Metrics, read_metrics

LINES = [{"kind": "train", "step": 1}, {"kind": "eval", "step": 2}, {"kind": "train", "step": 2}]


def test_a_last_line_that_a_crash_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    whole = "".join(json.dumps(line) + "\n" for line in LINES)
    for torn in ("", "{", '{"kind": "train", "st', "12"):
        path.write_text(whole + torn)
        assert read_metrics(path) == LINES


@pytest.mark.parametrize("broken", ["{", "12", '{"kind": "tr', "\udcff"])
def test_a_broken_line_in_the_middle_is_named(tmp_path, broken):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n" + broken.encode("utf-8", "surrogateescape") + b"\n{}\n")
    with pytest.raises(BadInput, match=r"metrics\.jsonl: line 2 is not JSON"):
        read_metrics(path)


def test_lines_of_a_kind_come_by_step_and_the_later_of_two_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [line | {"tokens": 1, "loss": 1.0} for line in (*LINES, {"kind": "train", "step": 1, "more": 2.0})]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_metrics(path, "train") == [lines[3], lines[2]]


@pytest.mark.parametrize("key", ["step", "tokens", "loss"])
@pytest.mark.parametrize("value", [None, "1", []])
def test_a_line_without_its_numbers_is_named_where_somebody_asks_for_its_kind(tmp_path, key, value):
    path = tmp_path / "metrics.jsonl"
    whole = {"kind": "eval", "step": 1, "tokens": 16, "loss": 2.0}
    path.write_text(json.dumps(whole) + "\n" + json.dumps(whole | {key: value}) + "\n")
    assert len(read_metrics(path)) == 2
    assert read_metrics(path, "train") == []
    with pytest.raises(BadInput, match=rf"metrics\.jsonl: line 2: key '{key}' is missing or is no number"):
        read_metrics(path, "eval")


@pytest.mark.parametrize("torn", ["", '{"kind": "tr', '{"kind": "train", "step": 1}'])
def test_a_run_that_goes_on_cuts_the_lines_of_later_steps_and_what_a_crash_cut_short(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + torn)
    for step, kept in ((2, LINES), (1, LINES[:1]), (0, [])):
        metrics = Metrics(path, step, None)
        metrics.close()
        assert read_metrics(path) == kept
