"""The analysis at the size of a paper: 51,200 neurons, 48,262 token ids. `python benchmarks/paper_size.py`

Prepares the embedded corpus with a vocabulary of 48,262 (pairs that occur once are merged too), seals an untrained
model of full size (SoLU with LayerNorm, d_model 512), and then measures, each in a process of its own:

- `collect` of the whole layer on few tokens, with a sample of a part of them, so that both passes run: the memory of
  full width, which hardly grows with the tokens;
- `collect` and `score` of some neurons on as many tokens as a study samples: memory and seconds of a block.

What the whole job takes stands below by the arithmetic of `collect --dry-run`, with the seconds of these blocks. Needs
about 8 GB of memory and 12 GB of disk, and some 15 minutes on two cores.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import os
import subprocess
import time
from dataclasses import dataclass

from analyze.activations.dry_run import dry_run
from train.checkpoint import save_checkpoint
from train.config import ModelConfig
from train.configfile import validate
from train.data.config import DataConfig
from train.data.prepare import prepare
from train.data.tokens import TokenFile
from train.model import Transformer

VOCABULARY = 48_262
WIDTH = 51_200
BLOCK = 256


@dataclass(frozen=True)
class Ran:
    """One process."""

    seconds: float
    peak: int
    """Bytes."""
    said: str


def prepared(root: Path) -> Path:
    """Text in 48,262 words, rows of 1,024."""
    values = {
        "name": "paper-size",
        "sources": [{"kind": "wiki", "weight": 0.8}, {"kind": "python", "weight": 0.2}],
        "d_vocab": VOCABULARY,
        "min_frequency": 1,
        "n_ctx": 1024,
        "eval_share": 0.3,
    }
    return prepare(validate(DataConfig, values, "benchmark"), root / "data").directory


def sealed_model(root: Path, data: Path, n_layers: int) -> Path:
    """An untrained checkpoint of full size."""
    tokens = TokenFile.open(data, split="eval", n_ctx=1024)
    config = ModelConfig(
        n_layers=n_layers,
        d_model=512,
        n_heads=8,
        n_ctx=1024,
        d_vocab=tokens.d_vocab,
        act="solu_ln",
        widths=(WIDTH,) * n_layers,
    )
    directory = root / f"wide-solu-{n_layers}l"
    if directory.is_dir():
        return directory
    state = {
        "run": directory.name,
        "variant": "wide-solu",
        "root_variant": "wide-solu",
        "seed": 0,
        "step": 0,
        "tokens": 0,
        "tokens_before": 0,
        "n_params": config.n_params,
        "factor": 1,
        "start": None,
        "evaluation": None,
        "data": {"hash": tokens.data_hash, "tokenizer_sha256": tokens.tokenizer_sha256},
    }
    tokenizer = (data / "tokenizer.json").read_bytes()
    save_checkpoint(directory, Transformer(config), {}, state, tokenizer, None)
    return directory


def ran(*words: object) -> Ran:
    """`python -m analyze WORDS`, alone in a process."""
    begun = time.perf_counter()
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "analyze", *map(str, words)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: left with {process.returncode}\n{said}")
    return Ran(time.perf_counter() - begun, used.ru_maxrss * 1024, said)


def disk_of(directory: Path) -> int:
    """Bytes of the files below."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("results/paper-size"), help="where everything lies")
    parser.add_argument("--n-layers", type=int, default=1)
    parser.add_argument("--neurons", type=int, default=3 * BLOCK, help="of the blocks that are scored")
    parser.add_argument("--tokens", type=int, default=200_000, help="that the blocks are scored on")
    parser.add_argument("--whole-tokens", type=int, default=20_480, help="that the whole layer is collected on")
    parser.add_argument("--scores", nargs="+", default=["all"])
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    root = given.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    data = prepared(root)
    model = sealed_model(root, data, given.n_layers)
    d_vocab = TokenFile.open(data, split="eval", n_ctx=1024).d_vocab
    print(f"{d_vocab:,} token ids, {WIDTH:,} neurons, {given.n_layers} layer(s)", flush=True)
    place = ["--layers", given.n_layers - 1, "--hooks", "mid"]

    few = ["--max-tokens", given.whole_tokens, "--sample-tokens", given.whole_tokens // 2]
    whole = ran("collect", model, "--data", data, "--out", root / "whole", *place, *few)
    print(
        f"collect, all neurons on {given.whole_tokens:,} tokens: {whole.seconds:,.0f} s, "
        f"peak {whole.peak / 1e9:.2f} GB, {disk_of(root / 'whole') / 1e9:.2f} GB on disk",
        flush=True,
    )
    print(whole.said.strip(), flush=True)

    n_blocks = -(-given.neurons // BLOCK)
    some = ["--max-neurons", given.neurons, "--max-tokens", given.tokens, "--sample-tokens", given.tokens]
    blocks = ran("collect", model, "--data", data, "--out", root / "blocks", *place, *some)
    scored = ran("score", root / "blocks", "--jobs", given.jobs, "--scores", *given.scores)
    print(
        f"collect, {n_blocks} blocks on {given.tokens:,} tokens: {blocks.seconds:,.0f} s, "
        f"peak {blocks.peak / 1e9:.2f} GB\n"
        f"score, the same: {scored.seconds:,.0f} s, peak {scored.peak / 1e9:.2f} GB of the first process; "
        f"{scored.seconds / n_blocks * WIDTH / BLOCK / 3600:.1f} h for all {WIDTH // BLOCK} blocks at this rate",
        flush=True,
    )
    print("the whole job, by arithmetic:")
    reckoned = dry_run(model, data, root, layers=[given.n_layers - 1], hooks=["mid"], sample_tokens=given.tokens)
    print(reckoned.text if reckoned.refusal is None else f"{reckoned.text}\n{reckoned.refusal}")


if __name__ == "__main__":
    main()
