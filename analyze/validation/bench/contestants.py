"""Who takes part: the rivals, scores of the project, and a score of the user's own."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.sample import blocks
from analyze.activations.store import Activations
from analyze.scores import SCORES
from analyze.scores.fingerprint import fingerprint
from analyze.validation.bench.rivals.concentration import concentration
from analyze.validation.bench.rivals.neuron_embeddings import neuron_embeddings
from analyze.validation.bench.rivals.shape import firing_rate, kurtosis, token_entropy, wasserstein
from analyze.validation.measure import score_planted, why_not
from train.errors import BadInput, did_you_mean

Function = Callable[[Float[ndarray, "t n"], Int[ndarray, "t"], Int[ndarray, "t"]], Float[ndarray, " n"]]
"""Activations, token ids and documents -> one value a neuron, higher = one feature."""

OWN_NAME = "score"
"""The function that is taken from a file with several."""
ALWAYS = ("k_eff", "rule_share", "ms")
"""Scores of the project that take part unless others are named; a headline that has passed joins them."""


@dataclass(frozen=True)
class Contestant:
    """One score of the benchmark."""

    name: str
    title: str
    run: Callable[[Activations], Float[ndarray, " n"]]
    key: str
    """A hash of its code."""
    own: bool = False
    """Whether it is the user's."""


def rivals() -> list[Contestant]:
    """What the field has, as far as activations and text allow."""
    of_functions: list[tuple[str, str, Function]] = [
        ("firing_rate", "firing rate (low)", firing_rate),
        ("kurtosis", "kurtosis", kurtosis),
        ("wasserstein", "Wasserstein distance from a Gaussian", wasserstein),
        ("token_entropy", "token entropy (low)", token_entropy),
        ("neuron_embeddings", "neuron embeddings, clusters (few)", neuron_embeddings),
    ]
    found = [
        Contestant(name, title, in_blocks(function), fingerprint(function.__module__, deep=True, registries=False))
        for name, title, function in of_functions
    ]
    key = fingerprint(concentration.__module__, deep=True)
    return [*found, Contestant("concentration", "FMS-like concentration", concentration, key)]


def scores_named(names: tuple[str, ...] | None) -> list[Contestant]:
    """Scores of the project; None: ALWAYS and every score that may lead a report.

    Raises:
        BadInput: an unknown name, or a score that cannot read planted neurons.
    """
    from analyze.scores.validity import may_lead

    if names is None:
        leading = tuple(name for name in SCORES if may_lead(name) and name not in ALWAYS and not why_not(SCORES[name]))
        names = (*ALWAYS, *leading)
    found = []
    for name in names:
        if name not in SCORES:
            raise BadInput(f"--scores: {name!r} is not known{did_you_mean(name, list(SCORES))}")
        score = SCORES[name]
        if reason := why_not(score):
            raise BadInput(f"--scores: {name} cannot read planted neurons: {reason}")
        code = fingerprint(type(score).__module__, deep=True)
        found.append(Contestant(name, score.title, lambda acts, score=score: score_planted(score, acts).value, code))
    return found


def in_blocks(function: Function) -> Callable[[Activations], Float[ndarray, " n"]]:
    """A function of arrays as one of activations: it is called with up to 256 neurons at a time."""

    def run(acts: Activations) -> Float[ndarray, " n"]:
        ids, documents = (np.asarray(array, np.int64) for array in (acts.tokens.ids, acts.tokens.document))
        parts = []
        for first, stop in blocks(acts.n_neurons):
            values = np.ascontiguousarray(acts.block(first, stop).numpy())
            parts.append(_checked(function(values, ids, documents), stop - first))
        return np.concatenate(parts)

    return run


def _checked(values: object, n: int) -> Float[ndarray, " n"]:
    """What a function gave, as float64; infinite values as NaN.

    Raises:
        ValueError: something else than n numbers.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"it returned {type(values).__name__}, no array of numbers") from None
    if found.shape != (n,):
        raise ValueError(f"it returned shape {found.shape} for {n} neurons, not ({n},)")
    return np.where(np.isfinite(found), found, np.nan)


def own_score(path: Path) -> Contestant:
    """The score in a user's file: its function `score`, or its only function of three arguments.

    Raises:
        BadInput: no such file, one that cannot be run, or none or several functions to choose from.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give a .py file with a function score(activations, tokens, documents)")
    module = _imported(path)
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    fitting = {name: value for name, value in own.items() if _takes_three(value)}
    if OWN_NAME in own:
        if OWN_NAME not in fitting:
            raise BadInput(f"{path}: score() must take (activations, tokens, documents)")
        chosen = own[OWN_NAME]
    elif len(fitting) == 1:
        (chosen,) = fitting.values()
    else:
        found = ", ".join(sorted(fitting)) or "none"
        raise BadInput(f"{path}: needs one function score(activations, tokens, documents); of three arguments: {found}")
    digest = sha256(path.read_bytes()).hexdigest()
    return Contestant(path.stem, f"{path.stem} (own)", in_blocks(chosen), digest, own=True)


def _takes_three(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(0, 0, 0)
    except TypeError:
        return False
    return True


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"own_score_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path}: not a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        raise BadInput(f"{path}: cannot be run: {type(failure).__name__}: {failure}") from None
    return module
