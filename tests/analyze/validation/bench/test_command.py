"""The benchmark as a command: the leaderboard, a score of one's own, and what goes wrong in it."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analyze.validation.bench import command, contestants, store
from analyze.validation.bench.command import Asked, bench_scores
from analyze.validation.bench.page import leaderboard
from analyze.validation.layers.annotated import Annotations
from tests.analyze.validation.layers.truth import made_up_truth
from train.errors import BadInput

pytestmark = pytest.mark.slow

OWN = """
import numpy as np

def score(activations, tokens, documents):
    return -(activations > 0.5).mean(axis=0)
"""
FAULTS = {
    "raises": "raise ValueError('no\\nsuch thing')",
    "nothing": "return np.full(activations.shape[1], np.nan)",
    "short": "return np.zeros(3)",
    "same": "return np.ones(activations.shape[1])",
    "words": "return 'good'",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Asked, list[str], Path]:
    where = tmp_path_factory.mktemp("bench")
    truth = made_up_truth(where)
    own = []
    for name, body in {"mine": "", **FAULTS}.items():
        path = where / f"{name}.py"
        path.write_text(
            OWN if name == "mine" else f"import numpy as np\n\ndef score(activations, tokens, documents):\n    {body}\n"
        )
        own.append(path)
    asked = Asked((truth.corpus.data.directory,), tuple(own), (), Annotations(), "tuning", (), (1,), 40)
    patch = pytest.MonkeyPatch()
    patch.setattr(command.TruthCorpus, "of", lambda *args, **kwargs: truth)
    kept = [one for one in contestants.rivals() if one.name in ("firing_rate", "kurtosis")]
    patch.setattr(command, "rivals", lambda: kept)
    patch.setattr(command, "code_key", lambda: "code")
    lines: list[str] = []
    page = where / "page.md"
    final = bench_scores(asked, where / "out", page, ["--data", "x"], lines.append)
    again: list[str] = []
    bench_scores(asked, where / "out", page, ["--data", "x"], again.append)
    with pytest.raises(BadInput, match="is measured elsewhere as well; leave one out") as refused:
        bench_scores(replace(asked, own=tuple(own[:1]), also=(where / "out",)), where / "twice", None, [], again.append)
    assert str(refused.value).startswith(f"--also: {where / 'out'}: its set '")
    assert not (where / "twice/bench").exists()
    patch.undo()
    return final, page, asked, [*lines, "---", *again[:1]], where


def test_the_page_has_every_score_in_every_table(made: tuple):
    text = made[1].read_text()
    assert text == (made[0] / "score-benchmark.md").read_text()
    for heading in ("By layer of truth", "By corpus", "By number of features", "By kind of feature", "How it was made"):
        assert f"## {heading}" in text
    assert "| firing rate (low) |" in text
    assert "mine (own)" in text
    assert "(kind of feature alone)" in text
    assert "polysem bench-scores --data" in text


def test_the_table_of_neurons_has_each_scores_values(made: tuple):
    table = pl.read_parquet((made[0] / "neurons.parquet").read_bytes())
    assert {"mine", "firing_rate", "kurtosis", "k", "layer", "design", "kinds"} <= set(table.columns)
    mine, rate = (table[name].to_numpy() for name in ("mine", "firing_rate"))
    assert mine.std() > 0
    assert len(mine) == len(rate) >= 160


def test_a_score_that_fails_is_told_once_in_one_line_and_the_rest_goes_on(made: tuple):
    lines, text = made[3], made[1].read_text()
    for name, told in {
        "raises": "raised ValueError: no such thing",
        "nothing": "gave NaN for every neuron",
        "short": "returned shape (3,) for",
        "same": "gave the same value for every neuron",
        "words": "it returned str, no array of numbers",
    }.items():
        found = [line for line in lines if line.startswith(f"{name}: ") and told in line]
        assert len(found) == 1, (name, lines)
        assert f"{name} (own): " in text


def between(text: str, ends: slice) -> str:
    """What stands between two headings."""
    return text[text.index(ends.start) : text.index(ends.stop)]


def test_finished_parts_are_read_back_and_stand_on_one_page(made: tuple):
    finished = store.read(made[4] / "out")
    assert [len(one.facts.k) for one in finished.sets] == [len(one.facts.single) for one in finished.sets]
    table = pl.read_parquet((made[0] / "neurons.parquet").read_bytes())
    first = finished.sets[0].facts
    assert first.members.sum(axis=1).tolist() == first.k.tolist()
    assert {feature.half for feature in first.features} == {"tuning"}
    assert store.long_table(finished).equals(table)
    text, tables = made[1].read_text(), slice("## By layer", "## How it was made")
    again = leaderboard(finished, "", "")
    assert between(again, tables) == between(text, tables)
    renamed = replace(finished.sets[0], facts=replace(first, name="another"))
    both = finished.and_then(replace(finished, sets=[renamed], minutes=1.0), "elsewhere")
    assert [*both.sets] == [*finished.sets, renamed]
    assert both.minutes == finished.minutes + 1


def test_a_second_run_finds_its_result(made: tuple):
    lines = made[3]
    assert lines[lines.index("---") + 1 :] == [f"found {made[0]}"]


def test_two_corpora_of_one_name_are_refused(made: tuple, tmp_path: Path):
    with pytest.raises(BadInput, match=r"--data: two corpora are called 'data'"):
        bench_scores(replace(made[2], data=made[2].data * 2), tmp_path, None, [], print)


def test_two_scores_of_one_name_are_refused(made: tuple, tmp_path: Path):
    asked = Asked(made[2].data, (made[4] / "mine.py", made[4] / "mine.py"), (), Annotations(), "tuning", (), (1,), 40)
    with pytest.raises(BadInput, match="two scores are called 'mine'"):
        bench_scores(asked, tmp_path, None, [], print)
