from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations.collect import collect_source
from analyze.activations.directory import beside
from analyze.activations.settings import CollectSettings
from tests.analyze.activations.collected import LENGTHS, N_CTX, FakeSource, by_hand, quiet, write_data
from train.data.tokens import TokenFile
from train.files import manifest_hash


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")


SMALL = CollectSettings(micro_batch_tokens=4 * N_CTX, chunk_bytes=2 * 6 * 8 * N_CTX)
"""Micro-batches of four rows, chunks of eight."""
collect_in_chunks = partial(collect_source, settings=SMALL)


def test_with_a_partial_sample_the_rest_is_counted_over_all_tokens_in_pieces(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    acts = collect_in_chunks(source, tokens, tmp_path / "L0.mid", sample_tokens=300, say=quiet)
    assert len(source.calls) == 2 * -(-tokens.n_rows // 4)
    wanted = by_hand(tokens, source)
    low = torch.tensor(wanted["values"].to_list()).bfloat16().double().numpy()
    documents = wanted["document"].to_numpy()
    m = acts.moments
    assert m.negative_share is not None
    assert m.negative_mass is not None
    assert acts.histograms is not None
    assert acts.token_sums is not None
    fires = low > m.threshold
    assert len(acts.tokens) < len(low)
    assert np.array_equal(m.firing_rate, fires.mean(0))
    assert m.n_documents_fired.tolist() == [len(set(documents[fires[:, n]])) for n in range(6)]
    assert np.array_equal(m.negative_share, (low < 0).mean(0))
    assert np.allclose(m.negative_mass, -np.minimum(low, 0).sum(0) / np.abs(low).sum(0), rtol=1e-12)
    assert (acts.histograms.counts.sum(1) == len(low)).all()
    ids = wanted["id"].to_numpy()
    table = acts.token_sums.block(2, 3)
    for token, count, total in zip(table.token, table.count, table.sum):
        mine = low[fires[:, 2] & (ids == token), 2]
        assert count == len(mine)
        assert np.isclose(total, mine.sum(), rtol=1e-13)


def test_counts_are_the_same_in_pieces_and_from_a_complete_sample(tokens: TokenFile, tmp_path: Path) -> None:
    whole = collect_in_chunks(FakeSource(), tokens, tmp_path / "a" / "L0.mid", say=quiet)
    # Hardly a token is left out, and with it no quantile moves.
    almost = tokens.n_rows * (N_CTX - 1) - 1
    parted = collect_in_chunks(
        FakeSource(), tokens, tmp_path / "b" / "L0.mid", sample_tokens=almost, say=quiet, settings=SMALL
    )
    assert parted.meta.quantiles == "sample"
    assert np.array_equal(parted.moments.p9999, whole.moments.p9999)
    assert np.array_equal(parted.moments.firing_rate, whole.moments.firing_rate)
    assert np.array_equal(parted.moments.n_documents_fired, whole.moments.n_documents_fired)
    for one, other in ((parted.bands, whole.bands), (parted.examples, whole.examples)):
        assert one is not None
        assert other is not None
        assert one.equals(other)
    assert parted.histograms is not None
    assert whole.histograms is not None
    assert np.array_equal(parted.histograms.counts, whole.histograms.counts)
    assert parted.token_sums is not None
    assert whole.token_sums is not None
    one, other = parted.token_sums.block(0, 6), whole.token_sums.block(0, 6)
    assert np.array_equal(one.token, other.token)
    assert np.array_equal(one.count, other.count)
    assert np.allclose(one.sum, other.sum, rtol=1e-14)


def test_in_pieces_the_result_is_bit_identical_for_any_number_of_rows_at_once(
    tokens: TokenFile, tmp_path: Path
) -> None:
    hashes = set()
    for batch in (1, 3, 64):
        out = tmp_path / str(batch) / "L0.mid"
        collect_in_chunks(FakeSource(), tokens, out, sample_tokens=300, batch=batch, say=quiet)
        hashes.add((manifest_hash(out), manifest_hash(beside(out, "sample"))))
    assert len(hashes) == 1
