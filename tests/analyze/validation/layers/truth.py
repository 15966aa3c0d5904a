"""A corpus of made-up text with planted features that stand for ours."""

from pathlib import Path

import numpy as np

from analyze.validation.layers.annotated import Annotations
from analyze.validation.layers.base import Features, PlantedFeature
from analyze.validation.layers.sets import TruthCorpus
from tests.analyze.validation.made_up import corpus_on


def made_up_truth(directory: Path, lines: list[str] | None = None) -> TruthCorpus:
    """About 9,000 tokens; 120 random features of each half, of two kinds."""
    corpus = corpus_on(directory)
    rng = np.random.default_rng(0)
    shares = np.exp(rng.uniform(np.log(0.004), np.log(0.04), 240))
    named = tuple(
        PlantedFeature(f"f{index}", f"family {index}", "ab"[index % 2], "held" if index % 3 else "tuning")
        for index in range(240)
    )
    say = (lambda line: None) if lines is None else lines.append
    truth = TruthCorpus("made up", corpus, (), Annotations(), None, say)
    truth.__dict__["ours"] = Features(named, rng.random((len(corpus.tokens), 240)) < shares)
    return truth
