"""Where a collection keeps its work, so that after a stop or a kill it goes on and ends with the same bits."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analyze.activations.sample import SAMPLE_FILE
from analyze.activations.settings import CollectSettings
from train.errors import BadInput, Stopped
from train.files import MANIFEST, canonical_json, discard, locked, publishing, read_manifest, remove_directory, verify
from train.interrupt import Interruptible

_KIND = "collection-state-2"
_NAME = re.compile(r"state-([0-9]{6})")
_ARRAYS = "state.safetensors"

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """How far a collection has come: plain facts (JSON) and arrays by name."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def arrays_of(owner: object) -> dict[str, np.ndarray]:
    """The public arrays of an object by name. They are its state: a resumed collection overwrites them in place."""
    public = {name: value for name, value in vars(owner).items() if not name.startswith("_")}
    return {name: value for name, value in public.items() if isinstance(value, np.ndarray)}


class WorkDirectory:
    """The hidden directory beside a result in the making: its lock, its newest state, and work files.

    A state is sealed, and says what is collected. Before it is sealed, the work files that it needs are forced to the
    disk. Later they only grow, and a resumed collection writes again what lies behind the lengths in the state.
    """

    def __init__(
        self, out: Path, path: Path, identity: dict[str, Any], interrupt: Interruptible, settings: CollectSettings
    ) -> None:
        self.out, self.path = out, path
        self._identity, self._interrupt, self._settings = json.loads(canonical_json(identity)), interrupt, settings
        self._due = time.monotonic() + settings.save_seconds
        self._count = 0

    def states(self) -> list[Path]:
        """Saved states, oldest first; not verified."""
        return sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))

    def load(self, say: Say) -> State | None:
        """The newest state of this collection that verifies, if there is one."""
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
    def stop_requested(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._interrupt.asked

    def save_or_stop(self, state: Callable[[], State], share: float) -> bool:
        """Save a state if it is time, and stop if a signal has asked for it.

        Args:
            state: returns the state as it is now, with its work files on the disk.
            share: of the whole collection that is done.

        Returns:
            Whether it saved a state.

        Raises:
            Stopped: a signal asked for it; the state is saved.
        """
        started = time.monotonic()
        if not self.stop_requested and started < self._due:
            return False
        self._save(state())
        finished = time.monotonic()
        self._due = finished + max(self._settings.save_seconds, self._settings.save_cost * (finished - started))
        if self.stop_requested:
            raise Stopped(f"{self.out}: stopped with {share:.0%} done; the same command goes on from there")
        return True

    def _save(self, state: State) -> None:
        from safetensors.numpy import save_file

        older = self.states()
        facts = {"kind": _KIND, "identity": self._identity, "facts": state.facts}
        with publishing(self.path / f"state-{self._count:06d}", facts) as aside:
            save_file({name: np.ascontiguousarray(array) for name, array in state.arrays.items()}, aside / _ARRAYS)
        self._count += 1
        for path in older:
            remove_directory(path)


@contextmanager
def work_directory(out: Path, identity: dict[str, Any], settings: CollectSettings) -> Iterator[WorkDirectory]:
    """Lock the collection of `out`. Its work stays on disk only if a failure or a signal ends the block.

    Raises:
        BadInput: another process collects there.
        EnvironmentProblem: the directory cannot be made or written.
    """
    path = out.with_name(f".unfinished-{out.name}")
    with locked(path), Interruptible() as interrupt:
        work = WorkDirectory(out, path, identity, interrupt, settings)
        try:
            yield work
        except BaseException as failure:
            if isinstance(failure, BadInput) or not work.states():
                discard(path)
            raise
        discard(path)


def take_back(sample: Path, sealed: dict[str, Any], work: WorkDirectory) -> None:
    """Move the file of a sample back among a collection's work files, if the collection was killed after it had
    moved it away: it goes on from its last state, which needs the file.

    Args:
        sample: the directory that the sample is sealed in.
        sealed: what the manifest of this collection's sample says.
    """
    if not work.states() or (work.path / SAMPLE_FILE).exists():
        return
    aside = (path for path in sample.parent.iterdir() if path.name.startswith(f".tmp-{sample.name}-"))
    for place in (sample, *aside):
        is_sealed = (place / MANIFEST).is_file() and (place == sample or _has_manifest(place))
        is_ours = not is_sealed or {key: read_manifest(place).get(key) for key in sealed} == sealed
        if is_ours and (place / SAMPLE_FILE).is_file():
            (place / SAMPLE_FILE).rename(work.path / SAMPLE_FILE)
            return


def _has_manifest(aside: Path) -> bool:
    """Whether a directory in the making has a whole manifest: a power failure can leave an empty one."""
    try:
        return bool(read_manifest(aside))
    except BadInput:
        return False
