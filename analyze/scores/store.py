"""Sealed tables of scores beside the activations they were made from: writes, reads and checks them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.directory import beside, find_directories
from analyze.activations.store import FORMAT_VERSION, read_meta
from train.errors import BadInput
from train.files import canonical_json, manifest_hash, publishing, verify
from train.parquet import read_parquet, write_parquet


def write_scores(
    directory: Path,
    scores: pl.DataFrame,
    settings: dict[str, Any],
    seconds: float,
    without: Mapping[str, str] | None = None,
) -> Path:
    """Seal a table of scores beside the activations it was made from, replacing an older one.

    Args:
        directory: the activations directory.
        scores: one row a neuron, with column `null` ("none", or the kind of null the rows are of).
        settings: what the scores depend on beside the activations; JSON.
        seconds: how long scoring took.
        without: nulls and scores that could not be made, and what they need.
    """
    facts = {
        "kind": "scores",
        "format_version": FORMAT_VERSION,
        "activations_hash": manifest_hash(directory),
        "settings": settings,
        "seconds": seconds,
        "without": dict(without or {}),
        "meta": asdict(read_meta(directory)),
    }
    final = beside(directory, "scores")
    with publishing(final, facts, replace=True) as aside:
        write_parquet(scores, aside / "scores.parquet")
    return final


def read_scores(directory: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A sealed table of scores and the facts of its manifest.

    Args:
        directory: the `.scores` directory.

    Raises:
        BadInput: not such a directory, another format version, or damaged.
    """
    manifest = verify(directory)
    if manifest.get("kind") != "scores" or manifest.get("format_version") != FORMAT_VERSION:
        raise BadInput(f"{directory}: not scores of format version {FORMAT_VERSION}; score again")
    return read_parquet(directory / "scores.parquet"), manifest


def not_made(manifest: dict[str, Any], scores: pl.DataFrame) -> dict[str, str]:
    """The nulls and scores that were asked for and could not be made, and what they need."""
    if "without" in manifest:
        return manifest["without"]
    made = set(scores["null"].unique())
    # An earlier version did not say why, nor whether the checkpoint was only not found.
    return {
        null: "what was not found; score again" for null in manifest["settings"].get("nulls", ()) if null not in made
    }


def scores_are_current(directory: Path, settings: dict[str, Any]) -> bool:
    """Whether sealed scores stand beside `directory`, made from these activations with these settings."""
    scores = beside(directory, "scores")
    if not scores.is_dir():
        return False
    verify(directory)
    manifest = verify(scores)
    same = manifest.get("activations_hash") == manifest_hash(directory)
    return same and canonical_json(manifest.get("settings")) == canonical_json(settings)


def load_scores(results: Path | str) -> pl.DataFrame:
    """Every neuron's scores under a results directory: all runs, steps, layers and hooks.

    Returns:
        One row a neuron and null, the columns of scores.parquet behind those of ActivationsMeta (without
        `settings` and `recipe`) and `path`, the `.scores` directory relative to `results`.

    Raises:
        BadInput: no scores there, damaged ones, or ones made from other activations than lie beside them.
    """
    root = Path(results)
    frames = []
    for directory in find_directories(root, "scores"):
        scores, manifest = read_scores(directory)
        activations = beside(directory, "activations")
        if activations.is_dir() and manifest_hash(activations) != manifest["activations_hash"]:
            raise BadInput(f"{directory}: made from other activations than lie beside it; score again")
        meta = {key: value for key, value in manifest["meta"].items() if key not in ("settings", "recipe")}
        meta["path"] = str(directory.relative_to(root))
        literals = [pl.lit(value).alias(key) for key, value in meta.items()]
        frames.append(scores.select(*literals, pl.all()))
    if not frames:
        raise BadInput(f"{root}: no scores here; `polysem score` writes them")
    return pl.concat(frames, how="diagonal_relaxed")
