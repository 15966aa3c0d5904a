"""Where data and checkpoints lie now: a path that was recorded is a hint, the hash decides.

Results and checkpoints name their inputs by hash, and by the path where those lay when they were read. After a move, on
another machine or from another working directory the input is found by its hash, in this order: under the places that
the user gives, at the recorded path, beside the result (below each directory above it, at the end of the recorded
path: `/old/data/web` is found as `/new/data/web` from `/new/results/...`), and, for data, under POLYSEM_DATA.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from train.errors import BadInput
from train.files import MANIFEST, manifest_hash

DATA_VARIABLE = "POLYSEM_DATA"
"""A data directory, or a directory of some; several are separated like those of PATH."""

DATA_DEPTH = 2
"""How far below a given place data are looked for."""


def find_data(
    wanted: str, recorded: Path | str, *, beside: Path | None = None, given: Iterable[Path | str] = ()
) -> Path | None:
    """The data directory with this hash; None where it is in none of the places.

    Args:
        wanted: its `manifest_hash`.
        recorded: where it lay; "" where that is not known.
        beside: a result or checkpoint that was made from it.
        given: data directories, or directories of some.

    Raises:
        BadInput: a given place that is no directory.
    """
    variable = [Path(each) for each in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if each]
    return _first(wanted, _data_places(Path(recorded), _above(beside), _directories("--data", given), variable))


def find_step(
    wanted: str, recorded: Path | str, *, beside: Path | None = None, given: Iterable[Path | str] = ()
) -> Path | None:
    """The step directory with this hash; None where it is in none of the places.

    Args:
        wanted: its `manifest_hash`.
        recorded: where it lay; "" where that is not known.
        beside: a result that was made from it, or a checkpoint that descends from it.
        given: steps, runs, or directories that hold some at any depth.

    Raises:
        BadInput: a given place that is no directory.
    """
    return _first(wanted, _step_places(Path(recorded), _above(beside), _directories("--checkpoints", given)))


def _first(wanted: str, places: Iterable[Path]) -> Path | None:
    return next((place for place in places if has_hash(place, wanted)), None)


def has_hash(directory: Path, wanted: str) -> bool:
    """Whether a sealed directory with this hash lies there."""
    try:
        return (directory / MANIFEST).is_file() and manifest_hash(directory) == wanted
    except (BadInput, OSError):  # something else, or a damaged manifest
        return False


def _directories(option: str, given: Iterable[Path | str]) -> list[Path]:
    places = [Path(each) for each in given]
    for place in places:
        if not place.is_dir():
            raise BadInput(f"{option} {place}: no such directory")
    return places


def _above(beside: Path | None) -> list[Path]:
    return [] if beside is None else list(beside.resolve().parents)


def _ends(recorded: Path) -> list[Path]:
    """`/a/b/c` -> a/b/c, b/c, c."""
    parts = [part for part in recorded.parts if part not in (recorded.anchor, "..")]
    return [Path(*parts[first:]) for first in range(len(parts))]


def _data_places(recorded: Path, above: list[Path], given: list[Path], variable: list[Path]) -> Iterator[Path]:
    ends = _ends(recorded)
    yield from _below(given, ends)
    if ends:
        yield recorded
    yield from (base / end for base in above for end in ends)
    for base in above:
        yield from _children(base / "data", 1)
    yield from _below(variable, ends)


def _below(places: list[Path], ends: list[Path]) -> Iterator[Path]:
    for place in places:
        yield place
        yield from (place / end for end in ends)
        yield from _children(place, DATA_DEPTH)


def _children(place: Path, depth: int) -> Iterator[Path]:
    for level in range(1, depth + 1):
        yield from (path.parent for path in sorted(place.glob(f"{'*/' * level}{MANIFEST}")))


def _step_places(recorded: Path, above: list[Path], given: list[Path]) -> Iterator[Path]:
    ends = _ends(recorded)
    name = recorded.name if recorded.name.startswith("step-") else "step-*"
    for place in given:
        yield place
        yield from (place / end for end in ends)
        yield from sorted(place.rglob(name))
    if ends:
        yield recorded
    yield from (base / end for base in above for end in ends)
    for base in above[1:2]:  # the runs beside a checkpoint's own
        yield from sorted(base.glob(f"*/{name}"))
    for base in above:
        yield from sorted((base / "checkpoints").rglob(name))
