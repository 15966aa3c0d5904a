"""Scored cells as they lie on disk: those of an older version are read, or their reader says what to do."""

import json
from pathlib import Path

import numpy as np
import pytest

from analyze.comparison.results import Place, find_cells
from tests.analyze.activations.synthetic import made_up_scores, meta_of, sampled_tokens, write_cell, write_data
from train.errors import BadInput
from train.files import publishing, read_manifest


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """The scores of one run."""
    data = write_data(tmp_path / "data", n_documents=12)
    tokens = sampled_tokens(data)
    table = made_up_scores(20, np.full(20, 2.0), np.random.default_rng(0))
    activations = write_cell(tmp_path / "r", tokens, meta_of(data, tokens, "gelu", 0, 500, n_neurons=20), table)
    return activations.with_name("L0.mid.scores")


def without(scores: Path, key: str) -> None:
    """Seal some scores again, their manifest's meta without a key and with one of a later version."""
    manifest, table = read_manifest(scores), (scores / "scores.parquet").read_bytes()
    meta = {name: value for name, value in manifest["meta"].items() if name != key} | {"later": 1}
    facts = {name: manifest[name] for name in ("kind", "format_version", "activations_hash", "settings")}
    with publishing(scores, json.loads(json.dumps(facts | {"meta": meta})), replace=True) as aside:
        (aside / "scores.parquet").write_bytes(table)


def test_scores_from_before_a_key_had_a_default_are_read(scores: Path):
    without(scores, "scheme")
    (cell,) = find_cells([scores.parents[2]])
    assert cell.meta.scheme is None
    assert cell.place == Place(0, "mid")


@pytest.mark.parametrize("key", ["root_variant", "start_run", "factor"])
def test_scores_that_lack_what_a_comparison_needs_say_to_score_again(scores: Path, key: str):
    without(scores, key)
    with pytest.raises(BadInput, match=f"does not say {key}; score again"):
        find_cells([scores.parents[2]])
