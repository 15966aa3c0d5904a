"""`polysem bench-scores`: plant neurons on every corpus, let every score judge them, and write the leaderboard."""

import platform
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analyze.validation.bench.contestants import Contestant, own_score, rivals, scores_named
from analyze.validation.bench.measured import MeasuredSet, code_key, measured_sets
from analyze.validation.bench.page import failures, leaderboard
from analyze.validation.bench.parts import parts_of
from analyze.validation.bench.store import Finished, write
from analyze.validation.layers.annotated import Annotations
from analyze.validation.layers.base import Half, Layer
from analyze.validation.layers.model import open_model
from analyze.validation.layers.sets import TruthCorpus, truth_sets
from train.cores import usable_cores
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import found_or_made, write_atomic
from train.filesystem import require_file_place

PAGE = "score-benchmark.md"
CACHE = "measured"


@dataclass(frozen=True)
class Asked:
    """What a benchmark is made of."""

    data: tuple[Path, ...]
    own: tuple[Path, ...]
    checkpoints: tuple[Path, ...]
    annotations: Annotations
    half: Half
    scores: tuple[str, ...] | None
    layers: tuple[Layer, ...]
    n_neurons: int
    layer_of_model: int | None = None
    also: tuple[Path, ...] = ()
    """Finished benchmarks whose sets stand on the same page."""


def bench_scores(asked: Asked, out: Path, page: Path | None, command: list[str], say: Callable[[str], None]) -> Path:
    """Measure, and write OUT/bench/: score-benchmark.md and neurons.parquet; OUT/measured/ keeps every measurement.

    Raises:
        BadInput: no data, a score or a checkpoint that cannot be read, a checkpoint that fits no corpus, nothing
            that could be planted, or finished benchmarks that do not go together with it (`parts_of`).
    """
    if page is not None:
        require_file_place(page, "--page")
    contestants = [*rivals(), *scores_named(asked.scores), *map(own_score, asked.own)]
    twice = [c.name for c in contestants if sum(c.name == other.name for other in contestants) > 1]
    if twice:
        raise BadInput(f"two scores are called {twice[0]!r}; rename the file")
    held_out = [TokenFile.open(directory, split="eval") for directory in asked.data]
    corpora = [directory.resolve().name for directory in asked.data]
    twice = [name for name in corpora if corpora.count(name) > 1]
    if twice:
        raise BadInput(f"--data: two corpora are called {twice[0]!r}; name each once, and rename one of two")
    final, hashes = out / "bench", _hashes(corpora, held_out)
    keys = {contestant.name: contestant.key for contestant in contestants}
    parts = parts_of(asked.also, final, asked.half, hashes, keys, corpora, asked.layers)
    places = _checkpoints_of(asked, held_out)
    facts = {
        "kind": "score benchmark",
        "format_version": 1,
        "data": [tokens.data_hash for tokens in held_out],
        "checkpoints": [[str(path) for path in paths] for paths in places],
        "annotations": [str(asked.annotations.brown), str(asked.annotations.wordnet)],
        "half": asked.half,
        "layers": list(asked.layers),
        "n_neurons": asked.n_neurons,
        "model_layer": asked.layer_of_model,
        "contestants": keys,
        "also": [part.hash for part in parts],
        "code": hashes["code"],
    }

    def make(directory: Path) -> None:
        finished = _measured(asked, hashes, places, contestants, out / CACHE, say)
        for part in parts:
            finished = finished.and_then(part.finished, part.directory)
        machine = f"{usable_cores()} cores, {platform.machine()}, Python {platform.python_version()}"
        text = leaderboard(finished, "polysem bench-scores " + " \\\n        ".join(map(shlex.quote, command)), machine)
        (directory / PAGE).write_text(text, encoding="utf-8")
        write(finished, directory)
        for line in failures(finished.sets, finished.titles):
            say(line)

    if found_or_made(final, facts, make):
        say(f"found {final}")
    if page is not None:
        write_atomic(page, (final / PAGE).read_bytes())
    return final


def _measured(
    asked: Asked,
    hashes: dict[str, str],
    places: list[tuple[Path, ...]],
    contestants: list[Contestant],
    cache: Path,
    say: Callable[[str], None],
) -> Finished:
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        say(line)

    start = time.process_time()
    sets: list[MeasuredSet] = []
    for data, paths in zip(asked.data, places):
        corpus = TruthCorpus.of(data, paths, asked.annotations, say=note, model_layer=asked.layer_of_model)
        say(f"{corpus.name}: {len(corpus.corpus.tokens):,} held-out tokens")
        planted = truth_sets(corpus, asked.layers, (asked.half,), n=asked.n_neurons)
        sets += measured_sets(planted, contestants, cache, say)
    if not sets:
        raise BadInput(f"{asked.data[0]}: nothing could be planted; give a larger corpus (200,000 tokens do)")
    minutes = (time.process_time() - start) / 60
    titles = {contestant.name: contestant.title for contestant in contestants}
    return Finished(sets, titles, asked.half, minutes, hashes, tuple(notes))


def _hashes(corpora: list[str], held_out: list[TokenFile]) -> dict[str, str]:
    """Of the code that measures and of the data, for the page."""
    return {"code": code_key()} | {f"data {name}": tokens.data_hash for name, tokens in zip(corpora, held_out)}


def _checkpoints_of(asked: Asked, held_out: list[TokenFile]) -> list[tuple[Path, ...]]:
    """The checkpoints that read each corpus' vocabulary.

    Raises:
        BadInput: a checkpoint that reads none of them.
    """
    places: list[list[Path]] = [[] for _ in held_out]
    if 2 not in asked.layers:
        return [() for _ in held_out]
    for path in asked.checkpoints:
        refusal = None
        fits = 0
        for index, tokens in enumerate(held_out):
            try:
                open_model(path, tokens)
            except BadInput as wrong:
                refusal = wrong
                continue
            places[index].append(path)
            fits += 1
        if not fits:
            raise refusal or BadInput(f"--checkpoints: {path} fits no corpus")
    return [tuple(paths) for paths in places]
