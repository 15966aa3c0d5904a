"""Packed tokens: rows as a pure function, the permutation behind them, and files that do not fit."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.data.tokenizer import BOS, BOS_ID, load_tokenizer, train_tokenizer
from train.data.tokens import TokenFile, permuted
from train.errors import BadInput

N_CTX = 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    lines = [json.dumps({"text": f"Document {i} says {'so ' * (i % 13)}and {i * i}."}) for i in range(400)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    source = SourceConfig(kind="files", weight=1.0, paths=(str(folder / "a.jsonl"),))
    config = DataConfig(name="tiny", sources=(source,), d_vocab=300, n_ctx=N_CTX, eval_share=0.3)
    return prepare(config, folder / "data").directory


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


def edit_manifest(directory: Path, **changes: object) -> None:
    path = directory / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("seed", [0, 1, -1, 2**63])
def test_every_index_is_met_exactly_once_in_an_epoch(n: int, seed: int) -> None:
    images = permuted(np.arange(n, dtype=np.uint64), n, seed, epoch=3)
    assert sorted(images.tolist()) == list(range(n))


@given(n=st.integers(1, 2**40), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 1000), data=st.data())
@settings(max_examples=50)
def test_an_image_lies_in_range_and_does_not_depend_on_its_neighbours(
    n: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    indices = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8, unique=True))
    images = permuted(np.array(indices, dtype=np.uint64), n, seed, epoch)
    assert images.max() < n
    assert len(set(images.tolist())) == len(indices)
    alone = [permuted(np.array([i], dtype=np.uint64), n, seed, epoch)[0] for i in indices]
    assert images.tolist() == alone


def test_the_order_differs_by_seed_and_epoch_and_looks_random() -> None:
    everything = np.arange(6000, dtype=np.uint64)
    orders = [permuted(everything, 6000, seed, epoch).astype(float) for seed in (0, 1) for epoch in (0, 1)]
    correlations = np.corrcoef([*orders, everything.astype(float)])[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 0.05
    neighbours = np.corrcoef(orders[0][:-1], orders[0][1:])[0, 1]
    assert abs(neighbours) < 0.05


def test_the_permutation_never_changes() -> None:
    def golden(n: int, seed: int, epoch: int) -> list[int]:
        return permuted(np.arange(6, dtype=np.uint64), n, seed, epoch).tolist()

    assert golden(10, 0, 0) == GOLDEN_10
    assert golden(6441, 0, 0) == GOLDEN_6441
    assert golden(6441, 7, 2) == GOLDEN_6441_7_2
    assert golden(10**12, 0, 0) == GOLDEN_LARGE


GOLDEN_10 = [5, 2, 8, 6, 0, 4]
GOLDEN_6441 = [6241, 1620, 6396, 5953, 4095, 3642]
GOLDEN_6441_7_2 = [2152, 3097, 3826, 4512, 1199, 403]
GOLDEN_LARGE = [601793200321, 503555274443, 239747366720, 32110186975, 268717520028, 253026064059]


def test_a_row_is_bos_and_then_its_stretch_of_the_stream(prepared: Path) -> None:
    tokens = TokenFile.open(prepared)
    rows = tokens.plain_rows(3, 4)
    assert rows.shape == (4, N_CTX + 1)
    assert rows.dtype == torch.int64
    assert (rows[:, 0] == BOS_ID).all()
    assert rows[:, 1:].flatten().tolist() == tokens.stream(3 * N_CTX, 4 * N_CTX).tolist()
    assert tokens.n_rows == tokens.n_tokens // N_CTX


def test_an_epoch_of_training_rows_is_every_row_once(prepared: Path) -> None:
    tokens = TokenFile.open(prepared)
    epoch = tokens.rows_at(5, 0, tokens.n_rows)
    plain = tokens.plain_rows(0, tokens.n_rows)
    assert sorted(epoch.tolist()) == sorted(plain.tolist())
    assert not torch.equal(epoch, plain)
    assert not torch.equal(epoch, tokens.rows_at(5, tokens.n_rows, tokens.n_rows))
    assert not torch.equal(epoch, tokens.rows_at(6, 0, tokens.n_rows))


def test_rows_depend_on_the_global_counter_alone_across_epochs_and_batch_sizes(prepared: Path) -> None:
    tokens = TokenFile.open(prepared)
    n = 2 * tokens.n_rows + 12
    whole = tokens.rows_at(0, 0, n)
    by_step = torch.cat([TokenFile.open(prepared).rows(0, step, 4) for step in range(n // 4)])
    assert torch.equal(whole[: len(by_step)], by_step)
    # Two processes take each their half of a step.
    assert torch.equal(whole[8:16], torch.cat([tokens.rows_at(0, 8, 4), tokens.rows_at(0, 12, 4)]))


def test_another_row_length_can_be_asked_for(prepared: Path) -> None:
    tokens = TokenFile.open(prepared, n_ctx=5)
    assert tokens.rows(0, 0, 2).shape == (2, 6)
    assert tokens.n_rows == tokens.n_tokens // 5


def test_positions_know_their_documents(prepared: Path) -> None:
    tokens = TokenFile.open(prepared, "eval")
    table, tokenizer = tokens.documents(), load_tokenizer(prepared / "tokenizer.json")
    rows = tokens.plain_rows(0, tokens.n_rows).numpy()
    document = tokens.document_of_rows(0, tokens.n_rows)
    assert document.shape == rows.shape
    assert (document[:, 0] == -1).all()
    assert ((document == -1) == (rows == BOS_ID)).all()
    ids = rows[document == 7]
    assert len(ids) == table["length"][7]
    original = f"Document {int(table['path_or_title'][7].rpartition(':')[2]) - 1} says"
    assert tokenizer.decode(ids.tolist()).startswith(original)


def test_missing_rows_are_refused(prepared: Path) -> None:
    tokens = TokenFile.open(prepared)
    with pytest.raises(BadInput, match="there are"):
        tokens.plain_rows(tokens.n_rows, 1)
    with pytest.raises(BadInput, match="there are"):
        tokens.stream(-1, 2)


def test_a_file_cut_short_is_refused_at_opening_and_while_reading(copy: Path) -> None:
    tokens, unchecked = TokenFile.open(copy), TokenFile.open(copy, check_hashes=False)
    size = (copy / "tokens-fit.bin").stat().st_size
    os.truncate(copy / "tokens-fit.bin", size - 2 * N_CTX)
    with pytest.raises(BadInput, match=rf"tokens-fit\.bin: {size - 2 * N_CTX} bytes where the manifest says {size}"):
        tokens.plain_rows(tokens.n_rows - 2, 2)
    with pytest.raises(BadInput, match=r"tokens-fit\.bin: cut short"):
        unchecked.plain_rows(tokens.n_rows - 2, 2)
    with pytest.raises(BadInput, match=f"{size - 2 * N_CTX} bytes where the manifest's counts need {size}"):
        TokenFile.open(copy)
    (copy / "tokens-fit.bin").unlink()
    with pytest.raises(BadInput, match=r"tokens-fit\.bin: cannot be opened"):
        TokenFile.open(copy)


def test_an_id_outside_of_the_vocabulary_is_refused_and_a_changed_file_is_found_by_its_hash(copy: Path) -> None:
    data = bytearray((copy / "tokens-fit.bin").read_bytes())
    data[0:2] = b"\xff\xff"
    (copy / "tokens-fit.bin").write_bytes(bytes(data))
    tokens = TokenFile.open(copy, check_hashes=False)
    with pytest.raises(BadInput, match="token id 65535 where the vocabulary ends at 2"):
        tokens.plain_rows(0, 1)
    with pytest.raises(BadInput, match="token id 65535"):
        tokens.stream(0, 1)
    with pytest.raises(BadInput, match="tampered or damaged"):
        TokenFile.open(copy)


@pytest.mark.parametrize("read", [lambda t: t.rows(0, 0, 4), lambda t: t.plain_rows(0, 2), lambda t: t.stream(0, 9)])
def test_ids_that_change_while_a_run_reads_them_are_found(copy: Path, read: Callable[[TokenFile], object]) -> None:
    path, tokens = copy / "tokens-fit.bin", TokenFile.open(copy)
    before = path.read_bytes()
    read(tokens)
    os.utime(path, ns=(0, 0))  # touched, not changed
    read(tokens)
    ids = np.frombuffer(before, "<u2").copy()
    ids[0] = ids[1]
    path.write_bytes(ids.tobytes())
    with pytest.raises(BadInput, match=r"tokens-fit\.bin: content does not match its hash"):
        read(tokens)
    path.write_bytes(before)
    read(tokens)


def test_another_tokenizer_is_refused(copy: Path) -> None:
    train_tokenizer(iter(["something else"]), 300).save(str(copy / "tokenizer.json"))
    with pytest.raises(BadInput, match=r"tokenizer\.json: not the tokenizer of these tokens"):
        TokenFile.open(copy)


def test_another_format_version_and_another_kind_of_directory_are_named(copy: Path) -> None:
    edit_manifest(copy, format_version=7)
    with pytest.raises(BadInput, match="format version 7 where this program reads 1"):
        TokenFile.open(copy)
    edit_manifest(copy, kind="checkpoint")
    with pytest.raises(BadInput, match="holds 'checkpoint' where prepared data is needed"):
        TokenFile.open(copy)


def test_a_manifest_without_counts_and_a_row_longer_than_the_text_are_refused(copy: Path) -> None:
    with pytest.raises(BadInput, match="are no row of n_ctx = 1000000"):
        TokenFile.open(copy, n_ctx=1_000_000)
    with pytest.raises(BadInput, match="no split 'test'"):
        TokenFile.open(copy, "test")
    edit_manifest(copy, n_tokens=None)
    with pytest.raises(BadInput, match=r"MANIFEST\.json"):
        TokenFile.open(copy)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(iter([f"the quick {BOS} brown fox, 1984 and 2001"] * 9), 300).save(str(path))
    return load_tokenizer(path)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.just(BOS)).map("".join))
def test_any_text_comes_back_and_none_can_forge_a_bos(tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert BOS_ID not in ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_digits_stand_alone_and_bos_is_the_first_id(tokenizer) -> None:
    assert tokenizer.token_to_id(BOS) == BOS_ID
    assert not [word for word in tokenizer.get_vocab() if sum(c.isdigit() for c in word) and len(word) > 1]


def test_a_file_that_is_not_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="not a tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json")
