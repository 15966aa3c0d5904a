"""metrics.jsonl, the record of a run, and its mirror in wandb."""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.config import RunConfig
from train.errors import BadInput, one_line
from train.filesystem import sync

CALL_SECONDS = 20.0
"""How long a call of wandb may take: less than processes wait for one another."""

FINISH_SECONDS = 120.0
"""How long wandb may take to send what it still has, when the run is over."""


class Mirror:
    """The run in wandb. The first failure prints a warning; from then on nothing is sent.

    wandb may raise, leave the process, hang or ask a question: each call runs in a thread of its own and for a limited
    time, so that nothing of it reaches the run, and an interrupt that does reach the run is the user's.

    Args:
        config: of the run; `train.wandb` is "offline" or "online".
        out: the run's directory; wandb writes below it.
    """

    def __init__(self, config: RunConfig, out: Path):
        self.works = True
        self._run: Any = None
        self._hooks = (sys.stdout, sys.stderr, sys.excepthook, sys.exit)
        self._try("did not start", lambda: self._start(config, out), CALL_SECONDS)

    def _start(self, config: RunConfig, out: Path) -> None:
        import wandb

        self._run = wandb.init(
            project="polysem",
            name=out.name,
            mode="online" if config.train.wandb == "online" else "offline",
            dir=str(out),
            config=config.model_dump(mode="json"),
            # It gives up before we do, and in order. It leaves standard output alone: a call that we no longer wait
            # for would put back, at whatever time, what stood there when it began.
            settings=wandb.Settings(init_timeout=CALL_SECONDS / 2, console="off"),
            reinit="create_new",  # a run that the caller has open in this process stays his
        )

    def log(self, numbers: dict[str, Any], step: int) -> None:
        """Send numbers of a step."""
        if self.works:
            self._try("stopped", lambda: self._run.log(numbers, step=step), CALL_SECONDS)

    def finish(self) -> None:
        """Send the rest and hang up."""
        if self._run is not None:
            self._try("did not finish", self._run.finish, FINISH_SECONDS)
        self._hang_up()

    def _hang_up(self) -> None:
        self.works = False
        # wandb puts its own in their place, and takes them back only where all goes well.
        sys.stdout, sys.stderr, sys.excepthook, sys.exit = self._hooks

    def _try(self, what: str, call: Callable[[], None], seconds: float) -> None:
        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                call()
            except BaseException as failure:  # SystemExit and KeyboardInterrupt too: they are wandb's here
                failures.append(failure)

        thread = threading.Thread(target=guarded, name="wandb", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            failures.append(TimeoutError(f"no answer for {seconds:.0f} s"))
        worked = self.works
        if failures:
            self._hang_up()
        if failures and worked:
            reason = one_line(f"{type(failures[0]).__name__}: {failures[0]}", limit=300)
            print(f"warning: wandb {what} ({reason}); metrics.jsonl is the record", flush=True)


class Metrics:
    """Appends one JSON object a line; a resumed run first cuts what came after its checkpoint.

    Args:
        path: the metrics.jsonl.
        step: of the checkpoint that the run goes on from: lines of later steps are cut, at 0 all lines.
        mirror: takes the numbers too.
    """

    def __init__(self, path: Path, step: int, mirror: Mirror | None):
        self.path = path
        self.file = path.open("r+b" if path.exists() else "w+b")
        self.file.truncate(_length_up_to(self.file.read(), step) if step else 0)
        self.file.seek(0, os.SEEK_END)
        self.mirror = mirror

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, and mirror its numbers."""
        self.file.write(json.dumps(values, allow_nan=False).encode() + b"\n")
        self.file.flush()
        if self.mirror is not None:
            kind, step = values["kind"], values["step"]
            numbers = {f"{kind}/{key}": value for key, value in values.items() if isinstance(value, int | float)}
            self.mirror.log(numbers, step)

    def sync(self) -> None:
        """Force the lines to disk."""
        self.file.flush()
        sync(self.file.fileno(), self.path)

    def close(self) -> None:
        """Sync and close."""
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
