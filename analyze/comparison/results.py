"""Which scores lie under results directories: the run, step, layer and hook of each, and its source."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import polars as pl

from analyze.activations.directory import ResultDirectory, find_directories
from analyze.activations.identity import identity_of_results
from analyze.activations.store import IDENTITY, ActivationsMeta
from analyze.scores.store import read_scores
from train.errors import BadInput
from train.files import manifest_hash, read_manifest


@dataclass(frozen=True, order=True)
class Place:
    """Where in a network neurons sit."""

    layer: int
    hook: str

    def __str__(self) -> str:
        return f"L{self.layer}.{self.hook}"


@dataclass(frozen=True)
class Cell:
    """The scores of one run at one step, layer and hook, and where they lie."""

    directory: ResultDirectory
    meta: ActivationsMeta
    hash: str
    """Of the scores' manifest."""
    tokens_hash: str
    """Of the sample of tokens that was scored."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Nulls and scores that were asked for and could not be made, and what they need."""

    @property
    def place(self) -> Place:
        """Layer and hook."""
        return Place(self.meta.layer, self.meta.hook)

    @property
    def path(self) -> Path:
        """The directory of the scores."""
        return self.directory.beside("scores")

    def scores(self) -> pl.DataFrame:
        """scores.parquet: the rows of the neurons (`null` is "none") and of the nulls that were made of them."""
        return read_scores(self.path)[0]

    def neurons(self) -> pl.DataFrame:
        """The rows of scores.parquet that are neurons."""
        return self.scores().filter(pl.col("null") == "none")


Finals = dict[str, dict[Place, tuple[Cell, ...]]]
"""Variant -> place -> the last step of each of its seeds, in their order."""


def find_cells(dirs: Iterable[Path | str], checkpoints: Iterable[Path | str] = ()) -> list[Cell]:
    """Every `.scores` directory under `dirs`, in the order of `dirs` and then of variant, seed and step.

    Args:
        checkpoints: where to look first for checkpoints, which say which run results of earlier versions are of.

    Raises:
        BadInput: none there, scores made from other activations than lie beside them, or results of an earlier
            version whose checkpoint is nowhere.
    """
    checkpoints = list(checkpoints)
    roots = [Path(directory) for directory in dirs]
    cells: dict[Path, Cell] = {}
    for root in roots:
        below = [_identified(_cell(directory), checkpoints) for directory in find_directories(root, "scores")]
        below.sort(key=lambda cell: (cell.meta.variant, cell.meta.seed, cell.meta.step, cell.place))
        for cell in below:
            cells.setdefault(cell.path.resolve(), cell)
    if not cells:
        raise BadInput(f"{', '.join(map(str, roots))}: no scores here; `polysem score` writes them")
    return list(cells.values())


def _cell(path: Path) -> Cell:
    directory, manifest = ResultDirectory.of(path), read_manifest(path)
    given = manifest.get("meta")
    if manifest.get("kind") != "scores" or not isinstance(given, dict):
        raise BadInput(f"{path}: holds no scores; score again")
    known = {key.name for key in fields(ActivationsMeta)}
    # A default here would pass an arm for a variant from scratch. Scores older than `scheme` are as good.
    missing = known - given.keys() - {"scheme"} - IDENTITY
    if missing:
        raise BadInput(f"{path}: does not say {', '.join(sorted(missing))}; score again")
    activations = directory.path
    if not activations.is_dir():
        raise BadInput(f"{activations}: not there; the scores beside it cannot be traced to their tokens")
    if manifest_hash(activations) != manifest.get("activations_hash"):
        raise BadInput(f"{path}: made from other activations than lie beside it; score again")
    meta = ActivationsMeta(**{key: value for key, value in given.items() if key in known})
    tokens = read_manifest(activations)["files"].get("tokens.parquet", {}).get("sha256", "")
    return Cell(directory, meta, manifest_hash(path), tokens, manifest.get("without", {}))


def _identified(cell: Cell, checkpoints: Sequence[Path | str]) -> Cell:
    """A cell that knows its run; of an earlier version it is read from the checkpoint."""
    meta = cell.meta
    if meta.run_hash:
        return cell
    identity = identity_of_results(meta, cell.path, checkpoints)
    if identity is None:
        raise BadInput(
            f"{cell.path}: was collected by an earlier version, which did not record which run it is of, and the "
            f"checkpoint is not at {meta.checkpoint_dir or 'any place'}; give --checkpoints, or collect and score again"
        )
    return replace(cell, meta=replace(meta, **asdict(identity)))


def require_same_tokens(cells: Sequence[Cell]) -> None:
    """Refuse to compare runs that were scored on different text.

    Raises:
        BadInput: names two of them.
    """
    first = cells[0]
    for cell in cells[1:]:
        pair = f"{first.path} and {cell.path}"
        if cell.meta.data_hash != first.meta.data_hash:
            raise BadInput(f"{pair} do not share data: not comparable")
        if cell.tokens_hash != first.tokens_hash:
            raise BadInput(f"{pair} do not share a token sample; collect both with the same --sample-tokens")
