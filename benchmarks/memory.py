"""Peak memory of training against the arithmetic that refuses runs. `python benchmarks/memory.py DATA_DIR [NAME ...]`

Every shape trains three steps by `python -m train run`, in a process of its own, with its data, evaluation and
checkpoints; the peak is what the kernel counts for that process (ru_maxrss). Beside it stands what
`train.memory.to_train` reckons, program included, and the difference. DATA_DIR has rows of 256 tokens.

Once with glibc's own settings, which give freed memory back, so that the peak is what is held at one time; and with
`--fast` once more with those that polysem starts with, which keep it and leave gaps (`train/launch.py`).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass

from train.config import RunConfig
from train.configfile import to_toml, validate
from train.data.tokens import TokenFile
from train.memory import PROGRAM_BYTES
from train.training_run import needs_of, shape_of

STEPS = 3
GIVES_BACK = {"MALLOC_MMAP_MAX_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""glibc's defaults, which win over polysem's."""


@dataclass(frozen=True)
class Case:
    """One shape, and how it trains."""

    act: str
    n_layers: int
    d_model: int
    width: int
    rows: int
    precision: str = "fp32"
    memory: str = "save"

    def config(self, data: Path) -> RunConfig:
        """As a RUN.toml says it."""
        model = {"act": self.act, "n_layers": self.n_layers, "d_model": self.d_model, "n_heads": 4, "n_ctx": 256}
        train = {
            "tokens": STEPS * self.rows * 256,
            "rows_per_step": self.rows,
            "precision": self.precision,
            "memory": self.memory,
            "device": "cpu",
            "eval_tokens": 4096,
        }
        values = {
            "data": str(data),
            "model": {**model, "widths": [self.width] * self.n_layers},
            "optim": {"lr": 1e-3},
            "train": train,
        }
        return validate(RunConfig, values, "benchmark")


CASES = {
    "tiny": Case("relu", 1, 16, 64, 2),
    "narrow": Case("gelu_new", 1, 128, 512, 64),
    "relu-wide": Case("relu", 1, 128, 12_800, 16),
    "solu-wide-bf16": Case("solu_ln", 1, 64, 6400, 32, precision="bf16"),
    "gelu-2l": Case("gelu_new", 2, 64, 6400, 32),
    "solu-2l": Case("solu_ln", 2, 128, 12_800, 16),
    "solu-2l-again": Case("solu_ln", 2, 128, 12_800, 16, memory="recompute"),
    "relu-100x": Case("relu", 1, 512, 51_200, 8),
    "relu-100x-again": Case("relu", 1, 512, 51_200, 8, memory="recompute"),
}


def measured(case: Case, data: Path, threads: int, allocator: dict[str, str]) -> int:
    """Bytes at the peak of a process that trains."""
    with tempfile.TemporaryDirectory(prefix="polysem-memory-") as aside:
        config = Path(aside) / "run.toml"
        config.write_text(to_toml(case.config(data)))
        command = [sys.executable, "-m", "train", "run", str(config), "--out", str(Path(aside) / "run")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **allocator}
        root = Path(__file__).resolve().parents[1]
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{case}: left with {process.returncode}")
        return used.ru_maxrss * 1024


def reckoned(case: Case, data: Path) -> int:
    """Bytes by the arithmetic."""
    config = case.config(data)
    shape, _ = shape_of(config, None, TokenFile.open(data, split="fit", n_ctx=256).d_vocab)
    return PROGRAM_BYTES + needs_of(config, shape, case.rows * 256, "cpu")[case.memory].total


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="with polysem's own settings too")
    given = parser.parse_args()
    data = given.data.resolve()
    print("| case | shape | precision | train.memory | reckoned MB | measured MB | off by | fast MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.names or CASES:
        case = CASES[name]
        expected, peak = reckoned(case, data), measured(case, data, given.threads, GIVES_BACK)
        fast = f"{measured(case, data, given.threads, {}) / 1e6:,.0f}" if given.fast else ""
        shape = (
            f"{case.n_layers} x {case.act}, d_model {case.d_model}, d_mlp {case.width:,}, {case.rows * 256:,} tokens"
        )
        print(
            f"| {name} | {shape} | {case.precision} | {case.memory} | {expected / 1e6:,.0f} | {peak / 1e6:,.0f} | "
            f"{expected / peak - 1:+.0%} | {fast} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
