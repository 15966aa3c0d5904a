"""Of a large sample whole documents count, the same for every layer."""

from pathlib import Path

import numpy as np

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
