"""A data directory as `train prepare` leaves it, of tokens made by a test."""

from pathlib import Path

import numpy as np
import polars as pl

from train.files import publishing
from train.hashes import sha256


def seal_data(
    directory: Path, tokens: dict[str, list[int]], documents: pl.DataFrame, d_vocab: int, n_ctx: int, tokenizer: str
) -> Path:
    """Publish `tokens` by split, the table of documents and the tokenizer's JSON, with their manifest."""
    facts = {
        "kind": "data",
        "format_version": 1,
        "tokenizer_sha256": sha256(tokenizer.encode()),
        "d_vocab": d_vocab,
        "n_ctx": n_ctx,
        "n_tokens": {split: len(ids) for split, ids in tokens.items()},
    }
    with publishing(directory, facts) as aside:
        (aside / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        for split, ids in tokens.items():
            (aside / f"tokens-{split}.bin").write_bytes(np.array(ids, dtype="<u2").tobytes())
        documents.write_parquet(aside / "documents.parquet")
    return directory
