"""What a running study says of itself in a file, and the line that shows it: in its own terminal and in any other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.errors import BadInput, one_line
from train.files import is_locked, read_json

PROGRESS_FILE = "progress.json"
"""In a study's results while it runs; one that was killed leaves it."""


def progress_line(facts: Mapping[str, Any]) -> str:
    """Stages done, time left, and what runs on which core."""
    left = facts["seconds_left"]
    left = "time left unknown" if left is None else f"about {duration(float(left))} left"
    running = ", ".join(
        f"{each['core']}: {each['task']} ({duration(float(each['seconds']))})" for each in facts["running"]
    )
    return f"{facts['done']}/{facts['total']} stages, {left}; {running or 'nothing runs'}"


def duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours and minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def study_roots(directory: Path) -> list[Path]:
    """Where to look for results of studies: below `directory` and, where it holds checkpoints, beside it."""
    whole = directory.resolve()
    return [directory, whole.parent / "results"] if whole.name == "checkpoints" else [directory]


def studies_below(directory: Path) -> list[str]:
    """A line for each study that runs, or was killed, with results below `directory` or, of checkpoints, beside it."""
    lines = []
    for path in sorted({path for root in study_roots(directory) for path in root.rglob(PROGRESS_FILE)}):
        name = one_line(path.parent.name)
        try:
            line = progress_line(read_json(path, 1_000_000))
        except (BadInput, KeyError, TypeError, ValueError):
            continue  # another program's file
        if is_locked(path.parent):
            lines.append(f"study {name}: {line}")
        else:
            lines.append(
                f"study {name}: does not run any more; the same command goes on. When it was last heard of: {line}"
            )
    return lines
