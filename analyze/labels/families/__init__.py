"""Families of labels: one file a family, FAMILIES all of them."""

import pkgutil
from importlib import import_module

from analyze.labels.base import Family


def _found() -> tuple[Family, ...]:
    """The FAMILIES of every module in this package, so that adding a family is adding a file."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    families = [family for module in modules for family in getattr(module, "FAMILIES", ())]
    return tuple(sorted(families, key=lambda family: family.name.lower()))


FAMILIES: tuple[Family, ...] = _found()
