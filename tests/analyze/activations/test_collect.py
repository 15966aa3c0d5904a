"""Collecting from one source: what a pass sums and samples, what it finds again, and what is refused."""

import asyncio
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.activations.bf16_keys import from_sort_keys, sort_keys
from analyze.activations.collect import collect_source
from analyze.activations.directory import beside
from analyze.activations.moments import StreamMoments, quantile_index
from analyze.activations.settings import CollectSettings
from analyze.activations.store import drop_sample, open_activations
from tests.analyze.activations.collected import LENGTHS, N_CTX, FakeSource, by_hand, quiet, write_data
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import manifest_hash


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")


def test_every_token_but_bos_and_separators_is_sampled_with_its_place(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    acts = collect_source(source, tokens, tmp_path / "L0.mid", say=quiet)
    wanted = by_hand(tokens, source)
    held = acts.tokens
    assert held.ids.tolist() == wanted["id"].to_list()
    assert held.previous.tolist() == wanted["previous"].to_list()
    assert held.document.tolist() == wanted["document"].to_list()
    assert held.position.tolist() == wanted["position"].to_list()
    assert held.stream_position.tolist() == wanted["stream_position"].to_list()
    assert held.is_fit.tolist() == wanted["is_fit"].to_list()
    assert 0 not in held.ids
    values = torch.tensor(wanted["values"].to_list())
    assert torch.equal(acts.block(0, 6), values.bfloat16().float())


def test_moments_are_those_of_all_tokens(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    acts = collect_source(source, tokens, tmp_path / "L0.mid", say=quiet)
    wanted = by_hand(tokens, source)
    values = np.array(wanted["values"].to_list())
    low = torch.tensor(values).bfloat16().double().numpy()
    fit = low[wanted["is_fit"].to_numpy()]
    m = acts.moments
    assert m.n_tokens.tolist() == [len(wanted)] * 6
    assert np.allclose(m.mean, values.mean(0), rtol=1e-12, atol=1e-12)
    assert np.allclose(m.sd, values.std(0), rtol=1e-12)
    assert np.array_equal(m.minimum, values.min(0))
    assert np.array_equal(m.maximum, values.max(0))
    assert np.array_equal(m.median, np.quantile(low, 0.5, axis=0, method="inverted_cdf"))
    assert np.array_equal(m.p01, np.quantile(low, 0.01, axis=0, method="inverted_cdf"))
    assert np.array_equal(m.p9999, np.quantile(fit, 0.9999, axis=0, method="inverted_cdf"))
    fires = low > 0.1 * m.p9999
    assert np.allclose(m.threshold, 0.1 * m.p9999)
    assert np.array_equal(m.firing_rate, fires.mean(0))
    documents = wanted["document"].to_numpy()
    assert m.n_documents_fired.tolist() == [len(set(documents[fires[:, n]])) for n in range(6)]
    assert acts.meta.quantiles == "all tokens"
    assert acts.meta.n_documents == len(set(documents))


def test_examples_are_the_strongest_of_each_half_one_a_document(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    acts = collect_source(source, tokens, tmp_path / "L0.mid", say=quiet)
    wanted = by_hand(tokens, source)
    for neuron in range(6):
        for half, is_fit in (("fit", True), ("eval", False)):
            best = (
                wanted.filter(pl.col("is_fit") == is_fit)
                .with_columns(activation=pl.col("values").list.get(neuron))
                .sort("activation", "stream_position", descending=[True, False])
                .unique("document", keep="first", maintain_order=True)
                .head(20)
            )
            found = acts.examples.filter((pl.col("neuron") == neuron) & (pl.col("half") == half))
            assert found["rank"].to_list() == list(range(20))
            assert np.allclose(found["activation"], best["activation"], rtol=1e-6)
            for column in ("document", "stream_position", "position"):
                assert found[column].to_list() == best[column].to_list()


def test_the_result_is_bit_identical_for_any_number_of_rows_at_once(tokens: TokenFile, tmp_path: Path) -> None:
    settings = CollectSettings(micro_batch_tokens=4 * N_CTX)
    hashes = set()
    for batch in (1, 3, 4, 7, 64, 10_000):
        out = tmp_path / str(batch) / "L0.mid"
        source = FakeSource()
        collect_source(source, tokens, out, batch=batch, say=quiet, settings=settings)
        hashes.add((manifest_hash(out), manifest_hash(beside(out, "sample"))))
        assert set(source.calls) == {(4, N_CTX)}
    assert len(hashes) == 1


def test_collecting_in_worker_threads_gives_the_same_result_and_leaves_torch_as_it_was(
    tokens: TokenFile, tmp_path: Path
) -> None:
    before = torch.get_num_threads(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def collected(name: str) -> tuple[str, str]:
        out = tmp_path / name / "L0.mid"
        collect_source(FakeSource(), tokens, out, say=quiet)
        return manifest_hash(out), manifest_hash(beside(out, "sample"))

    here = collected("here")
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(collected, "abc")) == [here] * 3

    async def cell() -> tuple[str, str]:
        return await asyncio.to_thread(collected, "beside")

    assert asyncio.run(cell()) == here
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_document_longer_than_many_micro_batches_gives_one_example(tmp_path: Path) -> None:
    settings = CollectSettings(micro_batch_tokens=N_CTX)
    tokens = TokenFile.open(write_data(tmp_path / "data", [500, 3, 2, 400]), "eval")
    acts = collect_source(FakeSource(), tokens, tmp_path / "L0.mid", say=quiet, settings=settings)
    assert acts.examples.group_by("neuron", "document").len()["len"].max() == 1
    strongest = acts.examples.group_by("neuron").agg(pl.col("activation").max()).sort("neuron")
    assert np.array_equal(strongest["activation"].to_numpy(), acts.moments.maximum)


def test_a_share_of_tokens_is_chosen_by_position_alone(tokens: TokenFile, tmp_path: Path) -> None:
    first = collect_source(FakeSource(), tokens, tmp_path / "a" / "L0.mid", sample_tokens=300, say=quiet)
    other = collect_source(FakeSource(9, seed=1), tokens, tmp_path / "b" / "L0.mid", sample_tokens=300, say=quiet)
    assert 200 < len(first.tokens) < 400
    assert np.array_equal(first.tokens.stream_position, other.tokens.stream_position)
    assert first.meta.quantiles == "sample"
    whole = collect_source(FakeSource(), tokens, tmp_path / "c" / "L0.mid", say=quiet)
    assert np.array_equal(first.moments.mean, whole.moments.mean)
    assert first.examples.equals(whole.examples)
    chosen = np.isin(whole.tokens.stream_position, first.tokens.stream_position)
    assert torch.equal(whole.block(0, 6)[torch.from_numpy(chosen)], first.block(0, 6))


def test_max_tokens_takes_the_first_rows(tokens: TokenFile, tmp_path: Path) -> None:
    acts = collect_source(FakeSource(), tokens, tmp_path / "L0.mid", max_tokens=10 * N_CTX, say=quiet)
    assert acts.tokens.stream_position.max() < 10 * N_CTX


class Special(FakeSource):
    """Neuron 0 constant, 1 on one token id, 2 always on, 3 on most tokens, 4 tiny but alive, 5 tiny noise."""

    def activations(self, tokens: torch.Tensor) -> torch.Tensor:
        noise = self.tables[0][tokens][..., 0].abs()
        return torch.stack(
            [
                torch.full(tokens.shape, 0.3),
                torch.where(tokens == 7, 1.0 + noise, 0.0) * (torch.arange(tokens.shape[1]) == 3),
                noise + 0.5,
                torch.where(tokens % 4 > 0, 1.0 + noise, 0.0),
                noise * 1e-3,
                noise * 1e-9,
            ],
            dim=-1,
        )


def test_dead_rare_dense_and_always_on_neurons_are_recognised(tokens: TokenFile, tmp_path: Path) -> None:
    m = collect_source(Special(), tokens, tmp_path / "L0.mid", say=quiet).moments
    assert m.status.tolist() == [1, 2, 0, 0, 0, 1]
    assert m.n_documents_fired[1] < 30
    assert m.always_on.tolist() == [False, False, True, False, True, False]
    assert m.dense[2]
    assert m.dense[3]
    assert not m.dense[0]
    assert not m.dense[1]


def test_values_that_are_not_finite_name_checkpoint_layer_and_hook(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    source.tables[0][11, 4] = torch.nan
    with pytest.raises(BadInput, match=r"a: layer 0, hook mid: 1 of 6 neurons \(first: 4\)"):
        collect_source(source, tokens, tmp_path / "out" / "L0.mid", say=quiet)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_pass_leaves_nothing_behind(tokens: TokenFile, tmp_path: Path) -> None:
    class Interrupted(FakeSource):
        def activations(self, tokens: torch.Tensor) -> torch.Tensor:
            if self.calls:
                raise KeyboardInterrupt
            return super().activations(tokens)

    source = Interrupted()
    source.calls.append((0, 0))
    with pytest.raises(KeyboardInterrupt):
        collect_source(source, tokens, tmp_path / "out" / "L0.mid", say=quiet)
    assert list((tmp_path / "out").iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tokens: TokenFile, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".tmp-L0.mid.sample-999999999"
    # Another container's, say, where a living process has this number; none that lives writes here without the lock.
    other = tmp_path / "out" / f".tmp-L0.mid.sample-{os.getppid()}"
    left.mkdir(parents=True)
    other.mkdir()
    (left / "sample.safetensors").write_bytes(b"half")
    collect_source(FakeSource(), tokens, tmp_path / "out" / "L0.mid", say=quiet)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["L0.mid", "L0.mid.sample"]


def test_an_existing_equal_result_is_found_at_once(tokens: TokenFile, tmp_path: Path) -> None:
    said: list[str] = []
    collect_source(FakeSource(), tokens, tmp_path / "L0.mid", say=said.append)
    again = FakeSource()
    collect_source(again, tokens, tmp_path / "L0.mid", say=said.append)
    assert again.calls == []
    assert "already collected" in said[-1]


def test_a_dropped_sample_is_collected_again_as_it_was(tokens: TokenFile, tmp_path: Path) -> None:
    out = tmp_path / "L0.mid"
    collect_source(FakeSource(), tokens, out, say=quiet)
    before = manifest_hash(out)
    drop_sample(out)
    collect_source(FakeSource(), tokens, out, say=quiet)
    assert manifest_hash(out) == before
    assert open_activations(out).block(0, 1).shape[1] == 1


def test_another_result_in_the_way_is_refused_with_what_differs(tokens: TokenFile, tmp_path: Path) -> None:
    out = tmp_path / "L0.mid"
    collect_source(FakeSource(), tokens, out, say=quiet)
    with pytest.raises(BadInput, match="checkpoint_hash = a0, now a1"):
        collect_source(FakeSource(seed=1), tokens, out, say=quiet)
    with pytest.raises(BadInput, match="sample_share"):
        collect_source(FakeSource(), tokens, out, sample_tokens=100, say=quiet)
    other = TokenFile.open(write_data(tmp_path / "other", LENGTHS, seed=1), "eval")
    with pytest.raises(BadInput, match="data_hash"):
        collect_source(FakeSource(), other, out, say=quiet)


def test_data_of_another_tokenizer_split_or_row_length_are_refused(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource()
    with pytest.raises(BadInput, match="rows of 16 where a has 8"):
        collect_source(FakeSource(n_ctx=8), tokens, tmp_path / "L0.mid")
    with pytest.raises(BadInput, match="split 'fit'"):
        collect_source(source, TokenFile.open(tokens.directory, "fit"), tmp_path / "L0.mid")
    other = FakeSource()
    other.facts = replace(other.facts, tokenizer_sha256="0" * 64)
    with pytest.raises(BadInput, match="tokenizer"):
        collect_source(other, tokens, tmp_path / "L0.mid")
    with pytest.raises(BadInput, match="batch: 0 must be at least 1"):
        collect_source(source, TokenFile.open(tokens.directory, "eval"), tmp_path / "L0.mid", batch=0)


def test_memory_disk_and_too_few_documents_are_reported_beforehand(tmp_path: Path) -> None:
    tokens = TokenFile.open(write_data(tmp_path / "data", [60] * 12), "eval")
    said: list[str] = []
    acts = collect_source(FakeSource(), tokens, tmp_path / "L0.mid", say=said.append)
    assert "MB of memory" in said[0]
    assert "MB of disk" in said[0]
    assert "only 12 evaluation documents" in said[1]
    assert set(acts.moments.status.tolist()) <= {1, 2}


def test_a_full_disk_is_refused_before_the_pass(
    tokens: TokenFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    source = FakeSource()
    with pytest.raises(EnvironmentProblem, match="MB free"):
        collect_source(source, tokens, tmp_path / "L0.mid", say=quiet)
    assert source.calls == []


def test_variance_survives_a_large_offset() -> None:
    values = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 1e4])
    stream = StreamMoments(2)
    for piece in values.split(500):
        stream.update(piece)
    mean, sd = stream.mean_and_sd()
    assert np.allclose(mean, values.double().mean(0), rtol=1e-12)
    assert np.allclose(sd, values.double().std(0, correction=0), rtol=1e-9)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9999])
@pytest.mark.parametrize("kind", ["gelu", "relu", "negative", "constant"])
def test_quantiles_are_those_of_the_bf16_values(share: float, kind: str) -> None:
    raw = torch.randn(8, 501, generator=torch.Generator().manual_seed(1))
    shape = {
        "gelu": torch.nn.functional.gelu,
        "relu": torch.relu,
        "negative": lambda x: -x.abs(),
        "constant": torch.ones_like,
    }
    values = shape[kind](raw).bfloat16()
    wanted = np.quantile(values.double().numpy(), share, axis=1, method="inverted_cdf")
    ordered = np.sort(sort_keys(values).numpy(), axis=1)
    assert np.array_equal(from_sort_keys(ordered[:, quantile_index(share, 501)]), wanted)
