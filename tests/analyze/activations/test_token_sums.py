from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from analyze.activations.firing import Firing
from analyze.activations.settings import CollectSettings
from analyze.activations.token_sums import TOKEN_SUMS_FILE, TokenSums, write_token_sums
from tests.analyze.activations.chunks import D_VOCAB, add_in_chunks, stream_of
from tests.analyze.activations.collected import collected
from train.errors import BadInput


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 300), st.lists(st.integers(0, 300), max_size=4))
def test_sums_rates_and_documents_are_those_of_the_tokens_above_the_threshold(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_tokens: int, ends: list[int]
) -> None:
    rng, tmp_path = np.random.default_rng(seed), tmp_path_factory.mktemp("sums")
    tokens = stream_of(n_tokens, rng)
    values = torch.from_numpy(rng.standard_normal((n_tokens, 6)).astype(np.float32)).bfloat16().float().numpy()
    p9999 = rng.normal(2, 3, 6)
    firing = Firing(6, D_VOCAB, tmp_path)
    firing.set_thresholds(0, p9999)
    add_in_chunks(firing, tokens, values, sorted(min(end, n_tokens) for end in ends))
    nothing = (np.zeros(6, dtype=np.int64), np.zeros(6), np.zeros(6))
    write_token_sums(tmp_path / TOKEN_SUMS_FILE, firing.sums.tables(), 6, firing.occurrences, nothing)
    sums = TokenSums(tmp_path / TOKEN_SUMS_FILE, 6)
    assert np.array_equal(sums.occurrences(), np.bincount(tokens.ids, minlength=D_VOCAB))
    exact = values.astype(np.float64)
    for neuron in range(6):
        fires = exact[:, neuron] > 0.1 * p9999[neuron]
        table = sums.block(neuron, neuron + 1)
        assert firing.fired[neuron] == fires.sum()
        assert firing.documents[neuron] == len(set(tokens.document[fires].tolist()))
        assert table.token.tolist() == sorted(set(tokens.ids[fires].tolist()))
        for token, count, total, squares in zip(table.token, table.count, table.sum, table.squares):
            mine = exact[fires & (tokens.ids == token), neuron]
            assert count == len(mine)
            assert np.isclose(total, mine.sum(), rtol=1e-13, atol=1e-13)
            assert np.isclose(squares, (mine**2).sum(), rtol=1e-13)


def test_a_spill_that_was_merged_on_the_way_gives_the_same_entries(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens, values = stream_of(500, rng), rng.standard_normal((500, 6)).astype(np.float32)
    found = []
    for name, spill_bytes, unmerged in (("kept", 2**30, 2**30), ("merged", 1, 2**30), ("merged at once", 1, 1)):
        (tmp_path / name).mkdir()
        settings = CollectSettings(spill_bytes=spill_bytes, unmerged_bytes=unmerged)
        firing = Firing(6, D_VOCAB, tmp_path / name, settings)
        firing.set_thresholds(0, np.full(6, 2.0))
        for start in range(0, 500, 50):
            part = type(tokens)(*(getattr(tokens, one)[start : start + 50] for one in tokens.__dataclass_fields__))
            add_in_chunks(firing, part, values[start : start + 50], [])
            firing.sums.compact()
        firing.sums.forget()
        assert len(list((tmp_path / name).iterdir())) == 1
        found.append([(first, *table.__dict__.values()) for first, table in firing.sums.tables()])
    assert firing.sums.generation > 1
    for blocks in found[1:]:
        for kept, merged in zip(found[0], blocks, strict=True):
            for one, other in zip(kept, merged):
                assert np.array_equal(one, other)


def test_a_block_of_neurons_is_read_alone_and_across_blocks_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens, values = stream_of(200, rng), rng.standard_normal((200, 600)).astype(np.float32)
    firing = Firing(600, D_VOCAB, tmp_path)
    firing.set_thresholds(0, np.full(600, 2.0))
    from analyze.activations.token_sample import SortedTokens
    from tests.analyze.activations.chunks import keys_of

    firing.start_chunk(SortedTokens.of(tokens))
    for first in range(0, 600, 64):
        firing.sums.add(first, firing.add(first, keys_of(values[:, first : first + 64])))
    path = tmp_path / TOKEN_SUMS_FILE
    nothing = (np.zeros(600, dtype=np.int64), np.zeros(600), np.zeros(600))
    write_token_sums(path, firing.sums.tables(), 600, firing.occurrences, nothing)
    with safe_open(path, "np") as file:
        assert {"starts.000", "token.001", "sum.002"} <= set(file.keys())
    sums = TokenSums(path, 600)
    whole = sums.block(0, 600)
    part = sums.block(250, 520)
    begin, end = whole.starts[250], whole.starts[520]
    assert np.array_equal(part.sum, whole.sum[begin:end])
    assert np.array_equal(part.token, whole.token[begin:end])
    assert np.array_equal(part.starts, whole.starts[250:521] - begin)
    assert np.array_equal(part.of(3).count, sums.block(253, 254).count)
    with pytest.raises(BadInput, match="the layer has 600"):
        sums.block(0, 601)


def test_the_remainder_and_the_bounds_of_means_hold_what_did_not_fire(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    assert acts.token_sums is not None
    values = acts.block(0, acts.n_neurons).double().numpy()
    count, total, squares = acts.token_sums.remainder()
    for neuron in range(acts.n_neurons):
        a = values[:, neuron]
        rest = a[a <= acts.moments.threshold[neuron]]
        assert count[neuron] == len(rest)
        assert np.isclose(total[neuron], rest.sum(), rtol=1e-10)
        assert np.isclose(squares[neuron], (rest**2).sum(), rtol=1e-10)
        low, high = acts.token_sums.mean_bounds(neuron, a.min(), acts.moments.threshold[neuron])
        for token in range(len(low)):
            mine = a[acts.tokens.ids == token]
            if len(mine):
                assert low[token] - 1e-9 <= mine.mean() <= high[token] + 1e-9
            else:
                assert np.isnan(low[token])


def test_sums_that_are_gone_say_how_to_get_them_again(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="collect again"):
        TokenSums(tmp_path / "nothing", 3).occurrences()
