"""The recipes of CONTRIBUTING.md: the files that the page shows are put in place, and everything finds them."""

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
import torch

import train.activations
from analyze import NULLS, SCORES, collect, compare, score
from analyze.labels.families import FAMILIES
from analyze.problems import PROBLEMS
from analyze.problems.command import ask
from analyze.registry import Registry
from analyze.report.page import PARTS, report
from tests.train.fixtures import small_data, small_run
from train.activations import ACTIVATIONS
from train.checkpoint import step_directory
from train.config import ModelConfig, WidenPlan
from train.lens import to_bridge
from train.memory import to_train
from train.model import Transformer
from train.training_run import run
from train.widening.widen import widen

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {match[1]: match[2] for match in re.finditer(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)}
"""The file that each recipe writes, and its text."""

Follow = Callable[[str, Registry], None]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follow]:
    """Puts a recipe's file where its package looks for modules, for one test."""
    followed: list[tuple[str, Registry]] = []

    def put(name: str, registry: Registry) -> None:
        package = import_module(str(Path(name).parent).replace("/", "."))
        directory = tmp_path / "added" / package.__name__
        directory.mkdir(parents=True)
        (directory / Path(name).name).write_text(RECIPES[name], encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(directory)])
        followed.append((f"{package.__name__}.{Path(name).stem}", registry))
        registry.look_again()

    yield put
    monkeypatch.undo()
    for module, registry in followed:
        sys.modules.pop(module, None)
        registry.look_again()


def test_every_recipe_is_followed_here():
    assert set(RECIPES) == {
        "train/activations.py",
        "analyze/scores/kurtosis.py",
        "analyze/nulls/permuted.py",
        "analyze/labels/families/exclamations.py",
        "analyze/report/firing_rates.py",
        "analyze/problems/unembedding_norms.py",
    }


def test_an_activation_is_one_entry(monkeypatch: pytest.MonkeyPatch):
    names = dict(vars(train.activations))
    exec(RECIPES["train/activations.py"], names)
    monkeypatch.setitem(ACTIVATIONS, "relu_squared", names["RELU_SQUARED"])
    config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=8, d_vocab=20, act="relu_squared", widths=(16,))
    model = Transformer(config, seed=0).eval()
    tokens = torch.arange(8)[None] % 20
    pre, mid = (model.mlp_activations(tokens, 0, hook) for hook in ("pre", "mid"))
    torch.testing.assert_close(mid, pre.clamp(min=0).square())
    torch.testing.assert_close(to_bridge(model)(tokens), model(tokens), rtol=0, atol=1e-5)
    wide, lineage = widen(model, WidenPlan(layers=(0,), factor=3, noise="zero_sum", sigma=0.1))
    assert lineage.receipt.logits_relative_l2["fp64"] < 1e-6
    assert wide.config.widths == (48,)
    assert to_train(config, config.n_params, 8, l1=False).activations > 0


def test_a_score_a_null_and_a_part_of_the_report_are_one_file_each(follow: Follow, tmp_path: Path):
    follow("analyze/scores/kurtosis.py", SCORES)
    follow("analyze/nulls/permuted.py", NULLS)
    follow("analyze/report/firing_rates.py", PARTS)
    data = small_data(tmp_path)
    results = tmp_path / "results"
    for act in ("gelu_new", "relu"):
        run(small_run(data, model__act=act), tmp_path / f"{act}-s0")
        for checkpoint in (tmp_path / f"{act}-s0", step_directory(tmp_path / f"{act}-s0", 0)):
            collect(checkpoint, data, results)
    score([results], ("k_eff", "kurtosis"), nulls=("permuted",))
    comparison = compare([results], results, primaries=("kurtosis",))
    table = pl.read_parquet(results / "comparison.parquet")
    assert {"kurtosis_mono_share", "kurtosis_permuted_share", "k_eff_permuted_z", "kurtosis_p_adjusted"} <= set(
        table.columns
    )
    assert comparison.primaries == ("kurtosis",)
    markdown = (results / "comparison.md").read_text(encoding="utf-8")
    assert "kurtosis has not passed on planted neurons" in markdown
    assert "permuted %" in markdown
    assert "called so where it is at least 10" in markdown
    page = report(results).read_text(encoding="utf-8")
    assert "How often neurons fire" in page
    assert "excess over permuted" in page


def test_a_family_of_labels_is_one_file(follow: Follow):
    from analyze.labels.bank import build_bank
    from tests.analyze.labels.texts import stream_of

    follow("analyze/labels/families/exclamations.py", FAMILIES)
    bank = build_bank(stream_of([list("No! Yes? Stop!!")]), list(FAMILIES.values()))
    marks = bank.positions[bank.index("in an exclamation mark")]
    words = bank.positions[bank.index("in a word right before an exclamation mark")]
    assert (len(marks), len(words)) == (3, 6)


def test_a_problem_is_one_file(follow: Follow, tmp_path: Path):
    follow("analyze/problems/unembedding_norms.py", PROBLEMS)
    data = small_data(tmp_path)
    checkpoints = [run(small_run(data, seed=seed), tmp_path / f"gelu-s{seed}").directory for seed in range(3)]
    found = ask(["unembedding-norms"], checkpoints, tmp_path / "out", jobs=1, say=lambda line: None)
    assert found["unembedding-norms"].variants[0].n == 3
    assert "Lengths of unembeddings" in (tmp_path / "out/index.html").read_text(encoding="utf-8")
