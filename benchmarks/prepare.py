"""`prepare` against the `tokenizers` library alone: megabytes of text a second, interleaved, and peak memory.

    python -m benchmarks.prepare                          # text of the default corpus, 64 MB, a tokenizer fitted on it
    python -m benchmarks.prepare --mb 256 --tokenizer hf:openai-community/gpt2

The library alone encodes the same texts, which are in memory, with the same tokenizer on the same number of threads,
and keeps only their number of tokens; `prepare` reads JSON lines, hashes, finds duplicates, splits, mixes, encodes in
shards, writes and seals. Documents are three pieces of the default corpus each, chosen at random, so that none occurs
twice. Rounds are interleaved, in alternating order, and the ratios are of one round each. Target: 0.8.
"""

import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from train.configfile import validate
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import LIMITS, read_documents, source_files
from train.data.prepare import prepare
from train.data.readymade import tokenizer_file
from train.data.tokenizer import load_tokenizer
from train.textfiles import Decoder
from train.workers import checked_jobs

SEED = 0
AT_ONCE = 1000


@dataclass
class Arguments:
    """How much text, and whose tokenizer."""

    mb: float = 64
    tokenizer: str | None = None
    """As in a DATA.toml; default: a byte-level BPE of 4,096 ids, fitted beforehand on a tenth of the text"""
    rounds: int = 3
    jobs: int | None = None
    """cores; default: all that this process may use"""
    shard_mb: float = 2**26 / 1e6
    """text of a shard of tokens: several shards are encoded in several processes"""


def documents(n_chars: float) -> list[str]:
    """Documents of three pieces of the default corpus, `n_chars` characters together."""
    sources = [SourceConfig(kind="wiki", weight=1), SourceConfig(kind="python", weight=1)]
    pieces = [each.text for source in sources for each in read_documents(source, source_files(source), Decoder())]
    chosen, made, total = random.Random(SEED), [], 0
    while total < n_chars:
        made.append("\n\n".join(chosen.choices(pieces, k=3)))
        total += len(made[-1])
    return made


def write(texts: list[str], path: Path) -> dict[str, Any]:
    """Write JSON lines; the source that reads them."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return {"kind": "files", "weight": 1, "paths": [str(path)], "content": "prose"}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of all processors, those of processes that ended included."""
    clock, processor = time.perf_counter(), processor_seconds()
    work()
    return time.perf_counter() - clock, processor_seconds() - processor


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def main(arguments: Arguments) -> None:
    """Measure and print."""
    jobs = checked_jobs(arguments.jobs)
    os.environ["RAYON_NUM_THREADS"] = str(jobs)  # before the library is imported
    texts = documents(arguments.mb * 1e6)
    n_mb = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory(prefix="polysem-prepare-") as name:
        place = Path(name)
        source = write(texts, place / "all.jsonl")
        tokenizer = arguments.tokenizer
        if tokenizer is None:
            sample = {"name": "t", "sources": [write(texts[: len(texts) // 10], place / "tenth.jsonl")]}
            tokenizer = str(prepare(validate(DataConfig, sample, "benchmark"), place / "fitted").directory)
        values = {"name": "t", "sources": [source], "tokenizer": tokenizer}
        config = validate(DataConfig, values, "benchmark")
        limits = replace(LIMITS, shard_chars=int(arguments.shard_mb * 1e6))
        times: dict[str, list[tuple[float, float]]] = {"tokenizers": [], "prepare": []}
        for number in range(arguments.rounds):
            out = place / f"out-{number}"
            own = load_tokenizer(tokenizer_file(config)[0])

            def alone(own: Any = own) -> None:
                for first in range(0, len(texts), AT_ONCE):
                    own.encode_batch_fast(texts[first : first + AT_ONCE], add_special_tokens=False)

            def whole(out: Path = out) -> None:
                prepare(config, out, progress=False, limits=limits, jobs=jobs)

            pair = [("tokenizers", alone), ("prepare", whole)]
            for who, work in pair if number % 2 else pair[::-1]:
                times[who].append(timed(work))
    print(f"{n_mb:.0f} MB, {len(texts):,} documents, {jobs} cores, {arguments.rounds} rounds")
    for who, of in times.items():
        clock, processor = (statistics.median(column) for column in zip(*of))
        print(f"  {who:<10} {n_mb / clock:6.2f} MB/s by the clock, {processor:6.1f} s of processors (medians)")
    for number, what in enumerate(("by the clock", "of processors")):
        ratios = [one[number] / other[number] for one, other in zip(times["tokenizers"], times["prepare"])]
        print(
            f"  ratio      {statistics.median(ratios):6.2f} {what}, {min(ratios):.2f} to {max(ratios):.2f} (target 0.8)"
        )
    print(f"  peak memory, with {n_mb:.0f} MB of texts held by the benchmark: ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
