"""The table of scores with nulls, and z against the null rows that fire about as often."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze import score, scores
from analyze.activations.directory import beside
from analyze.activations.store import Activations, open_activations
from analyze.nulls import NULLS, made_nulls
from analyze.nulls.matching import match
from analyze.scores import SCORES, default_names
from analyze.scores import run as scores_run
from analyze.scores.base import NeuronScore
from analyze.scores.run import score_directory
from analyze.scores.store import read_scores
from analyze.scores.table import score_table, score_with_null, with_matched
from tests.analyze.activations.collected import collected
from tests.analyze.scores.scoring import activations_of
from tests.commands import Command
from train.errors import BadInput


@pytest.fixture(scope="module")
def acts(made_up: tuple) -> Activations:
    _, tokens, data = made_up
    values = np.maximum(np.random.default_rng(0).standard_normal((len(tokens), 24)), 0)
    return activations_of(values, data, tokens)


class ConstantScore(NeuronScore):
    """A score by firing rate alone, that asks to be named."""

    name = title = rank = "rate"
    number, needs, optional = 99, (), True

    def __call__(self, acts: Activations) -> np.ndarray:
        return acts.moments.firing_rate

    def table(self, acts: Activations) -> pl.DataFrame:
        return pl.DataFrame({"rate": acts.moments.firing_rate})


def test_neurons_drawn_from_their_null_have_z_of_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        rate = np.exp(rng.uniform(np.log(1e-3), np.log(0.3), n))
        # A score that rises with the firing rate, null or not, and spreads more for dense neurons.
        return np.log(rate) + (1 + rate) * rng.standard_normal(n), rate

    found = match(*draw(4000), *draw(512))
    assert np.isfinite(found.z).all()
    assert found.z.mean() == pytest.approx(0, abs=0.1)
    assert found.z.std() == pytest.approx(1, abs=0.1)


def test_what_the_firing_rate_alone_explains_is_no_deviation():
    rng = np.random.default_rng(1)
    null_rate = np.exp(rng.uniform(np.log(1e-4), 0, 512))
    null_score = np.log(null_rate) + 0.1 * rng.standard_normal(512)
    sparse, dense = np.full(5, 1e-3), np.full(5, 0.3)
    rate = np.concatenate([sparse, dense])
    found = match(np.log(rate), rate, null_score, null_rate)
    assert np.abs(found.z).max() < 1
    pooled = (np.log(rate) - null_score.mean()) / null_score.std()
    assert np.abs(pooled).max() > 1


def test_the_mean_and_z_are_those_of_the_nearest_rows_in_log_rate():
    null_rate = np.exp(np.linspace(-8, -1, 300))
    null_score = np.random.default_rng(2).random(300)
    rate, value = 0.011, 0.9
    nearest = np.argsort(np.abs(np.log(null_rate) - np.log(rate)))[:64]
    found = match(np.array([value]), np.array([rate]), null_score, null_rate)
    expected = null_score[nearest]
    assert found.mean[0] == pytest.approx(expected.mean(), rel=1e-12)
    assert found.z[0] == pytest.approx((value - expected.mean()) / expected.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize(("rows", "taken"), [(400, 64), (200, 50), (100, 25), (60, 20), (20, 20)])
def test_of_few_null_rows_a_quarter_is_taken_and_twenty_at_least(rows: int, taken: int):
    null_rate = np.exp(np.linspace(-8, -1, rows))
    null_score = np.arange(float(rows))
    found = match(np.array([1.0]), np.array([null_rate[0] / 2]), null_score, null_rate)
    assert found.mean[0] == pytest.approx((taken - 1) / 2)


def test_rows_without_a_score_or_a_rate_take_no_part_and_too_few_give_no_z():
    rate, value = np.array([0.1, 0.1, 0.0]), np.array([1.0, np.nan, 1.0])
    null_score, null_rate = np.arange(40.0), np.full(40, 0.1)
    null_score[:10], null_rate[10:20] = np.nan, 0.0
    found = match(value, rate, null_score, null_rate)
    assert found.mean[0] == pytest.approx(np.arange(20.0, 40.0).mean())
    assert np.isnan(found.z).tolist() == [False, True, True]
    null_score[20] = np.nan
    assert np.isnan(match(value, rate, null_score, null_rate).z).all()
    assert np.isnan(match(value, rate, null_score[:0], null_rate[:0]).mean).all()


def test_a_null_whose_rows_are_all_equal_gives_a_mean_and_no_z():
    found = match(np.array([1.0]), np.array([0.1]), np.full(30, 0.1), np.full(30, 0.1))
    assert found.mean[0] == pytest.approx(0.1)
    assert np.isnan(found.z[0])


def test_each_null_appends_rows_that_bear_its_name_and_only_neurons_have_z(acts):
    table = score_with_null(acts, ["rule_share"], nulls=("shifted", "rotated"))
    assert table["null"].to_list() == ["none"] * 24 + ["shifted"] * 24 + ["rotated"] * 24
    own, others = table.filter(pl.col("null") == "none"), table.filter(pl.col("null") != "none")
    assert own["rule_share_null_mean"].null_count() == 0
    assert others["rule_share_null_mean"].null_count() == others["rule_share_null_z"].null_count() == 48
    shifted = table.filter(pl.col("null") == "shifted")
    expected = match(*(frame[name].to_numpy() for frame in (own, shifted) for name in ("rule_share", "firing_rate")))
    np.testing.assert_allclose(own["rule_share_null_mean"].to_numpy(), expected.mean)


def test_a_null_that_cannot_be_made_has_no_rows_and_z_is_empty(acts):
    table = score_with_null(acts, ["rule_share"], nulls=("w_in_rotated",))
    assert table["null"].unique().to_list() == ["none"]
    assert table["rule_share_null_z"].dtype == pl.Float64
    assert table["rule_share_null_z"].null_count() == table.height


def test_z_of_k_eff_is_of_the_score_that_rises_with_monosemanticity():
    n = 20
    frame = pl.DataFrame(
        {
            "firing_rate": [0.1] * (n + 1),
            "k_eff": [1.0] + [2.0 + 0.01 * i for i in range(n)],
            "k_eff_score": [1.0] + [1 / (2.0 + 0.01 * i) for i in range(n)],
            "null": ["none"] + ["rotated"] * n,
        }
    )
    found = with_matched(frame, ["k_eff"], "rotated")
    assert found["k_eff_null_z"][0] > 0
    assert found["k_eff_null_mean"][0] == pytest.approx(frame["k_eff_score"][1:].mean())


@pytest.fixture
def rate() -> Iterator[None]:
    """SCORES with a ConstantScore among them."""
    with SCORES.including(ConstantScore()):
        yield


@pytest.mark.usefixtures("rate")
def test_optional_scores_are_left_out_unless_named(acts):
    assert "rate" not in default_names()
    assert set(default_names()) == {name for name in SCORES if not SCORES[name].optional}
    table = score_table(acts, ["rate"])
    assert table["rate"].to_list() == acts.moments.firing_rate.tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"names": ["k_ef"]}, "'k_ef' is not known; did you mean"),
        ({"nulls": ["shiftd"]}, "'shiftd' is not known; did you mean"),
        ({"nulls": ["untrained"]}, "step 0"),
    ],
)
def test_an_unknown_score_or_null_is_named(acts, words, message):
    with pytest.raises(BadInput, match=message):
        score_with_null(acts, **words)


@pytest.mark.usefixtures("rate")
def test_scores_on_disk_name_the_nulls_that_could_not_be_made(tmp_path: Path):
    directory = collected(tmp_path).directory
    assert directory is not None
    asked = ("rotated", "w_in_rotated")
    first = score_directory(directory, ["rate"], nulls=asked)
    needs = {"w_in_rotated": "two neurons that are not dead, of a checkpoint"}
    assert (first.found, first.without) == (False, needs)
    assert "cannot be made of it: w_in_rotated (needs two neurons that are not dead, of a checkpoint)" in first.line()
    again = score_directory(directory, ["rate"], nulls=asked)
    assert (again.found, again.without) == (True, needs)
    table, facts = read_scores(first.directory)
    assert facts["without"] == needs
    assert facts["settings"]["nulls"] == list(asked)
    assert set(table["null"]) == {"none", "rotated"}
    assert not score_directory(directory, ["rate"]).found
    assert not score_directory(directory, ["rate"], seed=1).found


@pytest.mark.usefixtures("rate")
def test_nulls_that_a_new_table_does_not_hold_are_named(tmp_path: Path):
    directory = collected(tmp_path).directory
    assert directory is not None
    score_directory(directory, ["rate", "output"], nulls=["rotated"])
    narrower = score_directory(directory, ["rate"], nulls=[])
    assert narrower.line().endswith("no longer there: rotated")
    assert "no longer" not in score_directory(directory, ["rate"], nulls=[]).line()


def made_at_once(directory: Path, names: list[str], nulls: list[str]) -> pl.DataFrame:
    return score_with_null(open_activations(directory), names, 0, nulls)


@pytest.mark.usefixtures("rate")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((["rate"], ["rotated"]), (["output"], ["rotated"])),
        ((["rate"], ["rotated", "shifted"]), (["output"], ["shifted", "rotated"])),
        ((["output"], ["rotated", "shifted"]), (["rate"], ["shifted"])),
        ((["output"], ["rotated"]), (["rate"], [])),
        ((["rate"], []), (["output"], [])),
    ],
)
def test_scores_that_stand_there_stay_beside_new_ones_with_the_numbers_of_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: tuple, second: tuple
):
    directory = collected(tmp_path).directory
    assert directory is not None
    score_directory(directory, first[0], nulls=first[1])
    with monkeypatch.context() as patch:
        for name in first[0]:  # they are not made again
            patch.setattr(SCORES[name], "table", None)
        scored = score_directory(directory, second[0], nulls=second[1])
    expected = made_at_once(directory, [*first[0], *second[0]], second[1])
    table, facts = read_scores(scored.directory)
    assert table.select(expected.columns).equals(expected)
    assert facts["settings"]["scores"] == [*first[0], *second[0]]
    for names in (first[0], second[0]):
        assert score_directory(directory, names, nulls=second[1]).found


@pytest.mark.usefixtures("rate")
@pytest.mark.parametrize("change", ["code of the score", "code of the null", "code of the table", "seed", "more nulls"])
def test_scores_that_stand_there_and_no_longer_fit_go_and_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    directory = collected(tmp_path).directory
    assert directory is not None
    code: dict[str, str] = {}
    monkeypatch.setattr(scores_run, "fingerprint", lambda module, deep, registries=True: code.get(module, module))
    score_directory(directory, ["rate"], nulls=["rotated"])
    changed = {
        "code of the score": ConstantScore.__module__,
        "code of the null": "analyze.nulls.rotation",
        "code of the table": "analyze.scores.table",
    }
    if change in changed:
        code[changed[change]] = "changed"
    nulls = ["rotated", "shifted"] if change == "more nulls" else ["rotated"]
    scored = score_directory(directory, ["output"], nulls=nulls, seed=int(change == "seed"))
    assert scored.replaced == ("rate",)
    assert "rate" not in read_scores(scored.directory)[0].columns


@pytest.mark.usefixtures("rate")
def test_scores_of_other_activations_do_not_stay(tmp_path: Path):
    directory = collected(tmp_path).directory
    assert directory is not None
    score_directory(directory, ["rate"], nulls=[])
    shutil.rmtree(directory)
    collected(tmp_path, seed=1)
    scored = score_directory(directory, ["output"], nulls=[])
    assert (scored.found, scored.replaced) == (False, ("rate",))


@pytest.mark.usefixtures("rate")
def test_scores_are_made_again_when_their_code_or_that_of_a_null_changes_and_not_for_another_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    directory = collected(tmp_path).directory
    assert directory is not None
    code: dict[str, str] = {}
    monkeypatch.setattr(scores_run, "fingerprint", lambda module, deep, registries=True: code.get(module, module))
    assert not score_directory(directory, ["rate"], nulls=["rotated"]).found
    code["analyze.scores.ms"] = code["analyze.nulls.shifted"] = "changed"
    assert score_directory(directory, ["rate"], nulls=["rotated"]).found
    for changed in (ConstantScore.__module__, "analyze.nulls.rotation", "analyze.scores.table"):
        code[changed] = "changed"
        assert not score_directory(directory, ["rate"], nulls=["rotated"]).found
        assert score_directory(directory, ["rate"], nulls=["rotated"]).found


def test_every_null_follows_its_seed_and_keeps_the_tokens(acts):
    for name in made_nulls():
        make = NULLS[name].make
        first, again, other = make(acts, 3), make(acts, 3), make(acts, 4)
        if first is None:
            assert name == "w_in_rotated"  # these neurons have no checkpoint
            continue
        assert again is not None
        assert other is not None
        values = [one.block(0, 24) for one in (first, again, other)]
        assert bool((values[0] == values[1]).all())
        assert not bool((values[0] == values[2]).all())
        assert first.tokens is acts.tokens
        assert first.meta.settings["null"] == name


def test_the_help_of_score_names_what_there_is(analyze_command: Command):
    said = analyze_command("score", "--help")
    assert not said.code
    assert all(name in said.out for name in (*SCORES, *NULLS))


@pytest.mark.usefixtures("rate")
def test_the_command_takes_all_scores_and_optional_ones_beside_them(
    tmp_path: Path, monkeypatch, analyze_command: Command
):
    monkeypatch.setattr(scores, "default_names", lambda: [])
    directory = collected(tmp_path).directory
    words = ["--scores", "all", "rate", "--nulls", "rotated", "w_in_rotated", "--seed", "2"]
    said = analyze_command("score", directory, *words)
    assert not said.code
    assert "cannot be made of it: w_in_rotated" in said.out
    facts = read_scores(beside(Path(str(directory)), "scores"))[1]
    wanted = {"scores": ["rate"], "nulls": ["rotated", "w_in_rotated"], "null_seed": 2}
    assert {name: facts["settings"][name] for name in wanted} == wanted


@pytest.mark.usefixtures("rate")
def test_scoring_from_python_is_what_the_command_does(tmp_path: Path):
    directory = collected(tmp_path).directory
    said: list[str] = []
    first = score(tmp_path, ["rate"], nulls=["rotated"], say=said.append)
    again = score([str(directory)], ["rate"], nulls=["rotated"])
    assert [each.found for each in (*first, *again)] == [False, True]
    assert said == [first[0].line()]
    assert first[0].directory == beside(Path(str(directory)), "scores")
    with pytest.raises(BadInput, match="no such directory"):
        score(tmp_path / "gone")
