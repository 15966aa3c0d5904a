"""A stand-in for Slurm on one machine: sbatch, squeue and scancel as far as a study uses them.

Like Slurm, sbatch keeps a copy of the script and returns at once. A job waits for those that --dependency=afterok
names, is cancelled where one of them failed (--kill-on-invalid-dep=yes), and runs its script for each index of --array.
What it does not know it refuses. Jobs lie in the directory that SLURM_STAND_IN names.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock

KNOWN = (
    *("job-name", "array", "ntasks", "cpus-per-task", "mem", "open-mode", "kill-on-invalid-dep", "signal"),
    *("output", "dependency", "partition", "time"),
)


def install(directory: Path) -> dict[str, str]:
    """Put the three commands into `directory`; returns the variables with which they are found."""
    commands, spool = directory / "bin", directory / "spool"
    commands.mkdir(parents=True)
    spool.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {name} "$@"\n')
        (commands / name).chmod(0o755)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "SLURM_STAND_IN": str(spool)}


def spool() -> Path:
    return Path(os.environ["SLURM_STAND_IN"])


def options(words: list[str]) -> dict[str, str]:
    """--name=value and --name value."""
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in KNOWN:
            sys.exit(f"sbatch: unrecognized option '{word}'")
        given[name] = value if equals else next(rest)
    return given


def sbatch(words: list[str]) -> None:
    script = Path(words[-1])
    lines = [line.split(maxsplit=1)[1] for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    asked = options([word for line in lines for word in line.split()])
    asked |= options([word for word in words[:-1] if word != "--parsable"])
    refused = spool() / "refused"
    if refused.exists() and refused.read_text() in asked["job-name"]:
        sys.exit("sbatch: error: Batch job submission failed: Invalid account or account/partition combination")
    with FileLock(spool() / "lock"):
        number = 1001 + len(list(spool().glob("*.sh")))
        shutil.copy(script, spool() / f"{number}.sh")
    (spool() / f"{number}.json").write_text(json.dumps({"options": asked, "directory": os.getcwd()}))
    with open(spool() / f"{number}.log", "wb") as log:
        subprocess.Popen(
            [sys.executable, __file__, "run", str(number)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    print(f"{number};cluster" if "--parsable" in words else f"Submitted batch job {number}")


def state(number: int | str) -> str:
    path = spool() / f"{number}.state"
    return path.read_text() if path.exists() else ""


def run(number: str) -> None:
    job = json.loads((spool() / f"{number}.json").read_text())
    asked = job["options"]
    kind, _, needed = asked.get("dependency", "afterok").partition(":")
    assert kind == "afterok"
    while any(not state(each) for each in filter(None, needed.split(":"))):
        if (spool() / f"{number}.cancelled").exists():
            return ended(number, "CANCELLED")
        time.sleep(0.1)
    if any(state(each) != "COMPLETED" for each in filter(None, needed.split(":"))):
        return ended(number, "CANCELLED" if asked.get("kill-on-invalid-dep") == "yes" else "")
    first, last, at_once = re.fullmatch(r"(\d+)-(\d+)(?:%(\d+))?", asked["array"]).groups()  # pyright: ignore
    waiting, running, codes = list(range(int(first), int(last) + 1)), dict[int, subprocess.Popen](), list[int]()
    while waiting or running:
        cancelled = (spool() / f"{number}.cancelled").exists()
        if cancelled:
            waiting.clear()
            for each in running.values():
                each.send_signal(signal.SIGTERM)
        while waiting and len(running) < int(at_once or 2):
            running[waiting[0]] = start(number, waiting[0], job)
            (spool() / f"{number}-{waiting.pop(0)}.element").write_text("RUNNING")
        for index in [index for index, each in running.items() if each.poll() is not None]:
            (spool() / f"{number}-{index}.element").write_text("")
            codes.append(running.pop(index).returncode)
        time.sleep(1 if cancelled else 0.05)
    ended(number, "COMPLETED" if not any(codes) else "FAILED")


def start(number: str, index: int, job: dict) -> subprocess.Popen:
    asked = job["options"]
    output = asked["output"].replace("%a", str(index)).replace("%A", number).replace("%x", asked["job-name"])
    with open(output, "ab" if asked.get("open-mode") == "append" else "wb") as log:
        return subprocess.Popen(
            ["bash", str(spool() / f"{number}.sh")],
            cwd=job["directory"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "SLURM_JOB_ID": str(100_000 * int(number) + index),
                "SLURM_ARRAY_JOB_ID": number,
                "SLURM_ARRAY_TASK_ID": str(index),
                "SLURM_CPUS_PER_TASK": asked.get("cpus-per-task", "1"),
                "SLURM_NTASKS": "1",
            },
        )


def ended(number: str, how: str) -> None:
    if how:
        (spool() / f"{number}.state").write_text(how)


def squeue(words: list[str]) -> None:
    assert words == ["--me", "--noheader", "--array", "--format=%F|%K|%T|%r"]
    broken = spool() / "broken"
    if broken.exists():
        sys.exit(broken.read_text())
    for path in sorted(spool().glob("*.json")):
        number, asked = path.stem, json.loads(path.read_text())["options"]
        if state(number):
            continue
        needed = filter(None, asked.get("dependency", "afterok").partition(":")[2].split(":"))
        reason = "Dependency" if any(state(each) != "COMPLETED" for each in needed) else "Resources"
        first, last = map(int, asked["array"].partition("%")[0].split("-"))
        for index in range(first, last + 1):
            element = spool() / f"{number}-{index}.element"
            now = element.read_text() if element.exists() else "PENDING"
            if now:
                print(number, index, now, reason if now == "PENDING" else "None", sep="|")


def scancel(words: list[str]) -> None:
    for number in words:
        (spool() / f"{number}.cancelled").touch()


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "run": lambda words: run(*words)}[name](words)
