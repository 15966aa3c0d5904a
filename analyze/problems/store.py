"""Findings on disk: one directory a problem, measurements kept one by one so that a stopped run goes on.

OUT/4.24/measurements/<hash>/   sealed: measurement.json and its tables as Parquet, one a checkpoint
OUT/4.24/finding.json           the verdict and everything that it goes by
OUT/4.24/figures/*.svg, 4.24.html
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyze.problems.base import Finding, Measured, Measurement, VariantAnswer
from analyze.statistics import Estimate
from train.errors import BadInput
from train.files import found_or_made, read_json, write_atomic
from train.parquet import read_parquet, write_parquet

FORMAT_VERSION = 1
MAX_BYTES = 50_000_000


def measured_or_found(directory: Path, facts: dict[str, Any], make: Callable[[], Measured]) -> tuple[Measured, bool]:
    """The measurement in a directory where it says the same facts; else a new one, written there.

    Returns:
        The measurement, and whether it was there.
    """

    def write(aside: Path) -> None:
        measured = make()
        record = asdict(measured)
        tables: Mapping[str, pl.DataFrame] = measured.measurement.tables
        record["measurement"] |= {
            "tables": sorted(tables),
            "null": [float(draw) for draw in measured.measurement.null],
            "statistic": finite(measured.measurement.statistic),
            "untrained": finite(measured.measurement.untrained),
            "reference": finite(measured.measurement.reference),
            "details": {name: finite(value) for name, value in measured.measurement.details.items()},
        }
        (aside / "measurement.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        for name, table in tables.items():
            write_parquet(table, aside / f"{name}.parquet")

    found = found_or_made(directory, {"kind": "measurement", "format_version": FORMAT_VERSION, **facts}, write)
    return read_measured(directory), found


def read_measured(directory: Path) -> Measured:
    """A measurement as it was written.

    Raises:
        BadInput: a file that is none.
    """
    path = directory / "measurement.json"
    record = read_json(path, MAX_BYTES)
    try:
        inner = record["measurement"]
        measurement = Measurement(
            statistic=_number(inner["statistic"]),
            null=np.array(inner["null"], dtype=np.float64),
            untrained=_number(inner["untrained"]),
            reference=_number(inner.get("reference")),
            why_not=str(inner["why_not"]),
            details={name: _number(value) for name, value in inner["details"].items()},
            tables={name: read_parquet(directory / f"{name}.parquet") for name in inner["tables"]},
            doubts=tuple(inner["doubts"]),
            settled=bool(inner.get("settled", True)),
        )
        return Measured(**{key: record[key] for key in record if key != "measurement"}, measurement=measurement)
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise BadInput(f"{path}: not a measurement ({failure})") from None


def write_finding(directory: Path, finding: Finding, facts: dict[str, Any]) -> None:
    """Write finding.json: what was asked, by which rule, and what came out."""
    record = {"format_version": FORMAT_VERSION, **facts, **_plain(asdict(finding))}
    write_atomic(directory / "finding.json", json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")


def read_finding(directory: Path) -> tuple[Finding, dict[str, Any]] | None:
    """A finding and its facts as they were written; None where none is there.

    Raises:
        BadInput: a file that is none.
    """
    path = directory / "finding.json"
    if not path.is_file():
        return None
    record = read_json(path, MAX_BYTES)
    try:
        variants = tuple(
            VariantAnswer(
                **{
                    **answer,
                    "power": _number(answer["power"]),
                    **{key: _estimate(answer[key]) for key in ("statistic", "null", "effect")},
                }
            )
            for answer in record["variants"]
        )
        finding = Finding(record["verdict"], record["sentence"], variants, tuple(record["doubts"]))
    except (KeyError, TypeError) as failure:
        raise BadInput(f"{path}: not a finding ({failure})") from None
    return finding, {key: record[key] for key in record if key not in asdict(finding)}


def finite(value: float) -> float | None:
    """JSON has no NaN: None stands for it."""
    return float(value) if isfinite(value) else None


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def _estimate(values: dict[str, Any]) -> Estimate:
    return Estimate(*(_number(values[key]) for key in ("mean", "low", "high", "sd")), n=int(values["n"]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return finite(value) if isinstance(value, float) else value
