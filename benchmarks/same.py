"""Do two commits compute the same? Weights, scores, probes, fission, a comparison, planted neurons, toys.

    git worktree add /tmp/before COMMIT
    python benchmarks/same.py run --tree /tmp/before --out /tmp/numbers-before
    python benchmarks/same.py run --tree . --out /tmp/numbers-after
    python benchmarks/same.py compare /tmp/numbers-before /tmp/numbers-after

`run` calls the commands of one tree on one thread; a step that is done is not run again. `compare` reads every table
and tensor that both trees left, without hashes, paths and times. It exits with 1 where a number differs, and names the
file, the column and the largest difference.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from train.parquet import read_parquet

STEPS = {
    "study": "scripts/study.py configs/study/smoke.toml --out {out} --analysis.keep_samples true",
    "scores": "-m analyze score {out}/results/smoke/gelu_new-s0 {out}/results/smoke/solu_ln-2l-s0 "
    "--scores all context_modes throughout --nulls w_in_rotated rotated shifted random_sets",
    "probes": "-m analyze probe {out}/results/smoke/gelu_new-s0/step-000000128/L0.mid --out {out}/probes "
    "--families endings 'position in document' --k 1 4 16 64",
    "data": "-m train prepare configs/data/default.toml --out {out}/default",
    "truth": "-m analyze truth --data {out}/default --out {out}/truth --features tuning --scores rule_share",
    "toy": "-m train toy configs/toy/correlated-pairs.toml --out {out}/toy --fit.steps 400 --fit.replicas 8 "
    "--fit.eval_samples 16384",
    "arms": "-m train toy configs/toy/widening-abs.toml --out {out}/arms --fit.steps 60 --fit.replicas 2 "
    "--fit.eval_samples 4096",
    "pages": "-m analyze toys {out}/toy {out}/arms --out {out}/pages",
}
"""What each step types behind `python`."""

IGNORED = ("hash", "manifest", "path", "dir", "seconds", "sha256", "command")
"""Columns whose names hold one of these say where a number comes from, not what it is."""


def run(tree: Path, out: Path, only: list[str]) -> None:
    """Call every step of a tree that has not finished yet."""
    out.mkdir(parents=True, exist_ok=True)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    environment = {**os.environ, **one_thread, "PYTHONPATH": str(tree.resolve())}
    for name, words in STEPS.items():
        done = out / f".done-{name}"
        if done.exists() or (only and name not in only):
            continue
        command = [sys.executable, *shlex.split(words.format(out=shlex.quote(str(out.resolve()))))]
        print(f"{name}: {shlex.join(command)}", flush=True)
        finished = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True)
        if finished.returncode:
            sys.exit(f"{name}: exit code {finished.returncode}\n{finished.stderr[-2000:]}")
        done.touch()


def columns(path: Path) -> Iterator[tuple[str, np.ndarray | list]]:
    """Every named column or tensor of a file that holds numbers or words."""
    if path.suffix == ".safetensors":
        for name, tensor in sorted(load_file(path).items()):
            # numpy has no bf16; its bits are as good to compare.
            yield name, (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
        return
    if path.suffix == ".json":
        yield from leaves(json.loads(path.read_bytes()), "")
        return
    table = read_parquet(path)
    for name in table.columns:
        if not any(word in name for word in IGNORED):
            column = table[name]
            yield name, column.to_numpy() if column.dtype.is_numeric() and not column.null_count() else column.to_list()


def leaves(value: Any, key: str) -> Iterator[tuple[str, list]]:
    """The numbers and words of a JSON value, by dotted key."""
    if isinstance(value, dict | list):
        for name, below in value.items() if isinstance(value, dict) else enumerate(value):
            if not any(word in str(name) for word in IGNORED):
                yield from leaves(below, f"{key}.{name}")
    else:
        yield key, [value]


def difference(before: np.ndarray | list, after: np.ndarray | list) -> str:
    """What differs between two columns; nothing where they are equal (NaN equals NaN)."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        if before.shape != after.shape or before.dtype != after.dtype:
            return f"{before.dtype}{list(before.shape)} and {after.dtype}{list(after.shape)}"
        is_float = np.issubdtype(before.dtype, np.floating)
        if np.array_equal(before, after, equal_nan=is_float):
            return ""
        a, b = before.astype(np.float64), after.astype(np.float64)
        n_other = int((~np.isclose(a, b, rtol=0, atol=0, equal_nan=True)).sum())
        return f"{n_other} of {a.size} differ, by {np.nanmax(np.abs(a - b)):.3g} at most"
    a, b = list(before), list(after)
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} rows"
    # As text, so that NaN equals NaN.
    different = [(x, y) for x, y in zip(a, b) if x != y and repr(x) != repr(y)]
    if not different:
        return ""
    sizes = [abs(x - y) for x, y in different if isinstance(x, int | float) and isinstance(y, int | float)]
    most = f", by {max(sizes):.3g} at most" if sizes else ""
    return f"{len(different)} of {len(a)} differ{most}, first {different[0][0]!r} and {different[0][1]!r}"


def holds_numbers(path: Path) -> bool:
    """Whether `compare` reads a file: tensors, tables, and what pages of toys print."""
    return path.suffix in (".safetensors", ".parquet") or (path.suffix == ".json" and path.parent.name == "pages")


def files(root: Path) -> dict[str, Path]:
    """Every file that holds numbers, by its path without hashes."""
    paths = [path for path in sorted(root.rglob("*")) if holds_numbers(path)]
    return {re.sub(r"-[0-9a-f]{16}(?=-)", "", str(path.relative_to(root))): path for path in paths}


def compare(before: Path, after: Path) -> int:
    """Print every difference; returns how many files differ."""
    old_files, new_files = files(before), files(after)
    n_equal = n_different = 0
    for name in sorted({*old_files, *new_files}):
        if name not in old_files or name not in new_files:
            lines = [f"only in {before if name in old_files else after}"]
        else:
            old, new = dict(columns(old_files[name])), dict(columns(new_files[name]))
            lines = [f"column {key} is only {'before' if key in old else 'after'}" for key in old.keys() ^ new.keys()]
            lines += [f"{key}: {text}" for key in old if key in new and (text := difference(old[key], new[key]))]
        n_equal, n_different = n_equal + (not lines), n_different + bool(lines)
        for line in lines:
            print(f"{name}: {line}")
    print(f"{n_equal} files equal, {n_different} differ")
    return n_different


def main() -> None:
    """`run` or `compare`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--tree", type=Path, required=True, help="a clone or worktree of the project")
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--only", nargs="*", default=[], choices=list(STEPS))
    comparer = commands.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    args = parser.parse_args()
    if args.command == "run":
        run(args.tree, args.out, args.only)
    else:
        sys.exit(compare(args.before, args.after) > 0)


if __name__ == "__main__":
    main()
