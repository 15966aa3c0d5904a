"""`prepare` against the `tokenizers` library alone: megabytes of text a second, interleaved, and peak memory.

    python -m benchmarks.prepare                          # text of the default corpus, 64 MB, a tokenizer fitted on it
    python -m benchmarks.prepare --mb 256 --tokenizer hf:openai-community/gpt2

The library alone encodes the same texts, which are in memory, with the same tokenizer, and keeps only their number of
tokens; `prepare` reads JSON lines, hashes, finds duplicates, splits, mixes, encodes, writes and seals. Documents are
three pieces of the default corpus each, chosen at random, so that none occurs twice. Target: 0.8.
"""

import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from train.configfile import validate
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import read_documents, source_files
from train.data.prepare import prepare
from train.data.tokenizer import load_tokenizer
from train.textfiles import Decoder

SEED = 0
AT_ONCE = 1000


@dataclass
class Arguments:
    """How much text, and whose tokenizer."""

    mb: float = 64
    tokenizer: str | None = None
    """As in a DATA.toml; default: a byte-level BPE of 4,096 ids, fitted beforehand on a tenth of the text"""
    rounds: int = 3


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
    """Seconds by the clock and of all processors."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main(arguments: Arguments) -> None:
    """Measure and print."""
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
        times: dict[str, list[tuple[float, float]]] = {"tokenizers": [], "prepare": []}
        for number in range(arguments.rounds):
            out = place / f"out-{number}"
            times["prepare"].append(timed(lambda out=out: prepare(config, out, progress=False)))
            own = load_tokenizer(out / "tokenizer.json")

            def alone(own: Any = own) -> None:
                for first in range(0, len(texts), AT_ONCE):
                    own.encode_batch_fast(texts[first : first + AT_ONCE], add_special_tokens=False)

            times["tokenizers"].append(timed(alone))
    print(f"{n_mb:.0f} MB, {len(texts):,} documents, best of {arguments.rounds}")
    best = {who: (min(each[0] for each in of), min(each[1] for each in of)) for who, of in times.items()}
    for who, (clock, processor) in best.items():
        print(f"  {who:<10} {n_mb / clock:6.2f} MB/s by the clock, {processor:6.1f} s of processors")
    print(f"  ratio      {best['tokenizers'][0] / best['prepare'][0]:6.2f} by the clock, ", end="")
    print(f"{best['tokenizers'][1] / best['prepare'][1]:.2f} of processors (target 0.8)")
    print(f"  peak memory, with {n_mb:.0f} MB of texts held by the benchmark: ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
