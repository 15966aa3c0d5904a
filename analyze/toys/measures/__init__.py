"""MEASURES: one number a replica, by name, for [[expect]], [verdict] and tables."""

from analyze.toys.measures import bases, computing, losses, neurons, phases, places
from analyze.toys.measures.base import MEASURES, Measure, Scope, measure_named

ROOMS = (losses, places, phases, neurons, bases, computing)
"""The modules that register measures."""

__all__ = ["MEASURES", "ROOMS", "Measure", "Scope", "measure_named"]
