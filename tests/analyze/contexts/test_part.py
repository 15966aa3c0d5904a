"""Of a large sample whole documents count, the same for every layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyze.contexts.part import part_of
from analyze.validation.plant import Corpus
from train.data.tokens import TokenFile


def test_part_of_a_sample_has_whole_documents_and_their_activations(real_text: Path):
    corpus = Corpus.of(TokenFile.open(real_text, split="eval"))
    n = len(corpus.tokens)
    values = np.random.default_rng(0).random((n, 3)).astype(np.float32)
    acts = corpus.activations(values, "random")
    assert part_of(acts, n) is acts
    part = part_of(acts, n // 2)
    assert n // 4 < len(part.tokens) <= n // 2
    chosen = np.isin(acts.tokens.document, part.tokens.document)
    assert chosen.sum() == len(part.tokens), "whole documents"
    assert np.array_equal(part.block(0, 3).numpy(), acts.block(0, 3).numpy()[chosen])
    assert np.array_equal(part.sample.read_tokens(5, 40).numpy(), part.block(0, 3).numpy()[5:40])
    assert part_of(acts, n // 2) is part


def test_of_few_large_documents_single_tokens_count_so_that_no_half_is_empty(real_text: Path):
    corpus = Corpus.of(TokenFile.open(real_text, split="eval"))
    n = len(corpus.tokens)
    acts = corpus.activations(np.ones((n, 1), np.float32), "random")
    is_fit = np.asarray(acts.tokens.is_fit)
    for document in (np.zeros(n, np.int64), np.where(is_fit, 1, 2)):
        few = replace(acts, tokens=replace(acts.tokens, document=document))
        part = part_of(few, n // 3)
        assert n // 6 < len(part.tokens) <= n // 3
        assert np.mean(part.tokens.is_fit) == pytest.approx(is_fit.mean(), abs=0.25)
        assert np.all(np.diff(part.tokens.stream_position) > 0)


def test_of_a_thin_sample_so_much_counts_as_stands_in_little_text(real_text: Path):
    corpus = Corpus.of(TokenFile.open(real_text, split="eval"))
    n = len(corpus.tokens)
    acts = corpus.activations(np.ones((n, 1), np.float32), "random", kept=np.arange(n) % 7 == 0)
    assert part_of(acts) is acts
    part = part_of(acts, n, n // 2)
    assert n // 28 < len(part.tokens) <= n // 12
    documents = np.unique(part.tokens.document)
    text = [np.ptp(part.tokens.stream_position[part.tokens.document == document]) + 1 for document in documents]
    assert n // 4 < sum(text) <= n // 2
