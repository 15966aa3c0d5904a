"""Counting baselines: true probabilities, a case worked by hand, and better than the unigram on text."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from train.data.baselines import Baselines, _baselines, fit_baselines
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.data.tokens import TokenFile


def counted(ids: list[int], d_vocab: int) -> Baselines:
    stream = np.array(ids)
    pairs, counts = np.unique(stream[:-1] * d_vocab + stream[1:], return_counts=True)
    return _baselines(np.bincount(stream[1:], minlength=d_vocab), pairs, counts)


def test_probabilities_sum_to_one_after_seen_and_unseen_contexts() -> None:
    stream = np.random.default_rng(0).zipf(1.5, 5000) % 50
    baselines = counted(stream.tolist(), 60)
    words = np.arange(60)
    for context in range(60):
        probabilities = baselines.bigram_prob(np.full(60, context), words)
        assert probabilities.min() > 0
        assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(baselines.unigram_log_prob).sum() == pytest.approx(1, abs=1e-12)
    assert stream.max() < 59, "some contexts must be unseen"


def test_a_small_case_agrees_with_arithmetic_by_hand() -> None:
    # 0 1 2 1 2 1 0: bigrams 01:1, 12:2, 21:2, 10:1, so D = 2 / (2 + 4) = 1/3.
    # Predecessors: of 0: {1}, of 1: {0, 2}, of 2: {1}, so E = 2 / (2 + 2) = 1/2, N1+(.,.) = 4, V = 4.
    baselines = counted([0, 1, 2, 1, 2, 1, 0], 4)
    spare = 0.5 * 3 / 4 / 4
    assert baselines.continuation == pytest.approx([0.5 / 4 + spare, 1.5 / 4 + spare, 0.5 / 4 + spare, spare])
    # c(1) = 3 with two kinds of followers: p(2 | 1) = (2 - 1/3) / 3 + (1/3 * 2 / 3) q(2).
    expected = 5 / 9 + 2 / 9 * (0.125 + spare)
    assert baselines.bigram_prob(np.array([1]), np.array([2])) == pytest.approx([expected])
    # 3 was never a context: the continuation alone. 0 was never followed by 3: the backoff's share of it.
    assert baselines.bigram_prob(np.array([3, 0]), np.array([1, 3])) == pytest.approx([0.375 + spare, 1 / 3 * spare])
    rows = torch.tensor([[1, 2], [3, 1]])
    loss = -(np.log(expected) + np.log(0.375 + spare)) / 2
    assert baselines.bigram_loss(rows) == pytest.approx(loss)
    # Unigram: 6 predicted tokens (1 three times, 2 twice, 0 once) and 4 words.
    assert baselines.unigram_loss(rows) == pytest.approx(-(np.log(3 / 10) + np.log(4 / 10)) / 2)


def test_a_text_in_which_everything_repeats_still_leaves_mass_to_the_unseen() -> None:
    baselines = counted([0, 1] * 20, 5)
    assert baselines.bigram_prob(np.zeros(5, dtype=int), np.arange(5)).min() > 0


def test_the_bigram_beats_the_unigram_on_held_out_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    follower = rng.integers(0, 30, (30, 2))
    lines = []
    for _ in range(600):
        word, words = 0, []
        for _ in range(40):
            word = int(follower[word, rng.integers(2)])
            words.append(f"w{chr(97 + word % 26)}{chr(97 + word // 26)}")
        lines.append(json.dumps({"text": " ".join(words)}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    source = SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "a.jsonl"),))
    prepare(DataConfig(name="a", sources=(source,), d_vocab=320, n_ctx=16), tmp_path / "data")
    fit, held_out = TokenFile.open(tmp_path / "data"), TokenFile.open(tmp_path / "data", "eval")
    baselines = fit_baselines(fit)
    rows = held_out.plain_rows(0, held_out.n_rows)
    unigram, bigram = baselines.unigram_loss(rows), baselines.bigram_loss(rows)
    assert bigram < unigram - 0.5
    # Two equally likely followers are ln 2 a word; a row's first word, after BOS, cannot be known.
    assert bigram < np.log(2) + np.log(30) / 16 + 0.05
    assert baselines.n_tokens == fit.n_rows * fit.n_ctx
    fewer = fit_baselines(fit, max_tokens=160)
    assert fewer.n_tokens == 160
