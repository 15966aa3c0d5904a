"""All that is measured on a GPU, in at most 8 minutes: `scripts/gpu_check.sh`, which passes its arguments on.

    scripts/gpu_check.sh [--out DIR] [--minutes 8] [--device cpu --size tiny]

In this order, each in a process of its own that is ended when its time is up, so that what was done before stays:

1. the tests marked `gpu`: loss, gradients, training, resuming and collecting beside the CPU's;
2. training: `benchmarks/train.py`, a model of the size of published ones (`paper`), polysem beside TransformerLens,
   Hugging Face Trainer and a compiled peer, in bf16: tokens a second, peak memory, share of the matrix peak;
3. collecting: `benchmarks/collect.py` on the same model;
4. training again, with 51,200 neurons (`paper-wide`);
5. with two GPUs or more: `train run` by two processes against one, tokens a second and held-out loss.

It writes DIR/gpu.json and DIR/gpu.md. `--device cpu --size tiny` runs the same path on a CPU: a test does.
Exit code: 0; 1 if a part failed or ran out of time; 3 if there is no such device or a package is missing.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PACKAGES = (
    "torch",
    "accelerate",
    "transformers",
    "transformer_lens",
    "tokenizers",
    "safetensors",
    "datasets",
    "pyarrow",
    "psutil",
    "pydantic",
    "tyro",
    "polars",
    "numpy",
    "scipy",
    "sklearn",
    "joblib",
    "threadpoolctl",
    "filelock",
    "einops",
    "jaxtyping",
    "tqdm",
    "pytest",
    "hypothesis",
    "beartype",
)
"""What the check imports, and they in turn: docs/performance.md says how to fetch their wheels."""

SHARES = {"tests": 0.25, "paper": 0.6, "collecting": 0.5, "paper-wide": 0.9, "two ranks": 1.0}
"""Of the time that is left when a part begins, what it may take at most."""


@dataclass
class Part:
    """What became of a part."""

    name: str
    state: str
    """`done`, `failed`, `out of time` or `left out`."""
    seconds: float = 0.0
    said: str = ""
    """The last words of a part that failed, or why it was left out."""
    figures: Any = field(default=None)


def missing() -> list[str]:
    """Packages that are not there."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def run_part(name: str, command: list[str], seconds: float, found: Path, environ: dict[str, str]) -> Part:
    """Run a command for at most so many seconds; its figures are what it leaves in `found`, a JSON, if anything."""
    print(f"\n== {name}: at most {seconds:.0f} s", flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=errors, start_new_session=True)
        try:
            state = "failed" if process.wait(max(seconds, 1)) else "done"
        except subprocess.TimeoutExpired:
            state = "out of time"
        finally:
            end_group(process)
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if line.strip()]
    took = time.perf_counter() - began
    figures = json.loads(found.read_text()) if found.suffix == ".json" and found.is_file() else None
    said = "" if state == "done" else "\n".join(lines[-15:])
    print(f"== {name}: {state}, {took:.0f} s\n{said}", flush=True)
    return Part(name, state, took, said, figures)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def with_tests(part: Part, report: Path) -> Part:
    """The counts of pytest's report as figures."""
    if report.is_file():
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for suite in ET.parse(report).getroot().iter("testsuite"):
            counts = {name: number + int(suite.get(name, 0)) for name, number in counts.items()}
        part.figures = counts
    return part


def two_ranks(device: str, size: str, aside: Path) -> list[str]:
    """The command that trains one model by one process and by two, and writes what both came to."""
    return [sys.executable, __file__, "--ranks", "--device", device, "--size", size, "--out", str(aside)]


def race_ranks(device: str, size: str, aside: Path) -> None:
    """`train run` by one process, then by two: tokens a second after the first tenth, and the held-out loss."""
    from benchmarks.contestants import RATE, SHAPES
    from benchmarks.random_data import write_random_data

    shape = SHAPES["tiny" if size == "tiny" else "paper"]
    assert shape.random is not None
    n_ctx, d_vocab = shape.random
    steps = 20 if size == "tiny" else 60
    per_step = shape.rows * n_ctx
    data = write_random_data(aside / "data", n_ctx, d_vocab, {"fit": steps * per_step, "eval": 4 * per_step})
    words = {
        "data": str(data),
        "model.act": shape.act,
        "model.n_layers": shape.n_layers,
        "model.d_model": shape.d_model,
        "model.n_heads": shape.n_heads,
        "model.n_ctx": n_ctx,
        "model.mlp_ratio": shape.d_mlp // shape.d_model,
        "optim.lr": RATE,
        "train.tokens": steps * per_step,
        "train.rows_per_step": shape.rows,
        "train.precision": "fp32" if size == "tiny" else "bf16",
        "train.device": "cpu" if device == "cpu" else "auto",
        "train.log_every": steps // 10,
        "train.eval_every": 10**6,
        "train.eval_tokens": per_step,
    }
    overrides = [word for key, value in words.items() for word in (f"--{key}", str(value))]
    found = {}
    for ranks in (1, 2):
        out = aside / f"ranks-{ranks}"
        launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--standalone"]
        start = [sys.executable] if ranks == 1 else launch
        command = [*start, "-m", "train", "run", "configs/run/cpu-1l.toml", "--out", str(out), *overrides]
        subprocess.run(command, cwd=ROOT, check=True)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        speeds = sorted(
            line["tokens_per_s"] for line in lines if line["kind"] == "train" and line["step"] > steps // 10
        )
        losses = [line["loss"] for line in lines if line["kind"] == "eval"]
        found[str(ranks)] = {"tokens_per_s": speeds[len(speeds) // 2], "held_out_loss": losses[-1]}
    (aside / "ranks.json").write_text(json.dumps(found))


def machine(device: str) -> dict[str, Any]:
    """What everything ran on."""
    import platform

    import torch

    facts: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "device": device}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"gpu": properties.name, "gpus": torch.cuda.device_count(), "cuda": torch.version.cuda}
        facts["gpu_gb"] = round(properties.total_memory / 1e9, 1)
    for name in ("transformers", "transformer-lens", "accelerate"):
        facts[name] = importlib.metadata.version(name)
    return facts


def as_markdown(facts: dict[str, Any], parts: list[Part], seconds: float) -> str:
    """Tables of everything, for docs/performance.md."""
    lines = [
        "# On a GPU",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items()) + f"; {seconds:.0f} s.",
        "",
    ]
    lines += ["| part | outcome | seconds |", "|---|---|---|"]
    for part in parts:
        note = f": {part.said.splitlines()[-1]}" if part.said else ""
        lines.append(f"| {part.name} | {part.state}{note} | {part.seconds:.0f} |")
    for part in parts:
        if part.figures:
            lines += ["", f"## {part.name}", "", *figures_of(part.name, part.figures)]
    return "\n".join(lines) + "\n"


def figures_of(name: str, figures: Any) -> list[str]:
    """One part's figures as lines of Markdown."""
    if name == "tests":
        return [", ".join(f"{number} {what}" for what, number in figures.items())]
    if name == "two ranks":
        one, two = figures["1"], figures["2"]
        lines = ["| processes | tokens/s | held-out loss |", "|---|---|---|"]
        lines += [f"| {n} | {each['tokens_per_s']:,.0f} | {each['held_out_loss']:.4f} |" for n, each in figures.items()]
        return [*lines, "", f"{two['tokens_per_s'] / one['tokens_per_s']:.2f} x the tokens a second of one."]
    if name == "collecting":
        lines = ["| | tokens/s | x TransformerLens |", "|---|---|---|"]
        lines += [f"| {row['name']} | {row['tokens_per_s']:,.0f} | {row['x_clock']:.2f} |" for row in figures["rows"]]
        peak = figures.get("device_peak_mb", figures["peak_mb"])
        return [*lines, "", f"{figures['n_tokens']:,} tokens; peak memory {peak:,.0f} MB."]
    lines = []
    for table in figures:
        if not table["rows"]:
            continue  # no contestant started
        against = [key for key in ("TransformerLens", "Trainer", "strongest peer") if key in table["rows"][0]]
        lines += [
            f"{table['model']}, {table['precision']}, matrix peak {table['matrix_gflops'] / 1e3:,.2f} TFLOP/s:",
            "",
        ]
        lines.append(f"| | tokens/s | peak MB | of peak | {' | '.join(f'x {key}' for key in against)} |")
        lines.append("|---|---|---|---|" + "---|" * len(against))
        for row in table["rows"]:
            ratios = ["{:.2f} [{:.2f}, {:.2f}]".format(*row[key]["clock"]) for key in against]
            cells = [
                row["name"],
                f"{row['tokens_per_s']:,.0f}",
                f"{row['peak_mb']:,.0f}",
                f"{row['share_of_peak']:.0%}",
            ]
            lines.append(f"| {' | '.join([*cells, *ratios])} |")
        lines.append("")
    return lines


def check(args: argparse.Namespace) -> int:
    """Run every part, write both files; the exit code."""
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("error: torch sees no GPU; --device cpu --size tiny shows that the check runs", file=sys.stderr)
        return 3
    began = time.perf_counter()
    ends = began + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "POLYSEM_TEST_DEVICE": args.device}
    python, device = sys.executable, ["--device", args.device]
    tiny = args.size == "tiny"
    windows = ["--windows", "1" if tiny else "7", "--precision", "fp32" if tiny else "bf16"]
    only = ["--only", *args.only] if args.only else []
    parts: list[Part] = []
    with tempfile.TemporaryDirectory() as directory:
        aside = Path(directory)
        race = [python, "benchmarks/train.py", *device, *windows, *only, "--models"]
        tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
        collect = [python, "benchmarks/collect.py", *device, "--repeats", "1" if tiny else "3"]
        paper = "tiny" if tiny else "paper"
        commands = {
            "tests": [*tests, f"--junitxml={aside}/tests.xml"],
            "paper": [*race, paper, "--json", f"{aside}/paper.json"],
            "collecting": [*collect, "--model", paper, "--json", f"{aside}/collecting.json"],
            "paper-wide": [*race, "tiny" if tiny else "paper-wide", "--json", f"{aside}/paper-wide.json"],
            "two ranks": two_ranks(args.device, args.size, aside),
        }
        for name, command in commands.items():
            if args.parts and name not in args.parts:
                continue
            left = ends - time.perf_counter()
            if name == "two ranks" and args.device == "cuda" and torch.cuda.device_count() < 2:
                parts.append(Part(name, "left out", said="there is one GPU"))
                continue
            if left < 5:
                parts.append(Part(name, "out of time", said="not begun"))
                continue
            found = aside / {"tests": "tests.xml", "two ranks": "ranks.json"}.get(name, f"{name}.json")
            part = run_part(name, command, SHARES[name] * left, found, environ)
            parts.append(with_tests(part, found) if name == "tests" else part)
    seconds, facts = time.perf_counter() - began, machine(args.device)
    record = {"machine": facts, "seconds": seconds, "parts": [vars(part) for part in parts]}
    (args.out / "gpu.json").write_text(json.dumps(record, indent=1))
    (args.out / "gpu.md").write_text(as_markdown(facts, parts, seconds))
    print(f"\n{args.out}/gpu.json, {args.out}/gpu.md: {seconds:.0f} s")
    return int(any(part.state in ("failed", "out of time") for part in parts))


def main() -> None:
    """Check that packages are there, then run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu", help="default: results/gpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything (default: 8)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=("paper", "tiny"), default="paper")
    parser.add_argument("--parts", nargs="+", choices=tuple(SHARES), help="only these; default: all")
    parser.add_argument("--only", nargs="+", help="only these contestants of benchmarks/train.py; default: all")
    parser.add_argument("--ranks", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if names := missing():
        print(f"error: not installed: {', '.join(names)}; see docs/performance.md, On a GPU", file=sys.stderr)
        raise SystemExit(3)
    if args.ranks:
        race_ranks(args.device, args.size, args.out)
        return
    raise SystemExit(check(args))


if __name__ == "__main__":
    main()
