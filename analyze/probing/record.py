"""Probes on disk: one sealed directory for each directory of activations; read together as one table.

OUT/<run>/step-000001465/L0.mid.probes/   sealed: probes.parquet, one row for each probe
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int
from numpy import ndarray

from analyze.activations.directory import ResultDirectory, find_directories
from analyze.activations.store import ActivationsMeta
from analyze.labels.bank import Label
from analyze.probing.label import Probe, Probed, probe_label
from analyze.scores.fingerprint import fingerprint
from train.errors import BadInput
from train.files import canonical_json, publishing, verify
from train.parquet import read_parquet, write_parquet

FORMAT_VERSION = 1
TABLE = "probes.parquet"
NAMED_NEURONS = 32
"""The table names this many neurons of a sparse probe, those chosen first."""

SCHEMA: dict[str, Any] = {
    "label": pl.String,
    "family": pl.String,
    "truth": pl.String,
    "causal": pl.Boolean,
    "label_hash": pl.String,
    "tokens_fit": pl.Int64,
    "tokens_eval": pl.Int64,
    "documents_fit": pl.Int64,
    "documents_eval": pl.Int64,
    "base_rate": pl.Float64,
    "is_there": pl.Boolean,
    "sparsity": pl.Int64,
    "kind": pl.String,
    "k": pl.Int64,
    "auprc": pl.Float64,
    "auprc_low": pl.Float64,
    "auprc_high": pl.Float64,
    "f1": pl.Float64,
    "f1_low": pl.Float64,
    "f1_high": pl.Float64,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "neurons": pl.List(pl.Int64),
    "shifted_auprc": pl.List(pl.Float64),
    "shifted_f1": pl.List(pl.Float64),
}
PLACE = ("run", "variant", "seed", "step", "layer", "hook", "n_neurons")


def label_hash(positions: Int[ndarray, "_"]) -> str:
    """The identity of a label: sha256 of the stream positions of its tokens."""
    return hashlib.sha256(np.asarray(positions, dtype="<i8").tobytes()).hexdigest()


def rows_of(label: Label, identity: str, probed: Probed) -> pl.DataFrame:
    """One row for each probe: "sparse" for each k, "single" and "dense"; for a rare label one row of kind "NA"."""
    common = {
        "label": label.name,
        "family": label.family,
        "truth": label.truth,
        "causal": label.causal,
        "label_hash": identity,
        **asdict(probed.support),
        "is_there": probed.is_there if probed.dense is not None else None,
        "sparsity": probed.sparsity,
    }
    if probed.dense is None or probed.single is None:
        return pl.DataFrame([{**common, "kind": "NA"}], schema=SCHEMA)
    shifted = {each.k: {"shifted_auprc": each.auprc, "shifted_f1": each.f1} for each in probed.shifted}
    rows = [{**common, **_figures(probe), **shifted.get(probe.k, {})} for probe in probed.sparse]
    rows += [{**common, **_figures(probe)} for probe in (probed.single, probed.dense)]
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _figures(probe: Probe) -> dict[str, Any]:
    return {
        "kind": probe.kind,
        "k": probe.k,
        "auprc": probe.auprc,
        "auprc_low": probe.auprc_interval.low,
        "auprc_high": probe.auprc_interval.high,
        **asdict(probe.called),
        "f1_low": probe.f1_interval.low,
        "f1_high": probe.f1_interval.high,
        "neurons": probe.neurons[:NAMED_NEURONS],
    }


def settings_of(activations_hash: str, ks: Sequence[int], shifts: int) -> dict[str, Any]:
    """What the probes of a label depend on besides the label itself; code by a hash."""
    code = fingerprint(probe_label.__module__, deep=True)
    return {"activations_hash": activations_hash, "ks": sorted(set(ks)), "shifts": shifts, "code": code}


def directory_of(out: Path, meta: ActivationsMeta) -> Path:
    """The directory for the probes of some activations."""
    return ResultDirectory(out, meta.run, meta.step, meta.layer, meta.hook).beside("probes")


def matching_probes(directory: Path, settings: dict[str, Any]) -> pl.DataFrame:
    """The rows in a directory if they were made with these settings; otherwise no rows.

    Raises:
        BadInput: the directory is damaged or is not a directory of probes.
    """
    if not directory.is_dir():
        return pl.DataFrame(schema=SCHEMA)
    manifest = _checked(directory)
    if canonical_json(manifest.get("settings")) != canonical_json(settings):
        return pl.DataFrame(schema=SCHEMA)
    return read_parquet(directory / TABLE)


def require_same_run(directory: Path, meta: ActivationsMeta) -> None:
    """Refuse to replace the probes of another run that has the same name.

    Raises:
        BadInput: naming both.
    """
    before = _checked(directory).get("run_hash") if directory.is_dir() else ""
    if before and meta.run_hash and before != meta.run_hash:
        raise BadInput(
            f"{directory}: holds probes of another run called {meta.run} than {meta.checkpoint_dir}; choose another "
            "--out, or remove it"
        )


def write_probes(directory: Path, rows: pl.DataFrame, settings: dict[str, Any], meta: ActivationsMeta) -> None:
    """Seal the probes of one directory of activations, in place of earlier ones."""
    place = {key: getattr(meta, key) for key in PLACE}
    facts = {"kind": "probes", "format_version": FORMAT_VERSION, "settings": settings, "place": place}
    facts["run_hash"] = meta.run_hash
    with publishing(directory, facts, replace=True) as aside:
        write_parquet(rows, aside / TABLE)


def read_probes(root: Path) -> pl.DataFrame | None:
    """Every probe under a directory: PLACE, then the columns of SCHEMA; None where there is none.

    Raises:
        BadInput: a directory is damaged or has another format version.
    """
    frames = []
    for directory in find_directories(root, "probes"):
        place = _checked(directory)["place"]
        rows = read_parquet(directory / TABLE)
        frames.append(rows.select(*(pl.lit(place[key]).alias(key) for key in PLACE), pl.all()))
    return pl.concat(frames, how="vertical_relaxed") if frames else None


def _checked(directory: Path) -> dict[str, Any]:
    manifest = verify(directory)
    if manifest.get("kind") != "probes" or manifest.get("format_version") != FORMAT_VERSION:
        raise BadInput(f"{directory}: not probes of format version {FORMAT_VERSION}; remove it and probe again")
    return manifest
