"""Which scores lie under results directories: the run, step, layer and hook of each, and its source."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.directory import ResultDirectory, beside, find_directories
from analyze.scores.store import read_scores
from train.errors import BadInput
from train.files import manifest_hash, read_manifest


@dataclass(frozen=True)
class Cell:
    """The scores of one run at one step, layer and hook, and where they lie."""

    directory: Path
    meta: dict[str, Any]
    hash: str
    tokens_hash: str

    @property
    def place(self) -> tuple[int, str]:
        """Layer and hook."""
        return self.meta["layer"], self.meta["hook"]

    def neurons(self, null: str = "none") -> pl.DataFrame:
        """The rows of scores.parquet: of the neurons themselves, or of one null."""
        return read_scores(self.directory)[0].filter(pl.col("null") == null)


def find_cells(dirs: Iterable[Path | str]) -> list[Cell]:
    """Every `.scores` directory under `dirs`, in the order of `dirs` and then of variant, seed and step.

    Raises:
        BadInput: none there, or scores made from other activations than lie beside them.
    """
    roots = [Path(directory) for directory in dirs]
    seen: dict[Path, Cell] = {}
    for root in roots:
        found = [_cell(directory) for directory in find_directories(root, "scores")]
        found.sort(key=lambda cell: tuple(cell.meta[key] for key in ("variant", "seed", "step", "layer", "hook")))
        for cell in found:
            seen.setdefault(cell.directory.resolve(), cell)
    if not seen:
        raise BadInput(f"{', '.join(map(str, roots))}: no scores here; `python -m analyze score` writes them")
    return list(seen.values())


def _cell(directory: Path) -> Cell:
    manifest = read_manifest(directory)
    meta = manifest.get("meta")
    if manifest.get("kind") != "scores" or not isinstance(meta, dict):
        raise BadInput(f"{directory}: holds no scores; score again")
    activations = beside(directory, "activations")
    if not activations.is_dir():
        raise BadInput(f"{activations}: not there; the scores beside it cannot be traced to their tokens")
    if manifest_hash(activations) != manifest.get("activations_hash"):
        raise BadInput(f"{directory}: made from other activations than lie beside it; score again")
    tokens = read_manifest(activations)["files"].get("tokens.parquet", {}).get("sha256", "")
    return Cell(directory, meta, manifest_hash(directory), tokens)


def final_cells(cells: Sequence[Cell]) -> dict[str, dict[tuple[int, str], dict[int, Cell]]]:
    """variant -> (layer, hook) -> seed -> the cell of the run's last step.

    Raises:
        BadInput: two runs of one variant and seed.
    """
    last: dict[str, int] = {}
    owner: dict[tuple[str, int], str] = {}
    for cell in cells:
        meta, run = cell.meta, _run_of(cell)
        last[run] = max(meta["step"], last.get(run, 0))
        other = owner.setdefault((meta["variant"], meta["seed"]), run)
        if other != run:
            raise BadInput(f"{run}: is variant {meta['variant']!r} with seed {meta['seed']}, and so is {other}")
    table: dict[str, dict[tuple[int, str], dict[int, Cell]]] = {}
    for cell in cells:
        if cell.meta["step"] == last[_run_of(cell)]:
            places = table.setdefault(cell.meta["variant"], {})
            places.setdefault(cell.place, {})[cell.meta["seed"]] = cell
    return {variant: dict(sorted(places.items())) for variant, places in table.items()}


def _run_of(cell: Cell) -> str:
    return str(ResultDirectory.of(cell.directory).run_directory.resolve())


def untrained_cells(cells: Sequence[Cell]) -> dict[tuple[str, int, tuple[int, str]], Cell]:
    """The untrained networks among some cells, by variant, seed, and layer and hook."""
    return {
        (cell.meta["variant"], cell.meta["seed"], cell.place): cell
        for cell in cells
        if cell.meta["step"] == 0 and cell.meta["start_run"] is None
    }


def untrained_of(cell: Cell, untrained: Mapping[tuple[str, int, tuple[int, str]], Cell]) -> Cell | None:
    """The untrained network that a cell's weights descend from; None for that itself, and where it is not there."""
    # A network without a mid LayerNorm has one hook, `mid`, that stands for both.
    root, seed, (layer, hook) = cell.meta["root_variant"], cell.meta["seed"], cell.place
    found = untrained.get((root, seed, (layer, hook))) or untrained.get((root, seed, (layer, "mid")))
    return None if found is cell else found


def require_same_tokens(cells: Sequence[Cell]) -> None:
    """Refuse to compare runs that were scored on different text.

    Raises:
        BadInput: names two of them.
    """
    first = cells[0]
    for cell in cells[1:]:
        pair = f"{first.directory} and {cell.directory}"
        if cell.meta["data_hash"] != first.meta["data_hash"]:
            raise BadInput(f"{pair} do not share data: not comparable")
        if cell.tokens_hash != first.tokens_hash:
            raise BadInput(f"{pair} do not share a token sample; collect both with the same --sample-tokens")
