"""Where things live: imports go down only, between files and between folders, and no circle is left."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "train": (
        ("cgroups", "cores", "errors", "interrupt", "launch", "parent"),
        ("commandline", "compressed", "textfiles", "devices", "shipped", "workers"),
        ("filesystem", "hashes", "section"),
        ("activations", "attention", "files", "locate", "products", "recompute"),
        ("study_progress", "study_slurm"),
        ("config", "configfile"),
        ("precision",),
        ("hub_errors",),
        ("tl_files", "gguf"),
        ("model", "data", "lineage", "tracking", "launchers", "processes", "tensors", "parquet", "hub"),
        ("step_files",),
        ("lens", "loss", "optim", "checkpoint", "watching", "tl_legacy"),
        ("loop", "card", "status", "provenance"),
        ("memory", "version", "gpus"),
        ("cost",),
        ("widening", "export"),
        ("training_run", "toys"),
        ("dry_run",),
        ("__main__",),
    ),
    "analyze": (
        ("arguments", "registry", "statistics", "metrics", "tables", "figures", "html"),
        ("activations", "text"),
        ("models",),
        ("rules", "labels"),
        ("contexts", "headline"),
        ("nulls", "scores"),
        ("validation", "probing", "fission", "interventions", "dictionary"),
        ("comparison", "toys", "problems"),
        ("report", "rescore"),
        ("study",),
        ("__main__",),
        ("console",),
    ),
}
"""The rooms of each package, a floor at a time from the ground up: a room may import its own floor and those below."""


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file, of every module below a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules among `known` that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            modules_below = [name for name in below if name in known]
            yield from modules_below
            if node.module in known and len(modules_below) < len(below):
                yield node.module


MODULES = modules("train") | modules("analyze")
IMPORTS = {name: set(imported(path, MODULES)) - {name} for name, path in MODULES.items()}


def circle(graph: dict[str, set[str]]) -> str:
    """One circle in a graph as `a > b > a`, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as failure:
        return " > ".join(failure.args[1])
    return ""


def test_no_file_imports_itself_through_others():
    # A package's public face imports its rooms lazily, when a name is asked for.
    inside = {name: targets for name, targets in IMPORTS.items() if name not in FLOORS}
    assert not circle({name: targets - FLOORS.keys() for name, targets in inside.items()})


@pytest.mark.parametrize("folder", sorted({name.rpartition(".")[0] for name in MODULES if "." in name}))
def test_no_circle_among_the_files_and_folders_of_one_folder(folder: str):
    depth = folder.count(".") + 2
    graph: dict[str, set[str]] = {}
    for name, targets in IMPORTS.items():
        if name.startswith(f"{folder}."):
            unit = ".".join(name.split(".")[:depth])
            inside = {".".join(target.split(".")[:depth]) for target in targets if target.startswith(f"{folder}.")}
            graph.setdefault(unit, set()).update(inside - {unit})
    assert not circle(graph)


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor(package: str):
    rooms = {name.split(".")[1] for name in MODULES if name.startswith(f"{package}.")}
    assert rooms == {room for floor in FLOORS[package] for room in floor}


@pytest.mark.parametrize("package", FLOORS)
def test_nothing_imports_upward(package: str):
    floor_of = {room: index for index, floor in enumerate(FLOORS[package]) for room in floor}
    upward = [
        f"{name} imports {target}"
        for name, targets in IMPORTS.items()
        for target in targets
        if name.startswith(f"{package}.")
        and target.startswith(f"{package}.")
        and floor_of[name.split(".")[1]] < floor_of[target.split(".")[1]]
    ]
    assert not upward


def test_training_knows_nothing_of_analysis():
    targets = {target for name, targets in IMPORTS.items() if name.startswith("train") for target in targets}
    assert not [target for target in targets if target.startswith("analyze")]


@pytest.mark.parametrize("package", FLOORS)
def test_transformer_lens_is_imported_in_one_file_at_most(package: str):
    doors = [
        name
        for name, path in MODULES.items()
        if name.startswith(package) and "import" in (text := path.read_text()) and "from transformer_lens" in text
    ]
    assert len(doors) <= 1


def test_few_files_lie_flat():
    assert len(list((ROOT / "analyze").glob("*.py"))) <= 12


def test_no_file_but_one_gives_polars_a_path():
    """It would take brackets for a pattern and `~` for a home: tables are read and written by `train.parquet`."""
    calls = re.compile(r"\b(?:pl|polars)\.(?:read|scan)_\w+\(|\.(?:write|sink)_(?:parquet|csv|ipc|ndjson|json|excel)\(")
    harmless = re.compile(r"\.read_bytes\(\)|BytesIO|write_csv\(\)|write_parquet\((?:buffer|parquet|file)\)")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("train", "analyze", "scripts", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if calls.search(line) and not harmless.search(line)
    ]
    assert not found
