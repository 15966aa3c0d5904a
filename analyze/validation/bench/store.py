"""A finished benchmark on disk: what every score made of every neuron, so that parts can be put on one page."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy import ndarray

from analyze.validation.bench.measured import MeasuredSet, Result, SetFacts
from analyze.validation.layers.base import PlantedFeature
from train.errors import BadInput
from train.files import read_json, verify
from train.parquet import read_parquet, write_parquet

NEURONS, ABOUT = "neurons.parquet", "about.json"


@dataclass(frozen=True)
class Finished:
    """Measured sets, the scores' titles by name, and how they came about."""

    sets: list[MeasuredSet]
    titles: dict[str, str]
    half: str
    minutes: float
    """Processor time of planting and scoring together."""
    hashes: dict[str, str]
    notes: tuple[str, ...]
    """What was left out, a line each."""

    def and_then(self, other: "Finished", origin: object) -> "Finished":
        """Both in one.

        Args:
            origin: of the other, for the message.

        Raises:
            BadInput: a set that both have.
        """
        twice = {measured.facts.name for measured in self.sets} & {measured.facts.name for measured in other.sets}
        if twice:
            raise BadInput(f"--also: {origin}: its set {min(twice)!r} is measured elsewhere as well; leave one out")
        return Finished(
            [*self.sets, *other.sets],
            self.titles | {name: title for name, title in other.titles.items() if name not in self.titles},
            self.half,
            self.minutes + other.minutes,
            other.hashes | self.hashes,
            tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def write(finished: Finished, directory: Path) -> None:
    """Write neurons.parquet (a row a neuron, its truth and every score's value) and about.json."""
    write_parquet(long_table(finished), directory / NEURONS)
    about = {
        "titles": finished.titles,
        "half": finished.half,
        "minutes": finished.minutes,
        "hashes": finished.hashes,
        "notes": finished.notes,
        "sets": [
            {
                "name": measured.facts.name,
                "seconds": measured.seconds,
                # In their order, by which intervals draw.
                "features": [[each.name, each.family, each.kind] for each in measured.facts.features],
                "results": {name: [result.seconds, result.failed] for name, result in measured.results.items()},
            }
            for measured in finished.sets
        ],
    }
    (directory / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def place_of(directory: Path) -> Path:
    """Where a finished benchmark lies: OUT/bench, named so or by OUT.

    Raises:
        BadInput: there is none.
    """
    place = directory if (directory / ABOUT).is_file() else directory / "bench"
    if not (place / ABOUT).is_file():
        raise BadInput(f"--also: {directory}: no finished benchmark of scores there")
    return place


def read(directory: Path) -> Finished:
    """Read what `write` wrote into a sealed directory, OUT or OUT/bench.

    Raises:
        BadInput: no finished benchmark there, a damaged one, or one that another version wrote otherwise.
    """
    place = place_of(directory)
    verify(place)
    about = read_json(place / ABOUT, 100_000_000)
    table = read_parquet(place / NEURONS)
    try:
        sets = [_read_set(table.filter(pl.col("set") == one["name"]), one) for one in about["sets"]]
        return Finished(sets, about["titles"], about["half"], about["minutes"], about["hashes"], tuple(about["notes"]))
    except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        raise BadInput(f"--also: {directory}: was written by another version of the program; run it again") from None


def _read_set(rows: pl.DataFrame, one: dict) -> MeasuredSet:
    first = rows.row(0, named=True)
    features = tuple(PlantedFeature(name, family, kind, first["half"]) for name, family, kind in one["features"])
    place = {(each.name, each.family, each.kind): index for index, each in enumerate(features)}
    members = np.zeros((len(rows), len(features)), bool)
    for row, *columns in zip(members, *(rows[name].to_list() for name in ("features", "families", "kinds"))):
        row[[place[key] for key in zip(*columns)]] = True
    facts = SetFacts(
        first["set"],
        first["layer"],
        first["corpus"],
        first["design"],
        first["half"],
        first["act"],
        rows["k"].to_numpy().astype(np.int64),
        members,
        features,
        rows["firing_rate"].to_numpy(),
    )
    results = {
        name: Result(rows[name].to_numpy(), seconds, failed) for name, (seconds, failed) in one["results"].items()
    }
    return MeasuredSet(facts, results, one["seconds"])


def long_table(finished: Finished) -> pl.DataFrame:
    """A row a neuron: its set, what it answers to (features, families, kinds, k), its firing rate, and every score."""
    parts = []
    for measured in finished.sets:
        facts = measured.facts
        same = {name: getattr(facts, name) for name in ("layer", "corpus", "design", "half", "act")}
        own = [[facts.features[index] for index in np.flatnonzero(row).tolist()] for row in facts.members]
        n = len(facts.k)
        columns: dict[str, list | range | ndarray] = {
            "neuron": range(n),
            "k": facts.k,
            "features": [[feature.name for feature in features] for features in own],
            "families": [[feature.family for feature in features] for features in own],
            "kinds": [[feature.kind for feature in features] for features in own],
            "firing_rate": facts.firing_rate,
        }
        for name in finished.titles:
            result = measured.results.get(name)
            columns[name] = np.full(n, np.nan) if result is None else result.value
        constant = [pl.lit(value).alias(name) for name, value in ({"set": facts.name} | same).items()]
        parts.append(pl.DataFrame(columns).select(*constant, pl.all()))
    return pl.concat(parts, how="vertical_relaxed")
