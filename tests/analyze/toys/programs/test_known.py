"""Published results: how ours are counted, the table, and (slow) the cheap ones themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from analyze.statistics import Estimate
from analyze.toys.programs import known
from analyze.toys.programs.known import KNOWN, Compared
from analyze.toys.programs.known_table import reproduce
from tests.commands import Command
from train.configfile import validate
from train.errors import BadInput
from train.shipped import CONFIGS
from train.toys.programs.config import ProgramConfig, checked, load_program
from train.toys.programs.overlap import OverlapSettings
from train.toys.programs.run import ProgramRun, VariantRun, run_program


def test_neurons_with_two_whole_weights_are_shared() -> None:
    W = torch.zeros(2, 4, 3)
    W[0, 0, 0], W[0, 1, 0], W[0, 2, 1], W[0, 3, 1] = 1.0, -0.9, 1.0, 0.5
    W[1, :, 2] = 1.1
    assert known.shared_neurons(W).tolist() == [1.0, 1.0]


def test_the_slope_of_counts_is_found_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    x = np.log([32.0, 48, 64, 96])
    counts = rng.poisson(np.exp(2 * x)[:, None] / 400, (4, 64)).astype(float)
    found = known.bootstrap_slope(x, counts, draws=40)
    assert found.low < 2 < found.high
    assert abs(found.mean - 2) < 0.15
    assert known.poisson_slope(x, 7 * np.exp(-1.0 * x)) == pytest.approx(-1, abs=1e-6)


def test_chance_makes_a_quarter_of_n_squared_over_m_where_neurons_are_many() -> None:
    assert known.expected_shared(16, 100_000) == pytest.approx(16**2 / 4e5, rel=1e-3)
    rng = np.random.default_rng(0)
    n, m, counts = 64, 96, []
    for _ in range(2000):
        places, signs = rng.integers(m, size=n), rng.integers(2, size=n)
        counts.append(len(set(places[signs == 0]) & set(places[signs == 1])))
    assert known.expected_shared(n, m) == pytest.approx(np.mean(counts), rel=0.05)
    ratio = known.counted_over_expected({"a": (n, m)}, {"a": np.array(counts)})
    assert ratio.mean == pytest.approx(1, abs=0.05)


def test_overlaps_are_those_of_every_pair() -> None:
    W = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    for r, found in enumerate(known.mean_overlaps(W)):
        unit = W[r] / W[r].norm(dim=1, keepdim=True)
        square = (unit @ unit.T).square()
        assert found == pytest.approx(float((square.sum() - 6) / 30), rel=1e-5)


def test_psi_follows_the_features_that_bottlenecks_are_built_to_hold(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(known, "PSI_DICTIONARY", replace(known.PSI_DICTIONARY, steps=400))
    monkeypatch.setattr(known, "PSI_SAMPLES", 4096)
    config = shrunk("psi")
    variants = {}
    for held in (5, 10, 20, 40):
        W = torch.randn(1, 40, 10, generator=torch.Generator().manual_seed(held))
        W = W / W.norm(dim=2, keepdim=True) * (torch.arange(40) < held)[:, None]
        settings = OverlapSettings(features=40, dimensions=10, probability=0.03)
        variants[str(held)] = VariantRun(
            name=str(held),
            settings=settings,
            parameters={"W": W, "b": torch.zeros(1, 40)},
            losses=np.zeros(1),
            curve_steps=np.zeros(1, dtype=np.int64),
            curve=np.zeros((1, 1)),
            hash="",
            seconds=0.0,
        )
    found, sparse = known.psi_against_truth(ProgramRun(tmp_path, config, variants))
    assert found.ours.mean > 0.9
    assert found.ours.low < found.ours.mean < found.ours.high
    assert sparse.ours.mean == found.ours.mean, "all of them are sparse"


@pytest.mark.parametrize("name", KNOWN)
def test_every_result_has_a_config_that_says_what_is_expected(name: str) -> None:
    config, _, source = KNOWN[name]
    assert load_program(CONFIGS / "toy" / f"{config}.toml").about.expectation
    assert source


def test_the_table_keeps_what_was_compared_before(tmp_path, monkeypatch, analyze_command: Command) -> None:
    def one(run) -> list[Compared]:
        return [
            Compared("a slope", "2", Estimate(1.95, 1.9, 2.0, 0.1, 8), True, "within .1", "smaller", "not to be read")
        ]

    def other(run) -> list[Compared]:
        return [
            Compared(
                "a loss",
                "0",
                Estimate(0.5, float("nan"), float("nan"), float("nan"), 1),
                False,
                "at most .1",
                why="too short a run",
            )
        ]

    few = {name: (config, one if name == "dropout" else other, source) for name, (config, _, source) in KNOWN.items()}
    monkeypatch.setattr("analyze.toys.programs.known_table.KNOWN", few)
    monkeypatch.setattr("analyze.toys.programs.known_table.run_program", lambda config, out: (Finished(), 0))
    reproduce(["dropout"], tmp_path, tmp_path / "out", say=lambda line: None)
    said = analyze_command("toy-known", "overlap", "--out", tmp_path / "out")
    assert said.out.splitlines()[0] == "overlap: a loss: 0.500, 0: did not hold"
    table = (tmp_path / "out" / "known.md").read_text()
    assert "1.950 [1.900, 2.000]" in table
    assert table.index("a loss") < table.index("a slope"), "the order of KNOWN"
    assert "too short a run" in table
    assert "not to be read" not in table, "reasons are for what did not hold"
    before = table
    (tmp_path / "out" / "known.md").unlink()
    reproduce([], tmp_path, tmp_path / "out", only_table=True, say=lambda line: None)
    assert (tmp_path / "out" / "known.md").read_text() == before


class Finished:
    seconds = 1.0


def test_a_result_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="overlab: there is no such published result; did you mean 'overlap'"):
        reproduce(["overlab"], tmp_path, tmp_path)


def shrunk(name: str, only: tuple[str, ...] = (), settings: dict[str, Any] | None = None, **fit: Any) -> ProgramConfig:
    """A shipped set-up with fewer variants, other settings and less training."""
    config = load_program(CONFIGS / "toy" / f"{KNOWN[name][0]}.toml")
    values = config.model_dump()
    values["fit"] |= fit
    values["settings"] |= settings or {}
    values["variants"] = {key: own for key, own in config.variants.items() if not only or key in only}
    return checked(validate(ProgramConfig, values, name), name)


@pytest.mark.slow
def test_two_heads_do_trigrams_of_one_source_and_one_head_does_not(tmp_path) -> None:
    config = shrunk("two-heads", ("shared-1", "shared-2"), {"trigrams": 4}, steps=2000, batch=256, replicas=8)
    run, _ = run_program(config, tmp_path / "out")
    built, trained, one = KNOWN["two-heads"][1](run)
    assert (built.held, one.held) == (True, True)
    assert trained.ours.high < one.ours.low


@pytest.mark.slow
def test_two_heads_on_embeddings_learn_what_one_does_not(tmp_path) -> None:
    config = shrunk("embedded-heads", settings={"trigrams": 4}, steps=1500, replicas=8)
    run, _ = run_program(config, tmp_path / "out")
    two, one = KNOWN["embedded-heads"][1](run)
    assert (two.held, one.held) == (True, True)


@pytest.mark.slow
def test_overlap_falls_as_one_over_the_dimension(tmp_path) -> None:
    run, _ = run_program(shrunk("overlap", ("d16", "d32", "d64"), {"features": 1024}, steps=150), tmp_path / "out")
    (slope,) = KNOWN["overlap"][1](run)
    assert slope.held


@pytest.mark.slow
def test_dropout_lowers_effective_features(tmp_path) -> None:
    run, _ = run_program(shrunk("dropout", ("dropout-0", "dropout-5"), steps=2500), tmp_path / "out")
    (ratio,) = KNOWN["dropout"][1](run)
    assert ratio.held


@pytest.mark.slow
def test_nothing_beats_the_naive_loss_without_mixing_and_something_does_with_it(tmp_path) -> None:
    config = shrunk("compressed", ("sigma-0", "sigma-035"), replicas=2)
    run, _ = run_program(config, tmp_path / "out")
    without, mixed, _ = KNOWN["compressed"][1](run)
    assert (without.held, mixed.held) == (True, True)
