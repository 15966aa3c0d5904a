"""Data of random tokens in the format of `train prepare`, for shapes that no prepared data have."""

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from train.data.tokens import FORMAT_VERSION, token_dtype
from train.files import publishing
from train.hashes import sha256

MEAN_LENGTH = 600
"""Tokens of a document, on average."""


def write_random_data(directory: Path, n_ctx: int, d_vocab: int, n_tokens: dict[str, int], seed: int = 0) -> Path:
    """A data directory whose ids fall off as words do (the chance of rank r is that of 1 / r), in documents.

    Args:
        n_tokens: of the splits `fit` and `eval`, about.
    """
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, d_vocab)
    ends = np.cumsum(weights / weights.sum())
    streams, rows = {}, []
    for split, count in n_tokens.items():
        stream: list[np.ndarray] = []
        start = 0
        while start < count:
            length = int(generator.integers(MEAN_LENGTH // 2, MEAN_LENGTH * 3 // 2))
            ids = 1 + np.searchsorted(ends[:-1], generator.random(length), side="right")
            name = sha256(f"{seed}/{split}/{start}".encode())
            rows.append({"split": split, "index": len(rows), "start": start, "length": length, "sha256": name})
            stream.append(np.append(ids, 0))  # the separator
            start += length + 1
        streams[split] = np.concatenate(stream)
    model = WordLevel({f"w{index}": index for index in range(d_vocab)}, unk_token="w0")
    tokenizer = Tokenizer(model).to_str()
    facts = {
        "kind": "data",
        "sources": [],
        "format_version": FORMAT_VERSION,
        "tokenizer_sha256": sha256(tokenizer.encode()),
        "d_vocab": d_vocab,
        "n_ctx": n_ctx,
        "n_tokens": {split: len(ids) for split, ids in streams.items()},
    }
    with publishing(directory, facts) as aside:
        (aside / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        for split, ids in streams.items():
            (aside / f"tokens-{split}.bin").write_bytes(ids.astype(token_dtype(d_vocab)).tobytes())
        buffer = BytesIO()
        pl.DataFrame(rows).write_parquet(buffer)
        (aside / "documents.parquet").write_bytes(buffer.getvalue())
    return directory
