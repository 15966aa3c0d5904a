"""What `train` and `analyze` export: every name opens, in either order, and no module takes the place of one."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "train": (
        "ModelConfig", "TokenFile", "Transformer", "WidenPlan", "load", "prepare", "run", "to_bridge", "widen"
    ),
    "analyze": ("NULLS", "PROBLEMS", "SCORES", "collect", "compare", "load_scores", "score"),
}  # fmt: skip
"""As architecture.md lists them."""


def fresh(code: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize("package", PUBLIC)
def test_the_exported_names_are_the_documented_ones(package: str):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(PUBLIC[package])
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PUBLIC)
def test_no_module_beside_an_exported_name_has_that_name(package: str):
    paths = importlib.import_module(package).__path__
    assert not {module.name for module in pkgutil.iter_modules(paths)} & set(PUBLIC[package])


@pytest.mark.parametrize("modules_first", [True, False])
@pytest.mark.parametrize("package", PUBLIC)
def test_a_fresh_process_gets_the_exported_things_before_and_after_every_module_is_imported(
    package: str, modules_first: bool
):
    code = f"""
import importlib, pkgutil, {package}
def modules():
    for found in pkgutil.walk_packages({package}.__path__, "{package}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
def names():
    return {{name: getattr({package}, name) for name in {package}.__all__}}
if {modules_first}:
    modules()
before = names()
modules()
assert all(before[name] is thing for name, thing in names().items())
assert not any(type(thing).__name__ == "module" for thing in before.values())
print(len(before))
"""
    assert int(fresh(code)) == len(PUBLIC[package])


@pytest.mark.parametrize("package", PUBLIC)
def test_importing_a_package_does_not_wait_for_torch(package: str):
    assert (
        fresh(f"import sys, {package}; print('torch' in sys.modules, 'polars' in sys.modules)").split() == ["False"] * 2
    )


def test_an_unknown_name_is_no_attribute():
    import train

    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = train.lod
