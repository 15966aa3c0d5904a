"""Chosen documents into streams of tokens and their table."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from tqdm import tqdm

from train.data.config import DataConfig
from train.data.content import CONTENTS
from train.data.document import Limits
from train.data.readymade import ReadyMade
from train.data.spool import Spool
from train.data.tokenizer import BOS_ID, train_tokenizer
from train.data.tokens import SPLITS, token_dtype
from train.errors import BadInput
from train.parquet import write_parquet

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER_CHARS = 500_000_000
"""At most so many characters fit the tokenizer: a fair sample, since documents lie in hash order."""

AHEAD = 2
"""Batches that are encoded while another is written."""

_DOCUMENTS_SCHEMA = {
    "split": pl.String,
    "index": pl.Int32,
    "source": pl.String,
    "topic": pl.String,
    "path_or_title": pl.String,
    "start": pl.Int64,
    "length": pl.Int64,
    "n_chars": pl.Int64,
    "sha256": pl.String,
    "content": pl.String,
}


def pack(
    spool: Spool,
    chosen: np.ndarray,
    config: DataConfig,
    ready: ReadyMade | None,
    directory: Path,
    show: bool,
    limits: Limits,
    sources: list[str],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit the tokenizer, write the streams and the table of documents; return the documents taken and the counts."""
    bar = tqdm(total=int(np.array(spool.n_chars)[chosen].sum()), unit="chars", unit_scale=True, disable=not show)
    with bar:
        if ready is None:
            bar.set_description("fitting the tokenizer")
            split = config.digits != "keep"
            tokenizer = train_tokenizer(_sample(spool, chosen, bar), config.d_vocab, config.min_frequency, split)
        else:
            tokenizer = ready.tokenizer
        tokenizer.save(str(directory / "tokenizer.json"))
        bar.reset()
        bar.set_description("packing")
        batches = _batches(spool, chosen, limits.batch_chars)
        lengths = _write_streams(spool, batches, tokenizer, directory, bar, config.tokens)
    chosen = chosen[: len(lengths)]
    table = _documents_table(spool, chosen, lengths, sources)
    splits = {split: table.filter(pl.col("split") == split) for split in SPLITS}
    n_tokens = {split: int(part["length"].sum()) + part.height for split, part in splits.items()}
    for split in SPLITS:
        if n_tokens[split] < config.n_ctx:
            raise BadInput(
                f"sources: {n_tokens[split]} {split} tokens are fewer than one row of n_ctx = {config.n_ctx}; "
                "give more text or a smaller n_ctx"
            )
    write_parquet(table, directory / "documents.parquet")
    n_documents = {split: part.height for split, part in splits.items()}
    return chosen, {"d_vocab": tokenizer.get_vocab_size(), "n_tokens": n_tokens, "n_documents": n_documents}


def _sample(spool: Spool, chosen: np.ndarray, bar: tqdm) -> Iterator[str]:
    """The texts that fit the tokenizer."""
    n_chars = 0
    for index in chosen.tolist():
        if spool.is_eval[index]:
            continue
        if n_chars >= TOKENIZER_CHARS:
            return
        n_chars += spool.n_chars[index]
        bar.update(spool.n_chars[index])
        yield spool.text(index)


def _write_streams(
    spool: Spool,
    batches: Iterator[list[int]],
    tokenizer: "Tokenizer",
    directory: Path,
    bar: tqdm,
    most_tokens: int | None,
) -> list[int]:
    """Append each document's tokens and a separator to its split's stream; return the documents' tokens."""
    dtype, lengths, n_fit = token_dtype(tokenizer.get_vocab_size()), [], 0
    with ExitStack() as stack:
        streams = [stack.enter_context((directory / f"tokens-{split}.bin").open("wb")) for split in SPLITS]
        for batch, encodings in _encoded(spool, batches, tokenizer):
            for index, encoding in zip(batch, encodings):
                ids = encoding.ids
                streams[spool.is_eval[index]].write(np.array([*ids, BOS_ID], dtype).tobytes())
                lengths.append(len(ids))
                bar.update(spool.n_chars[index])
                n_fit += 0 if spool.is_eval[index] else len(ids) + 1
                if most_tokens is not None and n_fit >= most_tokens:
                    return lengths
    return lengths


def _encoded(
    spool: Spool, batches: Iterator[list[int]], tokenizer: "Tokenizer"
) -> Iterator[tuple[list[int], list["Encoding"]]]:
    """Each batch and its encodings. The library encodes the next batch on all cores while the last one is written."""

    def encode(batch: list[int]) -> tuple[list[int], list["Encoding"]]:
        return batch, tokenizer.encode_batch_fast([spool.text(index) for index in batch], add_special_tokens=False)

    with ThreadPoolExecutor(1) as pool:
        ahead: deque[Future[tuple[list[int], list[Encoding]]]] = deque()
        for batch in batches:
            ahead.append(pool.submit(encode, batch))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _batches(spool: Spool, chosen: np.ndarray, least_chars: int) -> Iterator[list[int]]:
    """The chosen documents, so many at a time that they have `least_chars` together."""
    batch, n_chars = [], 0
    for index in chosen.tolist():
        batch.append(index)
        n_chars += spool.n_chars[index]
        if n_chars >= least_chars:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch


def _documents_table(spool: Spool, chosen: np.ndarray, lengths: list[int], sources: list[str]) -> pl.DataFrame:
    """documents.parquet: a row for each chosen document, in the order of the streams."""
    indices = chosen.tolist()
    columns = {
        "split": [SPLITS[spool.is_eval[index]] for index in indices],
        "source": [sources[spool.source[index]] for index in indices],
        "topic": [spool.topics[index] for index in indices],
        "path_or_title": [spool.titles[index] for index in indices],
        "length": lengths,
        "n_chars": [spool.n_chars[index] for index in indices],
        "sha256": [spool.sha256(index) for index in indices],
        "content": [CONTENTS[spool.content[index]] for index in indices],
    }
    with_separator = pl.col("length") + 1
    table = pl.DataFrame(columns).with_columns(
        index=pl.int_range(pl.len()).over("split"), start=with_separator.cum_sum().over("split") - with_separator
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in _DOCUMENTS_SCHEMA.items())
