"""metrics.jsonl, the record of a run, and its mirror in wandb."""

import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from train.config import RunConfig
from train.errors import BadInput, one_line
from train.files import write_atomic
from train.filesystem import sync

CALL_SECONDS = 20.0
"""How long a call of wandb may take: less than processes wait for one another."""

FINISH_SECONDS = 120.0
"""How long wandb may take to send what it still has, when the run is over."""


METRICS = "metrics.jsonl"

RUN_ID = Path("wandb") / "run-id"
"""Below a run's directory: the id that wandb knows it by, so that it stays one run however often it is started."""


class Mirror:
    """The run in wandb. The first failure prints a warning; from then on nothing is sent.

    A run that goes on is the same run in wandb. Online, what the server does not have yet is sent. Offline, wandb makes
    a directory for each start and keeps of several with one id only the last: so each holds the run from its beginning.

    wandb may raise, leave the process, hang or ask a question: each call runs in a thread of its own and for a limited
    time, so that nothing of it reaches the run, and an interrupt that does reach the run is the user's.

    Args:
        config: of the run; `train.wandb` is "offline" or "online".
        out: the run's directory; wandb writes below it.
    """

    def __init__(self, config: RunConfig, out: Path):
        self.works = True
        self._run: Any = None
        self._first_step = 0
        """What is of earlier steps the server has."""
        self._hooks = (sys.stdout, sys.stderr, sys.excepthook, sys.exit)
        self._try("did not start", lambda: self._start(config, out), CALL_SECONDS)

    def _start(self, config: RunConfig, out: Path) -> None:
        import wandb

        online, known = config.train.wandb == "online", out / RUN_ID
        run_id = known.read_text().strip() if known.is_file() else secrets.token_hex(8)
        self._run = wandb.init(
            project="polysem",
            name=out.name,
            id=run_id,
            resume="allow" if online else None,
            mode="online" if online else "offline",
            dir=str(out),
            config=config.model_dump(mode="json"),
            # It gives up before we do, and in order. It leaves standard output alone: a call that we no longer wait
            # for would put back, at whatever time, what stood there when it began.
            settings=wandb.Settings(init_timeout=CALL_SECONDS / 2, console="off"),
            reinit="create_new",  # a run that the caller has open in this process stays his
        )
        if self._run.resumed:
            self._first_step = self._run.step
        known.parent.mkdir(exist_ok=True)
        write_atomic(known, run_id.encode())

    def log(self, line: dict[str, Any]) -> None:
        """Send the numbers of a line of metrics.jsonl."""
        if self.works:
            self._try("stopped", lambda: self._send(line), CALL_SECONDS)

    def catch_up(self, lines: list[dict[str, Any]]) -> None:
        """Send the lines of earlier starts that wandb does not have."""
        if self.works and lines:
            self._try("stopped", lambda: self._send(*lines), FINISH_SECONDS)

    def _send(self, *lines: dict[str, Any]) -> None:
        for line in lines:
            if line["step"] >= self._first_step:
                self._run.log(dict(_numbers(line, line["kind"])), step=line["step"])

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


def _numbers(values: dict[str, Any], name: str) -> Iterator[tuple[str, int | float]]:
    """Every number in a line, by the path of its keys: eval/by_source/wiki/loss."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{name}/{key}")
        elif isinstance(value, int | float):
            yield f"{name}/{key}", value


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
        if mirror is not None:
            mirror.catch_up(read_metrics(path))

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, and mirror its numbers."""
        self.file.write(json.dumps(values, allow_nan=False).encode() + b"\n")
        self.file.flush()
        if self.mirror is not None:
            self.mirror.log(values)

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


def groups(line: dict[str, Any], key: str, *numbers: str) -> dict[str, dict[str, int | float]]:
    """What a line says of each group (by_source, by_content) or layer (dead), as far as it has all of `numbers`."""
    found = line.get(key)
    return {
        name: {number: each[number] for number in numbers}
        for name, each in (found.items() if isinstance(found, dict) else ())
        if isinstance(each, dict) and all(isinstance(each.get(number), int | float) for number in numbers)
    }
