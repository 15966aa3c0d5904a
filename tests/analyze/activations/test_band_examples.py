from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.activations.band_examples import N_BANDS, N_IN_BAND
from analyze.activations.firing import Firing
from analyze.activations.settings import CollectSettings
from analyze.activations.store import TokenSample
from analyze.activations.token_sample import position_hash
from tests.analyze.activations.chunks import D_VOCAB, add_in_chunks, stream_of


def made(tmp_path: Path, n_tokens: int = 3000) -> tuple[TokenSample, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    tokens = stream_of(n_tokens, rng, n_documents=40)
    values = rng.standard_normal((n_tokens, 4)).astype(np.float32)
    values[:, 1] = np.where(rng.random(n_tokens) < 0.01, np.abs(values[:, 1]), 0)
    values[:, 2] = -np.abs(values[:, 2])
    values = torch.from_numpy(values).bfloat16().float().numpy()
    return tokens, values, np.array([2.5, 1.5, -0.1, 0.01])


def by_hand(tokens: TokenSample, values: np.ndarray, p9999: np.ndarray) -> pl.DataFrame:
    """Straight from the definition: each document's position of smallest hash in the band, the first five of them."""
    rows = []
    for neuron, p in enumerate(p9999):
        for half, is_fit in (("fit", True), ("eval", False)):
            for band in range(N_BANDS):
                a = values[:, neuron].astype(np.float64)
                there = (a > p * band / 10) & (tokens.is_fit == is_fit) & (p > 0)
                if band < 9:
                    there &= a <= p * (band + 1) / 10
                at = np.flatnonzero(there)
                at = at[np.argsort(position_hash(tokens.stream_position[at]))]
                _, first = np.unique(tokens.document[at], return_index=True)
                for rank, token in enumerate(at[np.sort(first)][:N_IN_BAND]):
                    place = (int(tokens.stream_position[token]), int(tokens.position[token]))
                    rows.append((neuron, half, band, rank, int(tokens.document[token]), *place, float(a[token])))
    names = ("neuron", "half", "band", "rank", "document", "stream_position", "position", "activation")
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.mark.parametrize("ends", [[], [1000], [1, 7, 500, 501, 2999]])
def test_bands_hold_the_documents_of_smallest_hash_however_the_stream_is_cut(tmp_path: Path, ends: list[int]) -> None:
    tokens, values, p9999 = made(tmp_path)
    firing = Firing(4, D_VOCAB, tmp_path, CollectSettings(band_stages=(64, 700)))
    firing.set_thresholds(0, p9999)
    add_in_chunks(firing, tokens, values, ends)
    found = firing.bands.table()
    wanted = by_hand(tokens, values, p9999)
    assert len(wanted) > 100
    for column in wanted.columns:
        assert found[column].to_list() == wanted[column].to_list(), column


def test_a_neuron_that_is_never_above_zero_has_no_bands(tmp_path: Path) -> None:
    tokens, values, p9999 = made(tmp_path)
    firing = Firing(4, D_VOCAB, tmp_path)
    firing.set_thresholds(0, p9999)
    add_in_chunks(firing, tokens, values, [])
    table = firing.bands.table()
    assert 2 not in table["neuron"]
    assert table.group_by("neuron", "half", "band", "document").len()["len"].max() == 1
    assert table.group_by("neuron", "half", "band").len()["len"].max() == N_IN_BAND
