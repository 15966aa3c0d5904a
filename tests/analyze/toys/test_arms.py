"""Arms against their controls: duplicates count once, differences are paired, and the word needs every control."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray

from analyze.statistics import mean_interval
from analyze.toys.arms import (
    ArmComparison,
    ArmMeasures,
    ArmResult,
    Difference,
    controls_of,
    duplicate_clusters,
    is_narrow,
    share_once,
)
from analyze.toys.arms_page import arms_page, interval
from analyze.toys.page import write_pages
from analyze.toys.reading import Reading
from analyze.toys.view import View
from tests.analyze.toys.planted import planted, toy_config
from tests.analyze.toys.trained import ABSOLUTE, trained
from train.errors import BadInput
from train.toys.arm_config import ArmConfig
from train.toys.arms.store import arms_directory
from train.toys.runs import ToyRun

ARMS: dict[str, dict[str, Any]] = {
    "narrow": {},
    "x2-none": {"factor": 2, "noise": "none"},
    "x2-w-in": {"factor": 2, "noise": "w_in", "sigma": 0.5, "expectation": "It | parts."},
}
SIX = {**ABSOLUTE, "fit": {"replicas": 6, "data": "own"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> ToyRun:
    return trained(tmp_path_factory.mktemp("arms") / "six", {**SIX, "arms": ARMS})


@pytest.fixture(scope="module")
def compared(base) -> ArmComparison:
    found = ArmComparison.of(base)
    assert found is not None
    return found


def arm_measures(name: str, once: Any, settings: ArmConfig | None = None, computed: Any = 10.0) -> ArmMeasures:
    """An arm of one instance whose seeds came to these de-duplicated shares."""
    shares = np.asarray(once, dtype=np.float64)[None]
    rest = np.ones_like(shares)
    return ArmMeasures(
        name=name,
        settings=settings or ArmConfig(),
        n_neurons=4,
        alive=rest,
        distinct=rest,
        share=shares,
        strict=shares,
        once=shares,
        computed=np.broadcast_to(np.asarray(computed, dtype=np.float64), shares.shape),
        loss=rest,
    )


COPY, NOISE = ArmConfig(factor=2, noise="none"), ArmConfig(factor=2, noise="w_in")


def judged(arm: ArmMeasures, *others: ArmMeasures) -> ArmResult:
    """The arm beside these controls, with the p that Holm would leave a single claim."""
    named = controls_of(arm, [arm, *others])
    result = ArmResult(arm, 0, tuple(Difference.of(arm, control, why, 0) for why, control in named))
    return replace(result, adjusted_p=result.p)


def pair_network(W1: list[list[float]], W2: list[list[float]]) -> ToyRun:
    """One network of |x| of two features with these weights."""
    config = toy_config(
        features={"probability": 0.5, "values": {"low": -1.0, "high": 1.0}},
        target={"function": "abs"},
        network={"kind": "computation", "hidden": len(W1), "bias": False},
    )
    return planted(config, {"W1": torch.tensor(W1)[None, None], "W2": torch.tensor(W2)[None, None]})


# Two neurons fire on x0 > 0 (one twice as strongly), one on x0 < 0, one on both features, one leads nowhere.
PAIRED = pair_network(
    [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
    [[0.5, 0.25, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]],
)


def test_neurons_that_fire_alike_are_one_cluster_whatever_their_scale():
    living = np.array([True, True, True, True, False])
    clusters = duplicate_clusters(PAIRED, 0, 0, living)
    assert clusters[0] == clusters[1]
    assert len({clusters[0], clusters[2], clusters[3]}) == 3
    assert len(clusters) == 4


def test_a_cluster_counts_once_in_every_number_of_an_arm():
    found = ArmMeasures.of("planted", None, PAIRED)
    assert (found.n_neurons, found.alive[0, 0], found.distinct[0, 0]) == (5, 4, 3)
    assert found.share[0, 0] == pytest.approx(3 / 4)
    assert found.strict[0, 0] == pytest.approx(3 / 4)
    assert found.once[0, 0] == pytest.approx(2 / 3)
    assert found.mono[0, 0] == pytest.approx(2)


def test_exact_copies_leave_every_number_but_the_neurons_as_it_was():
    W1, W2 = (PAIRED.model.parameters[name][0, 0] for name in ("W1", "W2"))
    wide = pair_network(torch.cat([W1] * 3).tolist(), torch.cat([W2 / 3] * 3, dim=1).tolist())
    one, three = (ArmMeasures.of("planted", None, run) for run in (PAIRED, wide))
    assert three.alive == 3 * one.alive
    for name in ("distinct", "share", "strict", "once", "computed"):
        np.testing.assert_allclose(getattr(three, name), getattr(one, name), rtol=1e-12)


@pytest.mark.parametrize(
    ("mono", "clusters", "share"),
    [
        ([True, True, False], [0, 0, 1], 1 / 2),
        ([True, False, True], [0, 0, 1], (1 / 2 + 1) / 2),
        ([True] * 5, [0, 1, 2, 3, 4], 1.0),
        ([], [], np.nan),
    ],
)
def test_the_share_once_weighs_clusters_alike(mono, clusters, share):
    np.testing.assert_equal(share_once(np.array(mono, dtype=bool), np.array(clusters, dtype=np.int64)), share)


def test_a_network_of_dead_neurons_has_no_share():
    found = ArmMeasures.of("dead", None, pair_network([[0.0, 0.0]], [[0.0], [0.0]]))
    assert np.isnan(found.once[0, 0])
    assert np.isnan(found.share[0, 0])
    assert found.alive[0, 0] == found.distinct[0, 0] == 0


def test_the_interval_is_students_and_differences_are_paired():
    """Differences .1, .2, .3, .4, .5, .6: mean .35, sd .187, t(.975, 5) = 2.5706, so .35 +- .1963."""
    control = np.array([0.0, 0.3, 0.1, 0.2, 0.15, 0.05])
    arm = control + np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    found = Difference.of(arm_measures("arm", arm, NOISE), arm_measures("none", control, COPY), "no noise", 0)
    assert found.once.mean == pytest.approx(0.35)
    assert found.once.low == pytest.approx(0.35 - 0.19633, abs=1e-4)
    assert found.once.high == pytest.approx(0.35 + 0.19633, abs=1e-4)
    assert found.p == pytest.approx(2 / 2**6)
    assert ArmResult(arm_measures("arm", arm, NOISE), 0, ()).estimate("once") == mean_interval(arm.tolist())


def seeds(mean: float, n: int = 8) -> ndarray:
    return mean + 0.01 * np.arange(n)


def test_reduced_needs_both_controls_to_be_beaten():
    narrow, copies = arm_measures("narrow", seeds(0.1)), arm_measures("none", seeds(0.1), COPY)
    assert judged(arm_measures("arm", seeds(0.5), NOISE), narrow, copies).verdict == "reduced"
    better = arm_measures("none", seeds(0.6), COPY)
    assert judged(arm_measures("arm", seeds(0.5), NOISE), narrow, better).verdict == "not shown"
    better = arm_measures("narrow", seeds(0.6))
    assert judged(arm_measures("arm", seeds(0.5), NOISE), better, copies).verdict == "not shown"


def test_networks_from_scratch_stand_beside_a_claim_and_not_in_its_way():
    others = [arm_measures("narrow", seeds(0.1)), arm_measures("none", seeds(0.1), COPY)]
    better = arm_measures("scratch", seeds(0.9), ArmConfig(factor=2, scratch=True))
    found = judged(arm_measures("arm", seeds(0.5), NOISE), *others, better)
    assert found.verdict == "reduced"
    beside = found.less("from scratch")
    assert beside is not None
    assert beside.once.mean == pytest.approx(-0.4)


def test_an_arm_with_l1_must_beat_the_narrow_network_under_the_same_l1():
    both = (arm_measures("narrow", seeds(0.1)), arm_measures("none", seeds(0.1), COPY))
    arm = arm_measures("arm", seeds(0.5), NOISE.model_copy(update={"l1": 1e-3}))
    weak = arm_measures("narrow-l1", seeds(0.2), ArmConfig(l1=1e-3))
    strong = arm_measures("narrow-l1", seeds(0.7), ArmConfig(l1=1e-3))
    other = arm_measures("narrow-l1", seeds(0.7), ArmConfig(l1=1e-2))
    assert judged(arm, *both, weak).verdict == "reduced"
    assert judged(arm, *both, strong).verdict == "not shown"
    assert judged(arm, *both, other).less("narrow with L1") is None


def test_a_share_that_rises_because_features_were_given_up_is_not_called_reduced():
    narrow, copies = arm_measures("narrow", seeds(0.1)), arm_measures("none", seeds(0.1), COPY)
    assert judged(arm_measures("arm", seeds(0.5), NOISE, computed=9.0), narrow, copies).verdict == "fewer features"


def test_an_impossible_judgement_gives_its_reason():
    narrow, copies = arm_measures("narrow", seeds(0.1)), arm_measures("none", seeds(0.1), COPY)
    wider = NOISE.model_copy(update={"factor": 4})
    assert judged(arm_measures("arm", seeds(0.5), wider), narrow, copies).verdict == "a control is missing"
    assert judged(arm_measures("arm", seeds(0.5), NOISE), copies).verdict == "a control is missing"
    assert judged(narrow, copies).verdict == "control"
    assert judged(copies, narrow).verdict == "control"
    few = arm_measures("narrow", seeds(0.1, 5)), arm_measures("none", seeds(0.1, 5), COPY)
    assert judged(arm_measures("arm", seeds(0.5, 5), NOISE), *few).verdict == "too few seeds"


def test_a_claim_takes_the_largest_p_of_its_controls():
    narrow, copies = arm_measures("narrow", seeds(0.1)), arm_measures("none", [*seeds(0.1, 6), 0.9, 0.9], COPY)
    found = judged(arm_measures("arm", seeds(0.5), NOISE), narrow, copies)
    assert found.p == max(each.p for each in found.differences if each.p is not None)
    assert found.p is not None
    assert found.p > 2 / 2**8


def test_controls_are_those_of_the_same_factor():
    arms = [
        arm_measures(name, seeds(0.1), settings)
        for name, settings in {
            "narrow": ArmConfig(),
            "x2": COPY,
            "x2-dirichlet": ArmConfig(factor=2, noise="none", split="dirichlet"),
            "x4": ArmConfig(factor=4, noise="none"),
            "x4-w-in": ArmConfig(factor=4, noise="w_in"),
            "x4-still": ArmConfig(factor=4, noise="w_in", sigma=0.0),
            "x2-scratch": ArmConfig(factor=2, scratch=True),
            "x2-fresh": ArmConfig(factor=2, copies="fresh", noise="none"),
        }.items()
    ]
    named = {arm.name: [(why, each.name) for why, each in controls_of(arm, arms)] for arm in arms}
    assert named == {
        "narrow": [],
        "x2": [("narrow", "narrow")],
        "x2-dirichlet": [
            ("narrow", "narrow"),
            ("no noise", "x2"),
            ("fresh neurons", "x2-fresh"),
            ("from scratch", "x2-scratch"),
        ],
        "x4": [("narrow", "narrow")],
        "x4-w-in": [("narrow", "narrow"), ("no noise", "x4")],
        "x4-still": [("narrow", "narrow")],
        "x2-scratch": [("narrow", "narrow"), ("no noise", "x2")],
        "x2-fresh": [("narrow", "narrow"), ("no noise", "x2")],
    }
    assert is_narrow(ArmConfig(l1=0.1))
    assert not is_narrow(ArmConfig(scratch=True))


def test_every_arm_is_compared_with_its_controls_in_every_instance(compared, base):
    assert [each.name for each in compared.measures] == ["start", *ARMS]
    assert [[each.measures.name for each in row] for row in compared.results] == [["start", *ARMS]] * 2
    start, narrow, copies, noisy = compared.measures
    assert start.n_neurons == narrow.n_neurons == 8
    assert copies.n_neurons == noisy.n_neurons == 16
    np.testing.assert_array_equal(start.loss, base.losses)
    np.testing.assert_array_equal(copies.distinct, narrow.distinct)
    assert (noisy.distinct > narrow.distinct).any()
    assert compared.n_claims == 2
    noisy_results = [row[3] for row in compared.results]
    assert all(each.is_claim and each.adjusted_p is not None and each.adjusted_p >= each.p for each in noisy_results)
    assert [row[2].verdict for row in compared.results] == ["control"] * 2


def test_equal_copies_that_were_trained_on_are_the_narrow_network_still(compared):
    _, narrow, copies, _ = compared.measures
    np.testing.assert_allclose(copies.loss, narrow.loss, rtol=1e-3)
    for row in compared.results:
        assert abs(row[2].less("narrow").once.mean) < 0.02


def test_the_page_shows_the_arms_and_leaves_their_tables_as_markdown(base, compared, tmp_path):
    write_pages([base.directory, arms_directory(base.directory)], tmp_path)
    html = (tmp_path / "six.html").read_text()
    assert '<h2 id="arms">' in html
    assert "x2-w-in" in html
    markdown = (tmp_path / "six-arms.md").read_text()
    assert markdown.count("| x2-w-in ") == 5, "one table of all, two for each of two instances"
    assert "It \\| parts." in markdown
    svg = (tmp_path / "six" / "figures" / "arms.svg").read_text()
    assert "x2-none" in svg
    rows = json.loads((tmp_path / "six.json").read_text())["arms"]
    assert [(row["arm"], row["probability"]) for row in rows] == [(n, p) for p in (0.5, 0.1) for n in ("start", *ARMS)]
    last = rows[-1]
    assert last["loss"]["mean"] == pytest.approx(compared.measures[-1].loss[1].mean())
    assert last["less"]["narrow"]["control"] == "narrow"
    assert last["neurons"] == 16


def test_the_summary_names_few_arms_and_warns_of_controls_at_zero(base, compared, monkeypatch):
    view = View(Reading(base))
    said = arms_page(view, compared).summary
    assert [each.split(":")[0] for each in said] == ["p = 0.5", "p = 0.1"]
    assert all("1 of 1 arms (x2-w-in)" in each for each in said)
    for each in compared.measures:
        shares = 0.5 + 0.01 * np.arange(12).reshape(2, 6) if each.name == "x2-w-in" else np.zeros((2, 6))
        monkeypatch.setitem(each.__dict__, "once", shares)
        monkeypatch.setitem(each.__dict__, "computed", np.ones((2, 6)))
    monkeypatch.delitem(compared.__dict__, "results")
    monkeypatch.setattr("analyze.toys.arms.LEVEL", 0.07)
    monkeypatch.setattr("analyze.toys.arms_page.NAMED", 0)
    for each in arms_page(view, compared).summary:
        assert "superposition is reduced in 1 of 1 arms. No control has" in each
    compared.__dict__.pop("results")


def test_the_same_trial_gives_the_same_figure(base, compared):
    view = View(Reading(base))
    assert arms_page(view, compared).figure.svg == arms_page(view, compared).figure.svg


def test_a_toy_without_arms_has_no_section(tmp_path):
    trained(tmp_path / "plain", ABSOLUTE)
    write_pages([tmp_path / "plain"], tmp_path / "out")
    assert '"arms"' not in (tmp_path / "out" / "plain.html").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "experiments.md",
        "index.html",
        "plain",
        "plain.html",
        "plain.json",
    ]


def test_a_missing_arm_is_reported_with_its_path(tmp_path):
    run = trained(tmp_path / "one", {**ABSOLUTE, "arms": {"narrow": {}, "again": {"l1": 1e-3}}})
    gone: Path = arms_directory(run.directory) / "again"
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    with pytest.raises(BadInput, match="again: not there"):
        write_pages([tmp_path / "one"], tmp_path / "out")


def test_intervals_are_written_as_far_as_there_are_any():
    def form(value: float) -> str:
        return f"{value:.1f}"

    assert interval(mean_interval([1.0, 2.0, 3.0]), form) == "2.0 [-0.5, 4.5]"
    assert interval(mean_interval([1.0]), form) == "1.0"
    assert interval(mean_interval([1.0, 1.0]), form) == "1.0"
    assert interval(mean_interval([]), form) == "NA"
