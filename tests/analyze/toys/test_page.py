"""Pages about toys: they open offline, say what held and what to doubt, and show hostile words harmlessly."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyze.toys.doubts import doubts
from analyze.toys.expectations import judge
from analyze.toys.page import commands, write_pages
from analyze.toys.reading import Reading
from analyze.toys.view import View
from tests.analyze.report.test_page import BIDI, ELEMENTS, Parsed
from tests.analyze.toys.trained import ABSOLUTE, PENTAGON, trained
from train.configfile import load_config, to_toml
from train.errors import BadInput
from train.toys.baseline import Naive
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED
from train.toys.runs import Curves, ToyRun

HOSTILE = "<script>alert(1)</script> | a \u202e `b` [x](y)"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    trained(root / "toy" / "five", PENTAGON, problem="4.2", outcome="It did.")
    trained(root / "toy" / "odd", ABSOLUTE, title=HOSTILE, question=HOSTILE)
    write_pages([root / "toy" / "five", root / "toy" / "odd"], root / "out")
    return root


@pytest.fixture(scope="module")
def five(place) -> ToyRun:
    return ToyRun.load(place / "toy" / "five")


def page(place: Path, name: str) -> str:
    return (place / "out" / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["five", "odd", "index"])
def test_a_page_needs_nothing_but_itself_and_runs_nothing(place, name):
    parsed = Parsed(page(place, name))
    assert set(parsed.elements) <= ELEMENTS | {"pre"}
    assert not any(attribute.startswith("on") for attribute in parsed.attributes)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.sources)
    assert all(link.startswith("#") or re.fullmatch(r"\w+\.html", link) for link in parsed.links)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert not BIDI.search(page(place, name))


def test_a_page_says_what_was_asked_expected_and_found(place, five):
    text = " ".join(Parsed(page(place, "five")).text)
    verdicts = judge(five)
    for word in ("A toy", "What is it?", "Something.", "It did.", "Problem 4.2", five.hash, "Seed 0"):
        assert word in text
    for each in verdicts:
        assert each.expectation.says in text
        assert f"{each.best:.4g}" in text
    assert "probability = 0.05 less probability = 0.5" in text
    for naive, best in zip(five.naive, five.best_losses):
        assert f"{naive.loss:.4g}" in text
        assert f"{best:.4g}" in text
    assert to_toml(five.config).splitlines()[-1] in text


def test_hostile_words_are_shown_and_not_obeyed(place):
    for name in ("odd", "index"):
        assert "&lt;script&gt;" in page(place, name)
        assert "\\u202e" in page(place, name)
        assert "script" not in Parsed(page(place, name)).elements


def test_the_markdown_table_has_one_row_an_experiment_of_as_many_cells(place):
    lines = (place / "out" / "experiments.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {10}
    assert "[A toy](five.html)" in lines[2]
    assert "It did. (five (features" in lines[2].replace("\\", "")


def test_the_numbers_of_the_verdicts_are_there_for_programs(place, five):
    found = json.loads((place / "out" / "five.json").read_text())
    verdicts = judge(five)
    assert [each["verdict"] for each in found["verdicts"]] == [each.word for each in verdicts]
    assert [each["best"] for each in found["verdicts"]] == [each.best for each in verdicts]
    assert found["manifest_sha256"] == five.hash
    assert [each["best"] for each in found["instances"]] == five.best_losses.tolist()
    assert [each["probability"] for each in found["instances"]] == [0.5, 0.1, 0.05]


def test_every_figure_of_the_page_is_also_an_svg_file(place):
    drawn = {path.read_bytes() for path in (place / "out" / "five" / "figures").glob("*.svg")}
    embedded = [base64.b64decode(source.split(",")[1]) for source in Parsed(page(place, "five")).sources]
    assert len(embedded) == 8
    assert set(embedded) == drawn


def doubted(run: ToyRun) -> str:
    view = View(Reading(run))
    return " ".join(doubts(view, judge(view.all)))


def test_a_loss_above_the_naive_baseline_is_doubted_and_one_below_is_not(five):
    def with_naive(loss: float) -> ToyRun:
        return replace(five, naive=(Naive(loss, [loss] * 5, 2, 1.0),) * 3)

    assert "naive baseline in 3 of 3 instances (p = 0.5; p = 0.1; p = 0.05)" in doubted(with_naive(1e-9))
    assert "naive baseline" not in doubted(with_naive(10.0))
    assert "nothing that superposition could gain in 3 of 3" in doubted(with_naive(0.0))
    assert "not below" not in doubted(with_naive(0.0))


def with_losses(run: ToyRun, losses: list[float]) -> ToyRun:
    """The run with so many replicas, of these losses in every instance."""
    taken = np.arange(len(losses)) % run.n_rep
    parameters = {name: value[:, taken] for name, value in run.model.parameters.items()}
    return replace(
        run,
        losses=np.tile(losses, (run.n_inst, 1)),
        best=np.full(run.n_inst, int(np.argmin(losses))),
        model=replace(run.model, parameters=parameters),
        per_output=run.per_output[:, taken],
        curves=replace(run.curves, losses=run.curves.losses[:, :, taken]),
    )


def test_few_replicas_are_doubted(five):
    assert "3 replicas of each instance" in doubted(five)
    assert "replicas of each instance" not in doubted(with_losses(five, [1.0] * 5))


def test_replicas_that_end_apart_are_doubted(five):
    assert "Replicas disagree" not in doubted(with_losses(five, [1.0, 1.05, 3.0, 4.0, 5.0, 6.0]))
    assert "Replicas disagree in 3 of 3 instances" in doubted(with_losses(five, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))


@pytest.mark.parametrize(("last", "is_doubted"), [(0.5, True), (0.99, False)])
def test_a_loss_that_is_still_falling_is_doubted(five, last, is_doubted):
    steps = np.arange(101)
    losses = np.ones((101, 3, 3))
    losses[95:] = last
    assert ("had not settled in 3 of 3" in doubted(replace(five, curves=Curves(steps, losses)))) is is_doubted


def test_the_command_names_the_shipped_file_only_where_it_is_that_one(five):
    path = min(SHIPPED.glob("*.toml"))
    shipped = load_config(ToyConfig, path, [])
    assert commands(path.stem, replace(five, config=shipped))[0] == f"polysem toy configs/toy/{path.name}"
    other = shipped.model_copy(update={"fit": shipped.fit.model_copy(update={"seed": 77})})
    assert f"{five.directory}/toy.toml" in commands(path.stem, replace(five, config=other))[0]
    assert f"{five.directory}/toy.toml" in commands("five", five)[0]


def test_directories_that_make_no_page_are_refused(place, tmp_path):
    with pytest.raises(BadInput, match="no directory"):
        write_pages([], tmp_path / "out")
    with pytest.raises(BadInput, match="no such directory"):
        write_pages([tmp_path / "nothing"], tmp_path / "out")
    shutil.copytree(place / "toy" / "five", tmp_path / "five")
    with pytest.raises(BadInput, match="two toys are named 'five'"):
        write_pages([place / "toy" / "five", tmp_path / "five"], tmp_path / "out")
    (tmp_path / "five" / "toy.toml").write_text("seed = 1")
    with pytest.raises(BadInput, match=r"toy\.toml"):
        write_pages([tmp_path / "five"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_same_page_again_and_names_it(place, tmp_path, analyze_command):
    said = analyze_command("toys", place / "toy" / "odd", "--out", tmp_path)
    assert not said.code
    assert f"wrote {tmp_path / 'odd.html'}" in said.out
    assert (tmp_path / "index.html").is_file()
    for name in ("odd.html", "odd.json"):
        assert (tmp_path / name).read_bytes() == (place / "out" / name).read_bytes()
