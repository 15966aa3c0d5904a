"""Where results of one layer and hook lie; no other file spells these names.

results/<study>/<run>/step-000000500/L0.mid            activations
results/<study>/<run>/step-000000500/L0.mid.<kind>     what was made from them: scores, probes, ...
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from train.checkpoint import STEP_NAME, step_directory
from train.errors import BadInput

Kind = Literal["activations", "sample", "scores", "passages", "probes", "fission", "split"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HOOKS = ("mid", "post")
GATE_HOOKS = ("gatepos", "gateneg")
"""Hooks of a gated MLP beside `mid`: the values where the gate is positive, and where it is not; else 0."""
_NAME = re.compile(r"L([0-9]+)\.([a-z]+)")


@dataclass(frozen=True)
class ResultDirectory:
    """One layer and hook of one step of a run, below a results directory."""

    root: Path
    """The study's results directory."""
    run: str
    step: int
    layer: int
    hook: str

    @classmethod
    def of(cls, path: Path | str) -> "ResultDirectory":
        """Read the path of a result directory of any kind.

        Raises:
            BadInput: not `<run>/step-<step>/L<layer>.<hook>`, with or without a kind behind it.
        """
        activations = beside(Path(path), "activations")
        if len(activations.parts) < 3:
            activations = activations.absolute()
        step, named = STEP_NAME.fullmatch(activations.parent.name), _NAME.fullmatch(activations.name)
        if step is None or named is None:
            raise BadInput(f"{path}: not a directory of results, <run>/step-<step>/L<layer>.<hook>")
        run = activations.parent.parent
        return cls(run.parent, run.name, int(step[1]), int(named[1]), named[2])

    @property
    def run_directory(self) -> Path:
        """Where the results of all steps of the run lie, and a copy of its metrics.jsonl."""
        return self.root / self.run

    @property
    def path(self) -> Path:
        """The directory of activations."""
        return step_directory(self.run_directory, self.step) / f"L{self.layer}.{self.hook}"

    def beside(self, kind: Kind) -> Path:
        """The directory of another kind of result of the same layer and hook."""
        return beside(self.path, kind)


def beside(directory: Path, kind: Kind) -> Path:
    """The directory of another kind of result beside one of any kind, of the same layer and hook."""
    stem, _, suffix = directory.name.rpartition(".")
    name = stem if suffix in KINDS[1:] else directory.name
    return directory.with_name(name if kind == "activations" else f"{name}.{kind}")


def find_directories(root: Path, kind: Kind = "activations") -> list[Path]:
    """Directories of a kind anywhere under `root`, in order of their paths.

    Those of a step count without a manifest too: whoever reads them says that it is gone.
    """
    ending = "" if kind == "activations" else f".{kind}"
    found: Iterable[Path] = (path for hook in (*HOOKS, *GATE_HOOKS) for path in root.rglob(f"L[0-9]*.{hook}{ending}"))
    return sorted(
        path for path in found if path.is_dir() and (_is_sealed(path) or STEP_NAME.fullmatch(path.parent.name))
    )


def _is_sealed(path: Path) -> bool:
    return (path / "MANIFEST.json").is_file()


def _is_of_a_step(path: Path) -> bool:
    return STEP_NAME.fullmatch(path.parent.name) is not None
