"""The house in figures: files, rooms, import floors and lines of a tree.

    python benchmarks/house.py             # this tree
    python benchmarks/house.py --tree DIR  # another clone or worktree, to compare with

A room is a file or a folder right below `train/` or `analyze/`. A room's floor is one above the highest room of its
package that it imports; circles among rooms are named and take one floor.
"""

import argparse
import ast
from functools import cache
from pathlib import Path

import networkx as nx

PACKAGES = ("train", "analyze")


def room_of(module: str) -> str:
    """`analyze.scores.k_eff` -> `analyze.scores`."""
    return ".".join(module.split(".")[:2])


def modules_of(tree: Path, package: str) -> dict[str, Path]:
    """Dotted name -> file of every module of a package but its public face."""
    found = {}
    for path in sorted((tree / package).rglob("*.py")):
        parts = path.relative_to(tree).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop(package)
    return found


def room_graph(modules: dict[str, Path]) -> nx.DiGraph:
    """Which room imports which."""
    graph = nx.DiGraph()
    for name, path in modules.items():
        graph.add_node(room_of(name))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                rooms = {room_of(target) for target in targets if target in modules}
                graph.add_edges_from((room_of(name), room) for room in rooms - {room_of(name)})
    return graph


def floors(graph: nx.DiGraph) -> int:
    """The number of floors."""
    house = nx.condensation(graph)

    @cache
    def floor(room: int) -> int:
        return 1 + max(map(floor, house.successors(room)), default=0)

    return max(map(floor, house))


def main() -> None:
    """Print a line a package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=Path(__file__).resolve().parents[1])
    tree = parser.parse_args().tree
    print("package   files  lie flat  rooms  floors  circles   lines  longest file")
    for package in PACKAGES:
        modules = modules_of(tree, package)
        graph = room_graph(modules)
        circles = [rooms for rooms in nx.strongly_connected_components(graph) if len(rooms) > 1]
        lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in (tree / package).rglob("*.py")]
        flat = len(list((tree / package).glob("*.py")))
        print(
            f"{package:8} {len(lines):>6} {flat:>9} {len(graph):>6} {floors(graph):>7} {len(circles):>8} "
            f"{sum(lines):>7,} {max(lines):>13}"
        )
        for rooms in circles:
            print(f"  circle: {', '.join(sorted(rooms))}")


if __name__ == "__main__":
    main()
