"""What each contestant makes of each planted set; every pair is measured once and kept."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.scores.fingerprint import fingerprint
from analyze.validation.bench.contestants import Contestant
from analyze.validation.layers.base import PlantedFeature, TruthSet
from train.files import canonical_json, write_atomic
from train.parquet import read_parquet


@dataclass(frozen=True)
class SetFacts:
    """A planted set without its activations."""

    name: str
    layer: int
    corpus: str
    design: str
    half: str
    act: str
    k: Int[ndarray, "n"]
    members: Bool[ndarray, "n f"]
    features: tuple[PlantedFeature, ...]
    firing_rate: Float[ndarray, "n"]

    @property
    def single(self) -> Bool[ndarray, "n"]:
        """Whether each neuron has one feature."""
        return self.k == 1


@dataclass(frozen=True)
class Result:
    """What a contestant made of a set."""

    value: Float[ndarray, "n"]
    seconds: float
    """Processor time."""
    failed: str = ""
    """Why it has no values, in a few words."""


@dataclass(frozen=True)
class MeasuredSet:
    """A set and every contestant's result, by name."""

    facts: SetFacts
    results: dict[str, Result]
    seconds: float
    """Processor time that planting took."""


def measured_sets(
    sets: Iterator[TruthSet], contestants: list[Contestant], cache: Path, say: Callable[[str], None]
) -> Iterator[MeasuredSet]:
    """Score every planted set; what `cache` already has is read from there.

    A contestant that raises, gives the wrong number of values, no number at all or one value for all neurons is told
    once for each reason; the rest goes on.
    """
    told: set[tuple[str, str]] = set()
    start = time.process_time()
    for planted in sets:
        made = time.process_time() - start
        identity = _identity(planted)
        results = {}
        for contestant in contestants:
            path = (
                cache
                / f"{contestant.name}-{sha256(canonical_json([identity, contestant.key])).hexdigest()[:20]}.parquet"
            )
            result = results[contestant.name] = _measured(contestant, planted, path)
            if result.failed and (contestant.name, result.failed) not in told:
                told.add((contestant.name, result.failed))
                say(f"{contestant.name}: {result.failed} (on {planted.name}); the rest goes on")
        taken = sum(result.seconds for result in results.values())
        say(f"{planted.name}: {len(planted.k)} neurons, planted in {made:.0f} s, scored in {taken:.0f} s")
        facts = SetFacts(
            planted.name,
            planted.layer,
            planted.corpus,
            planted.design,
            planted.half,
            planted.act,
            planted.k,
            planted.members,
            planted.features,
            planted.firing_rate,
        )
        yield MeasuredSet(facts, results, made)
        del planted
        start = time.process_time()


def _identity(planted: TruthSet) -> str:
    """A hash of the set: corpus, truth and values."""
    sample = planted.acts.block(0, min(8, planted.acts.n_neurons))[::97].numpy()
    parts = [
        planted.name,
        planted.acts.meta.data_hash,
        planted.k.tolist(),
        [feature.name for feature in planted.features],
        sha256(np.packbits(planted.members).tobytes()).hexdigest(),
        sha256(np.ascontiguousarray(sample).tobytes()).hexdigest(),
        sha256(np.round(planted.firing_rate, 6).tobytes()).hexdigest(),
    ]
    return sha256(canonical_json(parts)).hexdigest()


def _measured(contestant: Contestant, planted: TruthSet, path: Path) -> Result:
    if path.is_file():
        table = read_parquet(path)
        about = json.loads(table["about"][0])
        return Result(table["value"].to_numpy(), about["seconds"], about["failed"])
    start = time.process_time()
    failed = ""
    try:
        value = np.asarray(contestant.run(planted.acts), np.float64)
    except Exception as failure:
        # A score of the user's own may raise anything; one of the project's is a fault of ours.
        if not contestant.own:
            raise
        value = np.full(len(planted.k), np.nan)
        failed = f"raised {type(failure).__name__}: {_one_line(str(failure))}"
    seconds = time.process_time() - start
    failed = failed or _nothing_said(value)
    about = json.dumps({"seconds": round(seconds, 3), "failed": failed})
    buffer = io.BytesIO()
    pl.DataFrame({"value": value, "about": [about] * len(value)}).write_parquet(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return Result(value, seconds, failed)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _nothing_said(value: Float[ndarray, "n"]) -> str:
    """Why values tell nothing; empty where they tell something."""
    if np.isnan(value).all():
        return "gave NaN for every neuron"
    if len(np.unique(value[~np.isnan(value)])) == 1:
        return "gave the same value for every neuron"
    return ""


def code_key() -> str:
    """A hash of the code that plants and measures."""
    modules = ("analyze.validation.layers.sets", "analyze.validation.bench.measured")
    return sha256("".join(fingerprint(module, deep=True) for module in modules).encode()).hexdigest()
