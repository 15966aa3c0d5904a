"""Data, and a writer of scored cells on them."""

from pathlib import Path

import polars as pl
import pytest

from tests.analyze.activations.synthetic import meta_of, sampled_tokens, write_cell, write_data
from tests.analyze.comparison.cells import mono_scores


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("study") / "data", n_documents=12)


@pytest.fixture(scope="module")
def tokens(data):
    return sampled_tokens(data)


@pytest.fixture
def put(tmp_path, data, tokens):
    """put(variant, seed, n_mono, ...) writes one scored cell of 40 neurons under tmp_path / results."""

    def write(variant, seed, n_mono, *, step=500, rotated=2, scores=None, **over):
        table = mono_scores(40, n_mono) if scores is None else scores
        if rotated is not None:
            table = pl.concat([table, mono_scores(40, rotated, "rotated")])
        meta = meta_of(data, over.pop("tokens", tokens), variant, seed, step, **over)
        return write_cell(tmp_path / "results", tokens, meta, table)

    return write
