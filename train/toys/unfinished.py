"""The lock and the resume points of a toy that is being trained, until its directory can appear."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from train.configfile import differences, read_toml, to_toml, validate
from train.errors import BadInput, EnvironmentProblem, one_line
from train.files import clear_leftovers, discard, publishing, remove_directory, verify
from train.tensors import write_tensors
from train.toys.config import ToyConfig
from train.toys.fit import FitState
from train.toys.runs import CONFIG

MAY_DIFFER = frozenset({"about", "expect", "verdict", "fine_tune", "arms"})
"""Tables of a TOY.toml that do not change how the toy itself is trained (arms are toys of their own)."""

_KIND = "toy-state"
_NAME = re.compile(r"state-([0-9]{9})")
_STATE = "state.safetensors"
_LONGEST = 200
"""Bytes of the name: temporary files next to it have an even longer one."""


@dataclass(frozen=True)
class Unfinished:
    """The hidden directory next to `out` that holds unfinished work: `.lock` and the newest state.

    A state is sealed like everything else, and holds the config that it belongs to.
    """

    out: Path

    @property
    def directory(self) -> Path:
        """`.unfinished-<name>`."""
        name = f".unfinished-{self.out.name}"
        if len(os.fsencode(name)) > _LONGEST:
            name = f".unfinished-{hashlib.sha256(os.fsencode(self.out.name)).hexdigest()}"
        return self.out.with_name(name)

    def states(self) -> list[Path]:
        """Resume points, the oldest first; not verified."""
        return sorted(path for path in self.directory.iterdir() if _NAME.fullmatch(path.name))

    def load(self, config: ToyConfig) -> FitState | None:
        """The newest state that verifies, if there is one; damaged ones are skipped with a warning.

        Raises:
            BadInput: it is of another config; the message names the first key that differs.
        """
        for path in reversed(self.states()):
            try:
                facts = verify(path)
                before = validate(ToyConfig, read_toml(path / CONFIG), str(path / CONFIG))
                state = FitState(int(facts["step"]), float(facts["seconds"]), load_file(path / _STATE))
            except (BadInput, KeyError, TypeError, ValueError, OSError, SafetensorError) as failure:
                print(f"warning: {one_line(str(failure))}; falling back to an earlier state", flush=True)
                continue
            require_same(before, config, f"{self.directory}: holds an unfinished toy")
            return state
        return None

    def save(self, config: ToyConfig, state: FitState) -> None:
        """Write a resume point, then delete the earlier ones.

        Raises:
            EnvironmentProblem: it could not be written; the earlier one is intact.
        """
        facts = {"kind": _KIND, "step": state.step, "seconds": state.seconds}
        new = self.directory / f"state-{state.step:09d}"
        try:
            with publishing(new, facts, replace=True) as aside:
                write_tensors(state.tensors, aside / _STATE)
                (aside / CONFIG).write_text(to_toml(config), encoding="utf-8")
            for path in self.states():
                if path != new:
                    remove_directory(path)
        except OSError as failure:
            raise EnvironmentProblem(
                f"{self.out}: step {state.step} was not saved ({failure.strerror or failure})"
            ) from None

    def clear_leftovers(self) -> None:
        """Delete the half-written files of processes that died; the caller holds the lock, so no other one writes."""
        clear_leftovers(self.out)
        for path in self.directory.iterdir():
            if path.name.startswith((".tmp-", ".del-")):
                discard(path)

    def remove(self) -> None:
        """Delete all of it; what a file system keeps of the lock goes with the lock."""
        discard(self.directory)


def require_same(before: ToyConfig, now: ToyConfig, who: str) -> bool:
    """Compare two configs; returns whether they are equal to the letter.

    Raises:
        BadInput: they differ in more than `MAY_DIFFER`; names the first key.
    """
    changed = differences(before.model_dump(mode="json"), now.model_dump(mode="json"))
    for key, (old, new) in changed.items():
        if key.split(".")[0] not in MAY_DIFFER:
            raise BadInput(f"{who} with {key} = {old!r}, now {new!r}; choose another --out or the same config")
    return not changed
