"""Widened variants beside the parent they start from and the controls without which nothing follows from them."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
import polars as pl

from analyze.activations.directory import ResultDirectory
from analyze.comparison.summary import Judge, Measured
from analyze.statistics import Estimate, mean_interval, paired_interval
from train.tracking import read_metrics

Key = tuple[str, int, str]
"""Variant, layer, hook."""
CONTROLS = ("narrow", "unparted")
"""What an arm is held against: its start trained on without widening; as many copies that nothing parted."""


def finite(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return value if isfinite(value) else None


def interval(name: str, found: Estimate, least: float = -np.inf, most: float = np.inf) -> dict[str, Any]:
    """`name`, `name_low`, `name_high`; an interval of shares or counts ends where shares and counts do."""
    low, high = (float(np.clip(end, least, most)) for end in (found.low, found.high))
    return {name: finite(found.mean), f"{name}_low": finite(low), f"{name}_high": finite(high)}


def arms_beside_controls(
    rows: Sequence[dict[str, Any]], measured: Mapping[Key, Mapping[int, Measured]], judges: Sequence[Judge]
) -> pl.DataFrame:
    """Parents and, behind each, the variants that start from it: losses at birth and end, and shares.

    Shares count each cluster of duplicates once. A widened arm has its differences to both CONTROLS, paired by seed
    with 95 % t intervals: `<score>_over_narrow`, `<score>_over_unparted` and `loss_over_narrow`; null where the
    control is not there. `<score>_beats_both` is "yes" where both intervals lie above 0, "no" where either lies below
    it, else "not shown"; null where a control or the interval is missing.
    """
    roots = {row["root_variant"] for row in rows if row["start_runs"]}
    kept = [row for root in roots for row in rows if row["root_variant"] == root]
    kept.sort(key=lambda row: (*(row[key] for key in ("root_variant", "layer", "hook")), *_order(row, measured)))
    table = []
    for row in kept:
        own = measured[_key(row)]
        births = []
        for each in own.values():
            run = ResultDirectory.of(each.cell.directory).run_directory
            evals = read_metrics(run / "metrics.jsonl", "eval")
            births.append(evals[0]["loss"] if evals else nan)
        same = ("variant", "layer", "hook", "root_variant", "start_runs", "factor", "n_seeds", "n_neurons", "n_params")
        arm = {key: row[key] for key in (*same, "eval_loss", "eval_loss_low", "eval_loss_high")}
        arm["scheme"] = _scheme(own)
        arm["birth_loss"] = finite(mean_interval(births).mean)
        for key, value in row.items():
            if "_mono_once" in key or key.endswith("_mono_share"):
                arm[key] = value
        controls = {name: _control(name, row, kept, measured) for name in CONTROLS}
        narrow = controls["narrow"]
        arm |= interval("loss_over_narrow", _difference(own, narrow, lambda each: each.cell.meta["eval_loss"]))
        for judge in judges:
            figure = f"{judge.name}_mono_once_share"
            found = {
                name: _difference(own, control, lambda each, figure=figure: each.figures[figure])
                for name, control in controls.items()
            }
            for name, estimate in found.items():
                arm |= interval(f"{judge.name}_over_{name}", estimate, -1.0, 1.0)
            arm[f"{judge.name}_beats_both"] = _beats(found.values())
        table.append(arm)
    return pl.DataFrame(table, infer_schema_length=None)


def _key(row: dict[str, Any]) -> Key:
    return row["variant"], row["layer"], row["hook"]


def _order(row: dict[str, Any], measured: Mapping[Key, Mapping[int, Measured]]) -> tuple[Any, ...]:
    """Parents first, then by factor, and of one factor the arm without noise first."""
    return bool(row["start_runs"]), row["factor"], _scheme(measured[_key(row)]) != "none", row["variant"]


def _scheme(by_seed: Mapping[int, Measured]) -> str | None:
    return next(iter(by_seed.values())).cell.meta.get("scheme")


def _control(
    name: str, row: dict[str, Any], rows: Iterable[dict[str, Any]], measured: Mapping[Key, Mapping[int, Measured]]
) -> Mapping[int, Measured] | None:
    """The arm of that kind with the same start, layer and hook; None for what is not widened, or is itself one."""
    if row["factor"] == 1 or not row["start_runs"]:
        return None
    for other in rows:
        same = all(other[key] == row[key] for key in ("start_runs", "layer", "hook")) and other is not row
        if not same:
            continue
        if name == "narrow" and other["factor"] == 1:
            return measured[_key(other)]
        if name == "unparted" and other["factor"] == row["factor"] and _scheme(measured[_key(other)]) == "none":
            return measured[_key(other)]
    return None


def _difference(own: Mapping[int, Measured], control: Mapping[int, Measured] | None, figure: Any) -> Estimate:
    if control is None:
        return mean_interval([])
    seeds = sorted(set(own) & set(control))
    pairs = [(figure(own[seed]), figure(control[seed])) for seed in seeds]
    pairs = [(nan if a is None else a, nan if b is None else b) for a, b in pairs]
    return paired_interval([a for a, _ in pairs], [b for _, b in pairs])


def _beats(found: Iterable[Estimate]) -> str | None:
    estimates = list(found)
    if not all(estimate.has_interval for estimate in estimates):
        return None
    if all(estimate.low > 0 for estimate in estimates):
        return "yes"
    return "no" if any(estimate.high < 0 for estimate in estimates) else "not shown"
