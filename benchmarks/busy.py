"""How a study fares beside other work: the smoke study alone, and beside processes that never rest.

    python benchmarks/busy.py [--loops 2] [--rounds 1]

A fair share of n cores beside n loops is half of them, so twice the time. Rounds alternate; each begins from nothing,
with data that are prepared already.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUDY = "configs/study/smoke.toml"


def seconds_of(out: Path) -> float:
    """Run the study from nothing but its data."""
    for name in ("checkpoints", "results"):
        shutil.rmtree(out / name, ignore_errors=True)
    command = [sys.executable, "scripts/study.py", STUDY, "--out", str(out)]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def beside(loops: int, out: Path) -> float:
    """The same beside so many loops."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        return seconds_of(out)
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Alternate, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=2, help="processes that never rest (default: 2)")
    parser.add_argument("--rounds", type=int, default=1, help="times that each is measured (default: 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        words = [sys.executable, "-m", "train", "prepare", "configs/data/smoke.toml", "--out", str(out / "data/smoke")]
        subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        quiet, busy = [], []
        for _ in range(args.rounds):
            quiet.append(seconds_of(out))
            busy.append(beside(args.loops, out))
            print(f"alone {quiet[-1]:.1f} s, beside {args.loops} loops {busy[-1]:.1f} s", flush=True)
    ratio = statistics.median(busy) / statistics.median(quiet)
    print(f"median of {args.rounds}: {statistics.median(quiet):.1f} s, {statistics.median(busy):.1f} s, {ratio:.2f} x")


if __name__ == "__main__":
    main()
