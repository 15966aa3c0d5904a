"""Scores activations directories on disk: once, and again when the activations, the settings or the code change."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.collect import recorded_settings
from analyze.activations.directory import ResultDirectory, beside, find_directories
from analyze.activations.source import hooks_of
from analyze.activations.store import Activations, drop_sample, open_activations, read_meta
from analyze.nulls import DEFAULT_NULLS, NULLS, checked_nulls
from analyze.scores import SCORES, checked_names
from analyze.scores.fingerprint import fingerprint
from analyze.scores.passages import keep_passages
from analyze.scores.store import read_scores, scores_are_current, write_scores
from analyze.scores.table import score_with_null, with_matched
from train.checkpoint import load
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import manifest_hash, read_manifest
from train.filesystem import require_features


@dataclass(frozen=True)
class Scored:
    """One scored directory."""

    directory: Path
    found: bool
    """Whether its scores were there already."""
    n_neurons: int
    seconds: float
    without: tuple[str, ...] = ()
    """Requested nulls that the activations do not allow."""
    replaced: tuple[str, ...] = ()
    """Scores and nulls that stood there before and are gone: nulls that were not requested, scores of other code."""

    def line(self) -> str:
        """The outcome in one line."""
        did = "found" if self.found else "wrote"
        without = f"; cannot be made of it: {', '.join(self.without)}" if self.without else ""
        gone = f"; no longer there: {', '.join(self.replaced)}" if self.replaced else ""
        return f"{did} {self.directory}: {self.n_neurons:,} neurons, {self.seconds:.1f} s{without}{gone}"


def score(
    directories: Path | str | Iterable[Path | str],
    scores: Iterable[str] | None = None,
    *,
    nulls: Iterable[str] = DEFAULT_NULLS,
    seed: int = 0,
    drop_samples: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Scored]:
    """Score every neuron of collected activations, and nulls of them, unless these very scores stand there.

    A directory holds one table. Scores that stand there, made by today's code with these nulls, stay beside those that
    are requested; nulls that are not requested go.

    Args:
        directories: activations directories, or directories that hold some at any depth.
        scores: which of SCORES; "all", or None: all that are not optional.
        nulls: which of NULLS to score beside the neurons; z is against the first that can be made.
        seed: of the nulls.
        drop_samples: delete the samples of whole activations once scores stand; `collect` makes them again.
        say: takes a line for each directory as soon as it is scored.

    Raises:
        BadInput: an unknown score or null, no such directory, or a deleted sample where scores must be made.
    """
    paths = [directories] if isinstance(directories, (str, Path)) else directories
    scored = []
    for directory in activations_under(paths):
        scored.append(score_directory(directory, scores, seed, drop_samples, nulls))
        say(scored[-1].line())
    return scored


def activations_under(paths: Iterable[Path | str]) -> list[Path]:
    """Activations directories among and below `paths`, each once, in order.

    Raises:
        BadInput: a path that is not there or holds none.
    """
    directories: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise BadInput(f"{path}: no such directory")
        below = [path] if (path / "meta.json").is_file() else find_directories(path)
        if not below:
            raise BadInput(f"{path}: holds no activations; `python -m analyze collect` makes them")
        directories |= dict.fromkeys(below)
    return list(directories)


def score_directory(
    directory: Path,
    names: Iterable[str] | None = None,
    seed: int = 0,
    drop_samples: bool = False,
    nulls: Iterable[str] = DEFAULT_NULLS,
) -> Scored:
    """Score one activations directory, beside its nulls, unless that is done. Scores that stand there stay if they fit.

    Args:
        names: which of SCORES; by default all that are not optional.
        seed: of the nulls.
        drop_samples: delete the sample of whole activations once scores stand; `collect` makes it again.
        nulls: which of NULLS; z is against the first that can be made.

    Raises:
        BadInput: an unknown score or null, or a deleted sample where scores must be made.
    """
    names, nulls = checked_names(names), checked_nulls(nulls)
    settings = _with_kept(directory, names, seed, nulls)
    found, replaced = scores_are_current(directory, settings), set()
    if not found:
        require_features(directory.parent)
        start = time.perf_counter()
        acts = open_activations(directory)
        before = _settings_before(directory)
        replaced = {*before.get("scores", ()), *before.get("nulls", ())} - {*settings["scores"], *nulls}
        table = _table(acts, directory, settings)
        write_scores(directory, table, settings, time.perf_counter() - start)
    sealed = beside(directory, "scores")
    scores, facts = read_scores(sealed)
    if drop_samples:
        keep_passages(directory)  # before the sample goes: what the report highlights
        drop_sample(directory)
    made = set(scores["null"].unique())
    without = tuple(null for null in nulls if null not in made)
    return Scored(sealed, found, facts["meta"]["n_neurons"], facts["seconds"], without, tuple(sorted(replaced)))


def scored_step(
    checkpoint: Path,
    data: Path,
    results: Path,
    sample_tokens: int | None,
    max_neurons: int | None = None,
    names: Iterable[str] | None = None,
    nulls: Iterable[str] = DEFAULT_NULLS,
) -> list[Path]:
    """The activations directories of a checkpoint, if all of them are collected with these settings and scored.

    Empty otherwise. For a study that deletes samples after scoring, which need not collect what is scored.

    Args:
        names: as for `score_directory`; the seed of the nulls is 0.
        nulls: likewise.
    """
    names, nulls = checked_names(names), checked_nulls(nulls)
    opened = load(checkpoint)
    tokens = TokenFile.open(data, split="eval", n_ctx=opened.config.n_ctx)
    wanted = [
        ResultDirectory(results, opened.state["run"], opened.step, layer, hook).path
        for layer in range(opened.config.n_layers)
        for hook in hooks_of(opened.config)
    ]
    for directory in wanted:
        if not (directory / "meta.json").is_file():
            return []
        meta = read_meta(directory)
        collected = recorded_settings(tokens, meta.n_neurons, sample_tokens=sample_tokens, max_neurons=max_neurons)
        is_same = (meta.checkpoint_hash, meta.data_hash, meta.settings) == (opened.hash, tokens.data_hash, collected)
        if not is_same:
            return []
        if not scores_are_current(directory, _with_kept(directory, names, 0, nulls)):
            return []
    return wanted


def _settings_before(directory: Path) -> dict[str, Any]:
    """The settings of the scores that stand beside an activations directory; none where there are no such scores."""
    sealed = beside(directory, "scores")
    return read_manifest(sealed).get("settings", {}) if sealed.is_dir() else {}


def _fitting(directory: Path, seed: int, nulls: list[str]) -> list[str]:
    """The scores beside an activations directory that today's code would make of it with these nulls, in order."""
    before = _settings_before(directory)
    if before.get("null_seed") != seed or not set(nulls) <= set(before.get("nulls", ())):
        return []
    if read_manifest(beside(directory, "scores")).get("activations_hash") != manifest_hash(directory):
        return []
    known = [name for name in before.get("scores", ()) if name in SCORES]
    then, code = before.get("code", {}), _code(known, nulls)
    if any(then.get(name) != code[name] for name in ("table", *(null for null in nulls if null in code))):
        return []
    return [name for name in known if then.get(name) == code[name]]


def _with_kept(directory: Path, names: list[str], seed: int, nulls: list[str]) -> dict[str, Any]:
    """The settings of the table to make: what is requested, and the scores that stand there and fit."""
    kept = _fitting(directory, seed, nulls)
    names = [*kept, *(name for name in names if name not in kept)]
    return {"scores": names, "nulls": nulls, "null_seed": seed, "code": _code(names, nulls)}


def _table(acts: Activations, directory: Path, settings: dict[str, Any]) -> pl.DataFrame:
    """The table of some settings; where all the scores that stand there fit, they are not made again."""
    names, seed, nulls = settings["scores"], settings["null_seed"], settings["nulls"]
    kept = _fitting(directory, seed, nulls)
    if not kept or kept != _settings_before(directory)["scores"]:
        return score_with_null(acts, names, seed, nulls)
    fresh = score_with_null(acts, [name for name in names if name not in kept], seed, nulls)
    there = read_scores(beside(directory, "scores"))[0].filter(pl.col("null").is_in(["none", *nulls]))
    if set(there["null"]) != set(fresh["null"]):
        return score_with_null(acts, names, seed, nulls)  # a null could be made then and cannot be now, or the reverse
    rows = ["neuron", "null"]
    old = there.select(*rows, pl.exclude(*rows, *fresh.columns))
    table = fresh.join(old, on=rows, how="left", maintain_order="left")
    matched = [name for name in table.columns if name.endswith(("_null_mean", "_null_z"))]
    made = [null for null in table["null"].unique(maintain_order=True) if null != "none"]
    return with_matched(table.drop(matched), names, made[0] if made else None)


def _code(names: list[str], nulls: list[str]) -> dict[str, str]:
    """Fingerprints of what a table is made by: its scores, nulls, and `table`."""
    modules = {name: type(SCORES[name]).__module__ for name in names}
    modules |= {null: make.__module__ for null in nulls if (make := NULLS[null].make)}
    code = {name: fingerprint(module, deep=True) for name, module in modules.items()}
    # The table is of the scores and nulls above: others that the registries find do not make it older.
    code["table"] = fingerprint(score_with_null.__module__, deep=True, registries=False)
    return code
