"""Which cells belong together: the untrained network of a run, the other seeds of its variant, its root.

All by what checkpoints say of themselves (`analyze.activations.identity`). A name, of a run or a directory, is a label.
"""

import json
from collections.abc import Callable, Sequence

from analyze.activations.identity import difference
from analyze.comparison.results import Cell, Finals, Place
from train.errors import BadInput


def final_cells(cells: Sequence[Cell]) -> Finals:
    """The cells of every run's last step.

    Raises:
        BadInput: cells that claim one place, or a variant whose seeds differ in more than their seed; it names both.
    """
    _require_own_places(cells)
    last: dict[str, int] = {}
    owner: dict[tuple[str, int], Cell] = {}
    for cell in cells:
        meta = cell.meta
        last[meta.run_hash] = max(meta.step, last.get(meta.run_hash, 0))
        other = owner.setdefault((meta.variant, meta.seed), cell)
        if other.meta.run_hash != meta.run_hash:
            raise BadInput(
                f"{cell.path}: is variant {meta.variant!r} with seed {meta.seed}, and so is {other.path}, of another "
                f"run ({difference(other.meta.recipe, meta.recipe)}); compare them apart, or give one another `variant`"
            )
    table: dict[str, dict[Place, list[Cell]]] = {}
    for cell in cells:
        if cell.meta.step == last[cell.meta.run_hash]:
            table.setdefault(cell.meta.variant, {}).setdefault(cell.place, []).append(cell)
    finals = {
        variant: {
            place: tuple(sorted(by_seed, key=lambda cell: cell.meta.seed)) for place, by_seed in sorted(places.items())
        }
        for variant, places in table.items()
    }
    for places in finals.values():
        for by_seed in places.values():
            _require_one_recipe(by_seed)
    return finals


def _require_own_places(cells: Sequence[Cell]) -> None:
    """Refuse two runs in one directory, and two cells of one run, step, layer and hook."""
    runs: dict[str, Cell] = {}
    places: dict[tuple[str, int, Place], Cell] = {}
    for cell in cells:
        other = runs.setdefault(str(cell.directory.run_directory.resolve()), cell)
        if other.meta.run_hash != cell.meta.run_hash:
            raise BadInput(
                f"{cell.path} and {other.path}: share the name {cell.meta.run} and are of different runs "
                f"({difference(other.meta.recipe, cell.meta.recipe)}); remove one, or collect it with another --out"
            )
        other = places.setdefault((cell.meta.run_hash, cell.meta.step, cell.place), cell)
        if other is not cell:
            raise BadInput(
                f"{cell.path} and {other.path}: are the same run, step, layer and hook; leave one out or remove it"
            )


def _require_one_recipe(by_seed: Sequence[Cell]) -> None:
    """Refuse seeds of a variant that differ in more than their seed.

    Where a config is not known, in what activations say themselves.
    """
    first = by_seed[0]
    for cell in by_seed[1:]:
        a, b = first.meta, cell.meta
        if a.recipe is not None and b.recipe is not None:
            same, how = a.recipe == b.recipe, difference(a.recipe, b.recipe)
        else:
            keys = ("act", "n_params", "n_neurons", "factor", "scheme", "train_data_hash")
            differing = [key for key in keys if getattr(a, key) != getattr(b, key)]
            same, how = not differing, f"they differ in {', '.join(differing)}"
        if not same:
            raise BadInput(
                f"{first.path} and {cell.path}: are called seeds {a.seed} and {b.seed} of variant {a.variant!r}, and "
                f"differ in more than the seed ({how}); give one another `variant`"
            )


def precisions_of(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Every arithmetic that the runs of some cells, or what they start from, were trained in -> one such cell."""
    found: dict[str, Cell] = {}
    for cell in cells:
        recipe = json.loads(cell.meta.recipe) if cell.meta.recipe else None
        while recipe is not None:
            if "imported" not in recipe:  # others trained it, in an arithmetic that is the same for all its children
                found.setdefault(recipe.get("train", {}).get("precision", "fp32"), cell)
            recipe = recipe.get("start")
    return found


def require_one_precision(cells: Sequence[Cell]) -> None:
    """Refuse networks that were trained in unlike arithmetic: twins differ in one thing only.

    Raises:
        BadInput: naming a cell of each.
    """
    found = precisions_of(cells)
    if len(found) > 1:
        named = ", ".join(f"{cell.path} {precision}" for precision, cell in found.items())
        raise BadInput(f"train.precision: differs ({named}); give --mixed-precision to compare them all the same")


def roots_of(cells: Sequence[Cell]) -> dict[str, str | None]:
    """run_hash of each run -> that of its ancestor from scratch; None where neither checkpoints nor cells tell it."""
    roots: dict[str, str | None] = {}
    for cell in cells:
        roots[cell.meta.run_hash] = cell.meta.root_hash or roots.get(cell.meta.run_hash)
    of_checkpoint = {cell.meta.checkpoint_hash: cell.meta.run_hash for cell in cells}
    starts = {cell.meta.run_hash: cell.meta.start_hash for cell in cells}

    def root(run: str) -> str | None:
        if roots[run] is None:
            parent = of_checkpoint.get(starts[run] or "")
            return None if parent is None else root(parent)
        return roots[run]

    return {run: root(run) for run in roots}


def untrained_among(cells: Sequence[Cell]) -> Callable[[Cell], Cell | None]:
    """A function to the untrained network among `cells` that a cell's weights descend from.

    It returns None for that network itself, and where it is not there.
    """
    roots = roots_of(cells)
    untrained = {
        (cell.meta.run_hash, cell.place): cell for cell in cells if cell.meta.step == 0 and cell.meta.start_hash is None
    }

    def untrained_of(cell: Cell) -> Cell | None:
        root, place = roots[cell.meta.run_hash], cell.place
        if root is None:
            return None
        # A network without a mid LayerNorm has one hook, `mid`, that stands for both.
        birth = untrained.get((root, place)) or untrained.get((root, Place(place.layer, "mid")))
        return None if birth is cell else birth

    return untrained_of
