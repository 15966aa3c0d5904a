"""Families of labels: one file each; FAMILIES finds them."""

from analyze.labels.base import Family
from analyze.registry import Registry

FAMILIES: Registry[Family] = Registry(__name__, "FAMILY", order=lambda family: family.name.lower())
"""Every family by name: the FAMILY of each module of this package."""
