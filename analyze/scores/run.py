"""Scores activations directories on disk: once, and again when the activations, the settings or the code change."""

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.checks import recorded_settings
from analyze.activations.directory import ResultDirectory, beside, find_directories
from analyze.activations.provenance import located, origin_of, require_origin
from analyze.activations.source import hooks_of
from analyze.activations.store import Activations, drop_sample, open_activations, read_meta
from analyze.activations.threads import one_torch_thread
from analyze.nulls import DEFAULT_NULLS, NULLS, checked_nulls
from analyze.scores import SCORES, checked_names
from analyze.scores.fingerprint import fingerprint
from analyze.scores.parts import Layer, affordable, score_in_workers
from analyze.scores.passages import keep_passages
from analyze.scores.store import not_made, read_scores, scores_are_current, write_scores
from analyze.scores.table import score_with_null, with_matched
from train.checkpoint import load
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import manifest_hash, read_manifest
from train.filesystem import require_features
from train.workers import Workers, checked_jobs, one_thread, workers

CHECKPOINT = "its checkpoint, which was not found: see --checkpoints"
"""What a score of the weights lacks that was not named and whose checkpoint was nowhere."""


@dataclass(frozen=True)
class Scored:
    """One scored directory."""

    directory: Path
    found: bool
    """Whether its scores were there already."""
    n_neurons: int
    seconds: float
    without: Mapping[str, str] = field(default_factory=dict)
    """Requested nulls and scores that could not be made, and what they need."""
    replaced: tuple[str, ...] = ()
    """Scores and nulls that stood there before and are gone: nulls that were not requested, scores of other code."""

    def line(self) -> str:
        """The outcome in one line."""
        did = "found" if self.found else "wrote"
        reasons = [f"{null} (needs {needs})" for null, needs in self.without.items()]
        without = f"; cannot be made of it: {', '.join(reasons)}" if reasons else ""
        gone = f"; no longer there: {', '.join(self.replaced)}" if self.replaced else ""
        return f"{did} {self.directory}: {self.n_neurons:,} neurons, {self.seconds:.1f} s{without}{gone}"


def score(
    directories: Path | str | Iterable[Path | str],
    scores: Iterable[str] | None = None,
    *,
    nulls: Iterable[str] = DEFAULT_NULLS,
    seed: int = 0,
    drop_samples: bool = False,
    data: Iterable[Path | str] = (),
    checkpoints: Iterable[Path | str] = (),
    say: Callable[[str], None] = lambda line: None,
    jobs: int | None = None,
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
        data, checkpoints: where to look first for what has moved (see `train.locate`).
        say: takes a line for each directory as soon as it is scored, and what is to be said of `jobs`.
        jobs: processes at most; by default as many as there are cores that this process may use. Changes no result.

    Raises:
        EnvironmentProblem: the system ended a worker process.
        BadInput: `jobs` below 1, an unknown score or null, no such directory, a deleted sample where scores must be
            made, or data or a checkpoint that a requested null or score reads and that are nowhere.
    """
    data, checkpoints, jobs = list(data), list(checkpoints), checked_jobs(jobs, say)
    paths = [directories] if isinstance(directories, (str, Path)) else directories
    scored = []
    with workers(jobs) as pool:
        for directory in activations_under(paths):
            made = _score_directory(directory, scores, seed, drop_samples, nulls, data, checkpoints, pool, say)
            scored.append(made)
            say(made.line())
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
            raise BadInput(f"{path}: holds no activations; `polysem collect` makes them")
        directories |= dict.fromkeys(below)
    return list(directories)


def score_directory(
    directory: Path,
    names: Iterable[str] | None = None,
    seed: int = 0,
    drop_samples: bool = False,
    nulls: Iterable[str] = DEFAULT_NULLS,
    data: Iterable[Path | str] = (),
    checkpoints: Iterable[Path | str] = (),
    jobs: int | None = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Scored:
    """Score one activations directory, beside its nulls, unless that is done. Scores that stand there stay if they fit.

    Args:
        names: which of SCORES; by default all that are not optional.
        seed: of the nulls.
        drop_samples: delete the sample of whole activations once scores stand; `collect` makes it again.
        nulls: which of NULLS; z is against the first that can be made.
        data, checkpoints, jobs, say: as for `score`.

    Raises:
        BadInput, EnvironmentProblem: as `score`.
    """
    with workers(checked_jobs(jobs, say)) as pool:
        return _score_directory(directory, names, seed, drop_samples, nulls, data, checkpoints, pool, say)


def _score_directory(
    directory: Path,
    names: Iterable[str] | None,
    seed: int,
    drop_samples: bool,
    nulls: Iterable[str],
    data: Iterable[Path | str],
    checkpoints: Iterable[Path | str],
    pool: Workers,
    say: Callable[[str], None],
) -> Scored:
    asked = [] if names is None else list(names)
    names, nulls = checked_names(None if names is None else asked), checked_nulls(nulls)
    again = _found_again(directory, asked, data, checkpoints)
    settings = _with_kept(directory, names, seed, nulls, again)
    found, replaced = not again and scores_are_current(directory, settings), set()
    if not found:
        require_features(directory.parent)
        start = time.perf_counter()
        layer = Layer(directory, tuple(map(Path, data)), tuple(map(Path, checkpoints)))
        acts = located(open_activations(directory), layer.data, layer.checkpoints)
        before, kept = _settings_before(directory), _fitting(directory, seed, nulls, again)
        _require_weights(acts, [name for name in asked if name != "all" and name not in kept], nulls)
        replaced = {*before.get("scores", ()), *before.get("nulls", ())} - {*settings["scores"], *nulls}

        def make(names: list[str]) -> pl.DataFrame:
            if affordable(acts, pool, say):
                return score_in_workers(layer, acts, names, seed, nulls, pool)
            with one_thread(), one_torch_thread():
                return score_with_null(acts, names, seed, nulls)

        table, kept = _table(make, directory, settings, kept)
        without = _without(acts, table, settings, kept, directory)
        write_scores(directory, table, settings, time.perf_counter() - start, without)
    sealed = beside(directory, "scores")
    scores, facts = read_scores(sealed)
    if drop_samples:
        keep_passages(directory)  # before the sample goes: what the report highlights
        drop_sample(directory)
    n_neurons, without = facts["meta"]["n_neurons"], not_made(facts, scores)
    return Scored(sealed, found, n_neurons, facts["seconds"], without, tuple(sorted(replaced)))


def scored_step(
    checkpoint: Path,
    data: Path,
    results: Path,
    sample_tokens: int | None,
    max_neurons: int | None = None,
    names: Iterable[str] | None = None,
    nulls: Iterable[str] = DEFAULT_NULLS,
    hooks: Iterable[str] | None = None,
) -> list[Path]:
    """The activations directories of a checkpoint, if all of them are collected with these settings and scored.

    Empty otherwise. For a study that deletes samples after scoring, which need not collect what is scored.

    Args:
        names: as for `score_directory`; the seed of the nulls is 0.
        nulls: likewise.
        hooks: only these; default: all that `collect` takes.
    """
    names, nulls = checked_names(names), checked_nulls(nulls)
    opened = load(checkpoint)
    tokens = TokenFile.open(data, split="eval", n_ctx=opened.config.n_ctx)
    wanted = [
        ResultDirectory(results, opened.state["run"], opened.step, layer, hook).path
        for layer in range(opened.config.n_layers)
        for hook in hooks_of(opened.config)
        if hooks is None or hook in hooks
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


def _require_weights(acts: Activations, names: list[str], nulls: list[str]) -> None:
    """Refuse before the long work a null, or a score that was named, whose checkpoint is nowhere.

    A score that only `all` asks for is NA then, until the checkpoint is found.
    """
    for null in nulls:
        if NULLS[null].reads_weights:
            require_origin(acts, null, "--nulls")
    for name in names:
        if "weights" in SCORES[name].needs:
            require_origin(acts, name, "--scores")


def _found_again(
    directory: Path, asked: list[str], data: Iterable[Path | str], checkpoints: Iterable[Path | str]
) -> set[str]:
    """The scores that stand there without figures, whose checkpoint or package is found by now.

    Raises:
        BadInput: one of them is asked for by its name, and the checkpoint is still nowhere.
    """
    without = _without_before(directory)
    installed = {name for name in without if name in SCORES and _is_package(without[name]) and not SCORES[name].lacks()}
    lacking = {name for name, needs in without.items() if needs == CHECKPOINT}
    if not lacking:
        return installed
    acts = located(open_activations(directory), data, checkpoints)
    _require_weights(acts, [name for name in asked if name in lacking], [])
    return installed if origin_of(acts) is None else installed | lacking


def _is_package(needs: str) -> bool:
    return needs.startswith("the package ")


def _without_before(directory: Path) -> dict[str, str]:
    sealed = beside(directory, "scores")
    return read_manifest(sealed).get("without", {}) if sealed.is_dir() else {}


def _without(
    acts: Activations, table: pl.DataFrame, settings: dict[str, Any], kept: list[str], directory: Path
) -> dict[str, str]:
    """What was asked for and could not be made, and what it needs."""
    made = set(table["null"].unique())
    without = {null: NULLS[null].needs for null in settings["nulls"] if null not in made}
    without |= {name: needs for name, needs in _without_before(directory).items() if name in kept}
    if acts.meta.checkpoint_dir and origin_of(acts) is None:
        fresh = [name for name in settings["scores"] if name not in kept]
        without |= {name: CHECKPOINT for name in fresh if "weights" in SCORES[name].needs}
    without |= {name: lacks for name in settings["scores"] if name not in kept and (lacks := SCORES[name].lacks())}
    return without


def _settings_before(directory: Path) -> dict[str, Any]:
    """The settings of the scores that stand beside an activations directory; none where there are no such scores."""
    sealed = beside(directory, "scores")
    return read_manifest(sealed).get("settings", {}) if sealed.is_dir() else {}


def _fitting(directory: Path, seed: int, nulls: list[str], again: Container[str] = ()) -> list[str]:
    """The scores beside an activations directory that today's code would make of it with these nulls, in order.

    Args:
        again: those that are to be made again all the same.
    """
    before = _settings_before(directory)
    if before.get("null_seed") != seed or not set(nulls) <= set(before.get("nulls", ())):
        return []
    if read_manifest(beside(directory, "scores")).get("activations_hash") != manifest_hash(directory):
        return []
    known = [name for name in before.get("scores", ()) if name in SCORES]
    then, code = before.get("code", {}), _code(known, nulls)
    if any(then.get(name) != code[name] for name in ("table", *(null for null in nulls if null in code))):
        return []
    return [name for name in known if then.get(name) == code[name] and name not in again]


def _with_kept(
    directory: Path, names: list[str], seed: int, nulls: list[str], again: Container[str] = ()
) -> dict[str, Any]:
    """The settings of the table to make: what is requested, and the scores that stand there and fit."""
    kept = _fitting(directory, seed, nulls, again)
    names = [*kept, *(name for name in names if name not in kept)]
    return {"scores": names, "nulls": nulls, "null_seed": seed, "code": _code(names, nulls)}


def _table(
    make: Callable[[list[str]], pl.DataFrame], directory: Path, settings: dict[str, Any], kept: list[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The table of some settings, and the scores in it that were not made again: those that fit, where all do.

    Args:
        make: makes the table of some scores, with the nulls of these settings.
    """
    names, nulls = settings["scores"], settings["nulls"]
    if not kept or kept != _settings_before(directory)["scores"]:
        return make(names), []
    fresh = make([name for name in names if name not in kept])
    there = read_scores(beside(directory, "scores"))[0].filter(pl.col("null").is_in(["none", *nulls]))
    if set(there["null"]) != set(fresh["null"]):
        # A null could be made then and cannot be now, or the reverse.
        return make(names), []
    rows = ["neuron", "null"]
    old = there.select(*rows, pl.exclude(*rows, *fresh.columns))
    table = fresh.join(old, on=rows, how="left", maintain_order="left")
    matched = [name for name in table.columns if name.endswith(("_null_mean", "_null_z"))]
    made = [null for null in table["null"].unique(maintain_order=True) if null != "none"]
    return with_matched(table.drop(matched), names, made[0] if made else None), kept


def _code(names: list[str], nulls: list[str]) -> dict[str, str]:
    """Fingerprints of what a table is made by: its scores, nulls, and `table`."""
    modules = {name: type(SCORES[name]).__module__ for name in names}
    modules |= {null: make.__module__ for null in nulls if (make := NULLS[null].make)}
    code = {name: fingerprint(module, deep=True) for name, module in modules.items()}
    # The table is of the scores and nulls above: others that the registries find do not make it older.
    code["table"] = fingerprint(score_with_null.__module__, deep=True, registries=False)
    return code
