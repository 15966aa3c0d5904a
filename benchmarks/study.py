"""Where the time of a study goes: by stage from its own record, by function from profiles of its processes.

    python benchmarks/study.py results/quickstart                      # of a study that has run
    python benchmarks/study.py --run configs/study/smoke.toml          # runs one, profiled, in a temporary directory

Seconds of stages are added up over processes that ran side by side. A profile slows Python down, so its seconds are
larger than those of stages; shares are what to read.
"""

import argparse
import json
import os
import pstats
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analyze.study.processes import PROFILES  # noqa: E402

SHOWN = 12


def by_stage(results: Path) -> str:
    """A table of the record that a study leaves, stages.json."""
    record = json.loads((results / "stages.json").read_text())
    kinds: dict[str, list[float]] = defaultdict(list)
    for stage in record["stages"]:
        kinds[stage["stage"]].append(stage["seconds"])
    total = sum(map(sum, kinds.values()))
    lines = ["| stage | runs | seconds | % | longest |", "| :-- | --: | --: | --: | --: |"]
    for kind, seconds in sorted(kinds.items(), key=lambda item: -sum(item[1])):
        share = 100 * sum(seconds) / total
        lines.append(f"| {kind} | {len(seconds)} | {sum(seconds):.1f} | {share:.0f} | {max(seconds):.1f} |")
    clock, jobs = record["seconds"], record["jobs"]
    busy = 100 * total / (clock * jobs)
    lines.append(f"\n{clock:.0f} s by the clock on {jobs} cores, which stages kept busy {busy:.0f} % of the time; ")
    lines.append(f"largest peak memory of a process {record['peak_bytes'] / 1e6:.0f} MB.")
    return "\n".join(lines)


def by_function(profiles: Path) -> str:
    """For each kind of task, the functions that took most time themselves."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for path in sorted(profiles.glob("*.prof")):
        kinds[path.name.split()[0]].append(str(path))
    parts = []
    for kind, paths in kinds.items():
        stats = pstats.Stats(*paths)
        total = stats.total_tt  # type: ignore[attr-defined]
        rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:SHOWN]  # type: ignore[attr-defined]
        lines = [f"\n{kind}: {total:.1f} s in {len(paths)} processes", "| own seconds | % | calls | function |"]
        lines.append("| --: | --: | --: | :-- |")
        for (file, line, name), (_, calls, own, _, _) in rows:
            where = file if file.startswith(("~", "<")) else f"{Path(file).parent.name}/{Path(file).name}:{line}"
            lines.append(f"| {own:.1f} | {100 * own / total:.0f} | {calls:,} | `{name}` {where} |")
        parts.append("\n".join(lines))
    return "\n".join(parts)


def run_profiled(study: Path, words: list[str]) -> None:
    """Run a study in a temporary directory and print both tables."""
    with tempfile.TemporaryDirectory() as directory:
        profiles = Path(directory) / "profiles"
        profiles.mkdir()
        command = [sys.executable, str(ROOT / "scripts/study.py"), str(study), "--out", directory, *words]
        environ = {**os.environ, PROFILES: str(profiles)}
        subprocess.run(command, check=True, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
        print(by_stage(Path(directory) / "results" / study.stem))
        print(by_function(profiles))


def main() -> None:
    """Read a study's record, or run one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", help="a study's results, such as results/quickstart")
    parser.add_argument("--run", type=Path, help="run this study instead, profiled; words behind it are its overrides")
    args, words = parser.parse_known_args()
    if (args.run is None) == (args.results is None):
        parser.error("give the results of a study, or --run STUDY.toml")
    if args.run is None:
        print(by_stage(args.results))
    else:
        run_profiled(args.run, words)


if __name__ == "__main__":
    main()
