"""What code computes, as a hash: results that carry it are made again when the code changes.

Python prints syntax trees differently from version to version, so another version of Python has other fingerprints.
"""

import ast
import pkgutil
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from train.files import canonical_json


def fingerprint(module: str, deep: bool = False, registries: bool = True) -> str:
    """sha256 of a module's parsed code without docstrings and imports: neither words nor a move change it.

    Args:
        module: dotted name.
        deep: and of every module of `analyze` that it reaches by imports, wherever they lie; of the modules that a
            registry among them finds; and of the data files that lie beside them under the same name.
        registries: whether `deep` goes into the modules that registries find.
    """
    hashes: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = None if name in hashes else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin)
        hashes[name], imported, registers = _code_and_imports(path.read_bytes())
        if deep:
            waiting += imported
            if registries and registers and spec.submodule_search_locations:
                below = pkgutil.iter_modules(spec.submodule_search_locations)
                waiting += [f"{name}.{found.name}" for found in below]
            if path.with_suffix(".toml").is_file():
                hashes[f"{name}.toml"] = sha256(path.with_suffix(".toml").read_bytes()).hexdigest()
    return sha256(canonical_json(sorted(hashes.values()))).hexdigest()


def code_of(score: object) -> str:
    """What a claim about a score is bound to: its module, and what it was fitted to (`fitted`), where it was."""
    code, fitted = fingerprint(type(score).__module__), getattr(score, "fitted", "")
    return sha256(f"{code}{fitted}".encode()).hexdigest() if fitted else code


@lru_cache(maxsize=1024)
def _code_and_imports(source: bytes) -> tuple[str, tuple[str, ...], bool]:
    """The hash of a module's code alone, the modules of `analyze` that it imports, and whether it is a registry."""
    tree = ast.parse(source)
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "analyze":
            below = (f"{node.module}.{alias.name}" for alias in node.names)
            imported += [node.module, *(name for name in below if _is_module(name))]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [line for line in node.body if not _is_docstring_or_import(line)] or [ast.Pass()]
    registers = any(isinstance(node, ast.Name) and node.id == "Registry" for node in ast.walk(tree))
    return sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported), registers


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a name in a module that is no package
        return False


def _is_docstring_or_import(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return isinstance(statement.value.value, str)
    return isinstance(statement, (ast.Import, ast.ImportFrom))
