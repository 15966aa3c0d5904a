"""Where tokens lie in the held-out text, for tokenizers whose tokens do not spell it.

A byte-level tokenizer loses nothing: the bytes of a document's tokens, one behind another, are its text. WordPiece
drops blanks and case, SentencePiece writes marks for blanks and may change characters. For those the prepared data keep
the held-out documents as text, and where in it each token ends. A token stands for the characters behind the end of the
one before it, blanks between them included, as in a byte-level tokenizer.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Int

from train.data.spool import Spool
from train.parquet import read_parquet, write_parquet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "text-eval.parquet"
AT_ONCE = 256
"""Documents encoded together."""


def spells_text(tokenizer: "Tokenizer") -> bool:
    """Whether the bytes of tokens, one behind another, are the text: byte-level, nothing normalized or prefixed."""
    said = json.loads(tokenizer.to_str())
    parts = [part for key in ("pre_tokenizer", "decoder") for part in _parts(said.get(key))]
    kinds = {part["type"] for part in parts}
    before = _parts(said.get("pre_tokenizer"))
    prefixed = any(part["type"] == "ByteLevel" and part.get("add_prefix_space") for part in before)
    return said.get("normalizer") is None and "ByteLevel" in kinds and "Metaspace" not in kinds and not prefixed


def _parts(said: dict | None) -> list[dict]:
    if said is None:
        return []
    return said.get("pretokenizers") or said.get("decoders") or [said]


def write_text(spool: Spool, documents: np.ndarray, tokenizer: "Tokenizer", directory: Path) -> None:
    """Write the held-out documents and where each of their tokens ends.

    Args:
        documents: all chosen documents, in the order of the streams.
    """
    held_out = [index for index in documents.tolist() if spool.is_eval[index]]
    texts: list[str] = []
    ends: list[list[int]] = []
    for first in range(0, len(held_out), AT_ONCE):
        part = [spool.text(index) for index in held_out[first : first + AT_ONCE]]
        texts += part
        ends += [_ends(each.offsets) for each in tokenizer.encode_batch(part, add_special_tokens=False)]
    table = pl.DataFrame({"text": texts, "ends": pl.Series(ends, dtype=pl.List(pl.Int32))})
    write_parquet(table, directory / FILE)


def _ends(offsets: list[tuple[int, int]]) -> list[int]:
    """The end of each token, never before that of the one before it: byte pieces of one character share its end."""
    return np.maximum.accumulate(np.array([end for _, end in offsets], np.int32)).tolist() if offsets else []


def read_text(directory: Path) -> tuple[list[str], list[Int[np.ndarray, "_"]]] | None:
    """The held-out documents and, of each, where its tokens end; None where their tokens spell them."""
    if not (directory / FILE).is_file():
        return None
    table = read_parquet(directory / FILE)
    return table["text"].to_list(), [np.asarray(ends, np.int64) for ends in table["ends"].to_list()]
