"""metrics.jsonl, the record of a run, and its mirror in wandb."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.errors import BadInput
from train.filesystem import sync

if TYPE_CHECKING:
    from accelerate import Accelerator


class Metrics:
    """Appends one JSON object a line; a resumed run first cuts what came after its checkpoint.

    The mirror (wandb, through accelerate's trackers) can fail or hang up without touching the run: the first failure
    prints a warning, and from then on nothing is sent there.

    Args:
        path: the metrics.jsonl.
        step: of the checkpoint that the run goes on from: lines of later steps are cut, at 0 all lines.
        mirror: takes the numbers too.
    """

    def __init__(self, path: Path, step: int, mirror: "Accelerator | None"):
        self.path = path
        self.file = path.open("r+b" if path.exists() else "w+b")
        self.file.truncate(_length_up_to(self.file.read(), step) if step else 0)
        self.file.seek(0, os.SEEK_END)
        self.mirror = mirror

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, and mirror its numbers."""
        self.file.write(json.dumps(values, allow_nan=False).encode() + b"\n")
        self.file.flush()
        if self.mirror is None:
            return
        numbers = {f"{values['kind']}/{key}": value for key, value in values.items() if isinstance(value, int | float)}
        try:
            self.mirror.log(numbers, step=values["step"])
        except Exception as failure:
            print(f"warning: wandb stopped ({failure}); metrics.jsonl goes on", flush=True)
            self.mirror = None

    def sync(self) -> None:
        """Force the lines to disk."""
        self.file.flush()
        sync(self.file.fileno(), self.path)

    def close(self) -> None:
        """Sync and close, and end the mirror."""
        self.sync()
        self.file.close()


def _length_up_to(log: bytes, step: int) -> int:
    """Bytes of a log's lines up to the first that is of a later step, or that a crash cut short."""
    length = 0
    for line in log.splitlines(keepends=True):
        try:
            is_kept = line.endswith(b"\n") and json.loads(line)["step"] <= step
        except (ValueError, TypeError, LookupError):
            is_kept = False
        if not is_kept:
            break
        length += len(line)
    return length


def read_metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; none where the file is not there. A last line that a crash cut short is left out.

    Args:
        kind: only lines of this kind, by step; of two of one step the later.

    Raises:
        BadInput: a line before the last that is not a JSON object; one of the kind without step, tokens or loss.
    """
    lines: list[dict[str, Any]] = []
    texts = path.read_bytes().split(b"\n") if path.is_file() else []
    while texts and not texts[-1].strip():
        texts.pop()
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise ValueError("no object")
        except ValueError as failure:
            if number < len(texts):
                raise BadInput(f"{path}: line {number} is not JSON ({failure})") from None
        else:
            if kind is not None and line.get("kind") == kind:
                for key in ("step", "tokens", "loss"):
                    if not isinstance(line.get(key), int | float):
                        raise BadInput(f"{path}: line {number}: key {key!r} is missing or is no number")
            lines.append(line)
    if kind is None:
        return lines
    by_step = {line["step"]: line for line in lines if line.get("kind") == kind}
    return [by_step[step] for step in sorted(by_step)]
