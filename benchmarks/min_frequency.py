"""How rare a pair may be merged: bits per character of a counting model on held-out text, by size of the corpus.

    python -m benchmarks.min_frequency data/default

Texts are the first of a prepared directory's training documents, which lie in hash order; d_vocab is 4,096.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import polars as pl

from train.data.baselines import fit_baselines
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.data.tokenizer import load_tokenizer
from train.data.tokens import TokenFile

SIZES = (50_000, 500_000, 2_000_000)
LEAST = (1, 2, 5, 10)


def main() -> None:
    """Print the table as Markdown."""
    data = TokenFile.open(sys.argv[1], "fit", check_hashes=False)
    tokenizer = load_tokenizer(data.directory / "tokenizer.json")
    extents = list(data.documents().select("start", "length").iter_rows())
    print("| characters | min_frequency | ids made | held-out tokens seen < 10 times | unigram | bigram |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for size in SIZES:
            path, n_chars = Path(place) / f"{size}.jsonl", 0
            with path.open("w", encoding="utf-8") as file:
                for start, length in extents:
                    text = tokenizer.decode(data.stream(start, length).tolist())
                    file.write(json.dumps({"text": text}) + "\n")
                    if (n_chars := n_chars + len(text)) >= size:
                        break
            for least in LEAST:
                source = SourceConfig(kind="files", weight=1.0, paths=(str(path),))
                config = DataConfig(name="small", sources=(source,), min_frequency=least, n_ctx=64, eval_share=0.2)
                result = prepare(config, Path(place) / f"{size}-{least}")
                fit, held_out = (TokenFile.open(result.directory, split) for split in ("fit", "eval"))
                counts = fit_baselines(fit)
                rows = held_out.plain_rows(0, held_out.n_rows)
                table = held_out.documents().select(pl.col("n_chars").sum(), pl.col("length").sum())
                per_char = (table["length"][0] + held_out.documents().height) / table["n_chars"][0] / math.log(2)
                unigram, bigram = (per_char * loss for loss in (counts.unigram_loss(rows), counts.bigram_loss(rows)))
                rare = result.record["vocabulary"]["held_out_rare"]
                made = result.facts["d_vocab"]
                print(f"| {size:,} | {least} | {made:,} | {rare:.1%} | {unigram:.3f} | {bigram:.3f} |", flush=True)


if __name__ == "__main__":
    main()
