"""Where a collection keeps what it has so far, so that a stopped or killed one goes on and ends bit-identical."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train.errors import BadInput, Stopped
from train.files import canonical_json, discard, locked, publishing, remove_directory, verify
from train.interrupt import Interruptible

SAVE_SECONDS = 30.0
"""A state is saved after so long, and not before 30 times as long has passed as the last one took to save."""
_COST = 30
_KIND = "collection-state"
_NAME = re.compile(r"state-([0-9]{6})")
_ARRAYS = "state.safetensors"

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """How far a collection has come: plain facts (JSON) and arrays by name."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Unfinished:
    """The hidden directory beside a result that is being made: its lock, its newest state, and work files.

    A state is sealed like everything else and holds the identity of what is collected. Work files that a state
    speaks of are forced to the disk before it is sealed, and only grow after it: what lies behind the lengths that
    it names is written again.
    """

    def __init__(self, out: Path, directory: Path, identity: dict[str, Any], interrupt: Interruptible) -> None:
        self.out, self.directory = out, directory
        self._identity, self._interrupt = json.loads(canonical_json(identity)), interrupt
        self._next, self._cost = time.monotonic() + SAVE_SECONDS, 0.0
        self._count = 0

    def states(self) -> list[Path]:
        """Saved states, the oldest first; not verified."""
        return sorted(path for path in self.directory.iterdir() if _NAME.fullmatch(path.name))

    def load(self, say: Say) -> State | None:
        """The newest state that verifies and is of this collection, if there is one."""
        from safetensors.numpy import load_file

        for path in reversed(self.states()):
            self._count = max(self._count, int(path.name.rpartition("-")[2]) + 1)
            try:
                manifest = verify(path)
            except BadInput as failure:
                say(f"{failure}; not used")
                continue
            if manifest.get("kind") == _KIND and manifest.get("identity") == self._identity:
                return State(manifest["facts"], load_file(path / _ARRAYS))
            say(f"{self.out}: an unfinished collection of something else lies here; it is not used")
        return None

    @property
    def asked(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._interrupt.asked

    def boundary(self, state: Callable[[], State], share: float) -> bool:
        """Save where it is time to, and stop where a signal has asked for it.

        Args:
            state: gives the state as it is now, with its work files on the disk.
            share: of the whole that is done.

        Returns:
            Whether a state was saved.

        Raises:
            Stopped: asked by a signal, after saving.
        """
        started = time.monotonic()
        if not self.asked and started < self._next:
            return False
        self._save(state())
        finished = time.monotonic()
        self._cost = finished - started
        self._next = finished + max(SAVE_SECONDS, _COST * self._cost)
        if self.asked:
            raise Stopped(f"{self.out}: stopped with {share:.0%} done; the same command goes on from there")
        return True

    def _save(self, state: State) -> None:
        from safetensors.numpy import save_file

        older = self.states()
        facts = {"kind": _KIND, "identity": self._identity, "facts": state.facts}
        with publishing(self.directory / f"state-{self._count:06d}", facts) as aside:
            save_file({name: np.ascontiguousarray(array) for name, array in state.arrays.items()}, aside / _ARRAYS)
        self._count += 1
        for path in older:
            remove_directory(path)


@contextmanager
def unfinished(out: Path, identity: dict[str, Any]) -> Iterator[Unfinished]:
    """Hold the lock on `out`'s collection; what was saved stays only where the block is left by a failure or signal.

    Raises:
        BadInput: another process collects there.
        EnvironmentProblem: the directory cannot be made or written.
    """
    directory = out.with_name(f".unfinished-{out.name}")
    with locked(directory), Interruptible() as interrupt:
        work = Unfinished(out, directory, identity, interrupt)
        try:
            yield work
        except BadInput:
            discard(directory)
            raise
        except BaseException:
            if not work.states():
                discard(directory)
            raise
        discard(directory)
