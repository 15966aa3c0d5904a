"""Chosen documents into shards of tokens, on all cores, and their table."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from train.data.config import DataConfig
from train.data.content import CONTENTS
from train.data.document import Limits
from train.data.encode import Encoded, encode
from train.data.readymade import ReadyMade
from train.data.shards import SPLITS
from train.data.spool import Spool
from train.data.tokenizer import load_tokenizer, train_tokenizer
from train.data.unfinished import Shard, Unfinished
from train.errors import BadInput
from train.workers import workers

TOKENIZER_CHARS = 500_000_000
"""At most so many characters fit the tokenizer: a fair sample, since documents lie in hash order."""

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


@dataclass(frozen=True)
class Packed:
    """The documents that were taken, the shards that hold their tokens, and their table."""

    documents: np.ndarray
    shards: list[Shard]
    table: pl.DataFrame
    tokenizer: bytes
    d_vocab: int

    @property
    def n_tokens(self) -> dict[str, int]:
        """Of each split, separators included."""
        return {split: sum(shard.n_tokens[split] for shard in self.shards) for split in SPLITS}

    @property
    def n_documents(self) -> dict[str, int]:
        """Of each split."""
        return {split: self.table.filter(pl.col("split") == split).height for split in SPLITS}


def pack(
    spool: Spool,
    chosen: np.ndarray,
    config: DataConfig,
    ready: ReadyMade | None,
    work: Unfinished,
    show: bool,
    limits: Limits,
    sources: list[str],
    jobs: int,
) -> Packed:
    """Fit the tokenizer and encode the chosen documents, a shard at a time; finished shards are not made again.

    The cuts between shards depend on the documents alone, so the ids do not depend on `jobs` or on where a process
    was killed.

    Args:
        jobs: processes that encode, where there are several shards.

    Raises:
        BadInput: fewer tokens than a row.
        Damaged: a shard that does not match its hash.
        EnvironmentProblem: the system ended a process.
    """
    n_chars = np.array(spool.n_chars)[chosen]
    with tqdm(total=int(n_chars.sum()), unit="chars", unit_scale=True, disable=not show) as bar:
        bar.set_description("fitting the tokenizer")
        tokenizer = work.tokenizer(lambda path: _fit(spool, chosen, config, ready, path, bar))
        d_vocab = load_tokenizer(tokenizer[0]).get_vocab_size()
        bar.reset()
        bar.set_description("packing")
        stops = _stops(n_chars, limits.shard_chars)
        shards = _encoded(spool, chosen, stops, tokenizer, config.tokens, work, limits.batch_chars, jobs, d_vocab, bar)
    lengths = np.concatenate([shard.lengths for shard in shards])
    chosen = chosen[: len(lengths)]
    table = _documents_table(spool, chosen, lengths, sources)
    packed = Packed(chosen, shards, table, tokenizer[0].read_bytes(), d_vocab)
    for split, n_tokens in packed.n_tokens.items():
        if n_tokens < config.n_ctx:
            raise BadInput(
                f"sources: {n_tokens} {split} tokens are fewer than one row of n_ctx = {config.n_ctx}; "
                "give more text or a smaller n_ctx"
            )
    return packed


def _fit(spool: Spool, chosen: np.ndarray, config: DataConfig, ready: ReadyMade | None, path: Path, bar: tqdm) -> None:
    """Write the tokenizer.json: the one that is ready, or one that is fitted on the training text."""
    if ready is not None:
        ready.tokenizer.save(str(path))
        return
    split = config.digits != "keep"
    train_tokenizer(_sample(spool, chosen, bar), config.d_vocab, config.min_frequency, split).save(str(path))


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


def _stops(n_chars: np.ndarray, least_chars: int) -> list[int]:
    """Where each shard ends: with the document with which it has so many characters, the last with the last."""
    stops, ends, start = [], np.cumsum(n_chars), 0
    while start < len(n_chars):
        before = 0 if start == 0 else int(ends[start - 1])
        stops.append(min(int(np.searchsorted(ends, before + least_chars)) + 1, len(n_chars)))
        start = stops[-1]
    return stops


def _encoded(
    spool: Spool,
    chosen: np.ndarray,
    stops: list[int],
    tokenizer: tuple[Path, str],
    most_tokens: int | None,
    work: Unfinished,
    batch_chars: int,
    jobs: int,
    d_vocab: int,
    bar: tqdm,
) -> list[Shard]:
    """The shards in order, up to the document with which there are `most_tokens` training tokens."""
    shards, n_fit = [], 0
    ahead: deque[tuple[np.ndarray, Callable[[], Shard]]] = deque()
    starts = [0, *stops[:-1]]
    n_missing = sum(not work.has(number) for number in range(len(stops)))
    n_at_once = min(jobs, n_missing)

    def begin(number: int, submit: Any) -> Callable[[], Shard]:
        """Have a shard encoded, here or in a process; what is returned waits for it."""
        of_shard = chosen[starts[number] : stops[number]]
        if (shard := work.shard(number)) is not None:
            bar.update(int(np.array(spool.n_chars)[of_shard].sum()))
            return lambda: shard
        aside, left = work.aside(number), None if most_tokens is None else most_tokens - n_fit
        words = spool.documents(of_shard), tokenizer, aside, batch_chars, left
        if submit is None:
            return lambda: work.finish(number, encode(*words, done=bar.update), aside)
        future: Future[Encoded] = submit(encode, *words)

        def wait() -> Shard:
            encoded = future.result()
            bar.update(int(words[0].n_chars[: len(encoded.lengths)].sum()))
            return work.finish(number, encoded, aside)

        return wait

    with _several(n_at_once, jobs) as submit:
        numbers = iter(range(len(stops)))
        while True:
            while len(ahead) < max(n_at_once, 1) and (number := next(numbers, None)) is not None:
                ahead.append((chosen[starts[number] : stops[number]], begin(number, submit)))
            if not ahead:
                return shards
            of_shard, finished = ahead.popleft()
            shard = finished()
            is_eval = np.array(spool.is_eval)[of_shard][: len(shard.lengths)]
            upto = n_fit + np.cumsum(np.where(is_eval == 0, shard.lengths + 1, 0))
            if most_tokens is not None and upto[-1] >= most_tokens:
                n_documents = int(np.searchsorted(upto, most_tokens)) + 1
                whole = n_documents == len(shard.lengths)
                return [*shards, shard if whole else work.cut(shard, n_documents, is_eval, d_vocab)]
            shards.append(shard)
            n_fit = int(upto[-1])


@contextmanager
def _several(n_at_once: int, jobs: int) -> Iterator[Any]:
    """What submits work to so many processes, each with its share of `jobs` threads; None where one is enough."""
    if n_at_once < 2:
        yield None
        return
    threads = {"RAYON_NUM_THREADS": str(max(1, jobs // n_at_once)), "TOKENIZERS_PARALLELISM": "true"}
    with workers(n_at_once, threads) as pool:
        yield pool.submit
        pool.close(kill=True)  # a budget may leave shards that nobody needs


def _documents_table(spool: Spool, chosen: np.ndarray, lengths: np.ndarray, sources: list[str]) -> pl.DataFrame:
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
