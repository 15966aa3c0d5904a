"""`polysem fit-headline`: fit P(one feature) to planted neurons of the tuning half, and write what comes of it.

Held features are never read here: `bench-scores` and `truth` measure on them, with the coefficients as they stand.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyze.activations.store import Activations
from analyze.contexts.parts import N_PARTS, SIDES, SPLITS
from analyze.contexts.spaces import SPACES
from analyze.headline.coefficients import FILE, read, write
from analyze.headline.fit import Planted, fit, left_out
from analyze.scores import SCORES
from analyze.scores.fingerprint import fingerprint
from analyze.scores.made import table_of
from analyze.scores.one_feature import OneFeature
from analyze.validation.design import MAIN, Neuron, planted_activations, random_tokens, random_words
from analyze.validation.headline_figure import reliability_curve
from analyze.validation.headline_page import BY, fit_page, held_page
from analyze.validation.layers.annotated import Annotations
from analyze.validation.layers.base import DESIGNS, LAYERS, Design, Half, Layer, TruthSet
from analyze.validation.layers.sets import TruthCorpus, truth_sets
from train.checkpoint import load
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import canonical_json, write_atomic
from train.hashes import sha256_file
from train.parquet import read_parquet, write_parquet

FIGURES: tuple[str, ...] = (
    "k_eff",
    "reach",
    "rule_share",
    "fidelity",
    "ms",
    "token_structure",
    "token_entropy_unity",
    "token_eta2",
    "bigram_eta2",
    *(f"likeness{suffix}_{space}" for suffix in ("", "_strict") for space in SPACES),
    *(f"transfer{suffix}_{space}" for suffix in ("", "_least", "_four") for space in SPACES),
    *(f"coherence{suffix}_{space}" for suffix in ("", "_by_length", "_auroc") for space in SPACES),
    *(f"own_part_{space}" for space in SPACES),
    *(f"part_likeness_{k}_{split}_{side}" for k in N_PARTS for split in SPLITS for side in SIDES),
)
"""Columns that the headline reads. Firing rate and moments are not among them, nor counts of firings or documents, nor
what counts tokens above a firing threshold: an offset of the activations moves that."""
TABLE = Path(__file__).parents[1] / "headline" / "fitted_on.parquet"
"""The table that the coefficients in the repository were fitted on."""
N_RANDOM = 40
"""Random sets of either kind on each corpus."""
DIGITS = 5
"""Significant digits of the figures in the table."""


def figures_of(acts: Activations) -> pl.DataFrame:
    """The figures of some neurons."""
    tables = [table_of(acts, SCORES[name]) for name in OneFeature.made_from]
    return pl.concat(tables, how="horizontal").select(pl.col(FIGURES).cast(pl.Float64).round_sig_figs(DIGITS))


def figures_of_set(planted: TruthSet) -> pl.DataFrame:
    """The truth about the neurons of one set and their figures: a row a neuron."""
    truth = planted.table().select("set", "layer", "corpus", "design", "k", "families", "kinds", "firing_rate")
    return pl.concat([truth, figures_of(planted.acts)], how="horizontal")


def random_neurons(corpus: TruthCorpus) -> Activations:
    """Neurons that answer to random tokens, and as many to random words: N_RANDOM of each."""
    neurons = [Neuron((index,), (1.0,)) for index in range(N_RANDOM)]
    tokens, ids = corpus.corpus.tokens, np.asarray(corpus.corpus.tokens.ids, np.int64)
    sets = {
        "random tokens": [random_tokens(len(tokens), corpus.admitted, index) for index in range(N_RANDOM)],
        "random words": [random_words(ids, index) for index in range(N_RANDOM)],
    }
    values = [planted_activations(np.stack(inside, axis=1), neurons, MAIN.noise, name) for name, inside in sets.items()]
    return corpus.corpus.activations(np.hstack(values), "random sets")


def _keep(table: pl.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def figures_hash() -> str:
    """A hash of the code that makes the figures."""
    modules = [type(SCORES[name]).__module__ for name in OneFeature.made_from]
    codes = [fingerprint(module, deep=True, registries=False) for module in modules]
    return sha256("".join(codes).encode()).hexdigest()


@dataclass(frozen=True)
class Sources:
    """What neurons are planted on."""

    corpora: tuple[TruthCorpus, ...]
    n: int
    """Neurons of one feature in each set, and as many of several."""
    cache: Path
    say: Callable[[str], None]

    def table(self, half: Half) -> pl.DataFrame:
        """Figures and truth of every neuron of a half; what the cache has is read from there."""
        parts = [
            self._part(corpus, layer, half, design) for corpus in self.corpora for layer in LAYERS for design in DESIGNS
        ]
        parts = [part for part in parts if part.height]
        if not parts:
            raise BadInput(f"--data: nothing can be planted on {', '.join(corpus.name for corpus in self.corpora)}")
        return pl.concat(parts, how="vertical_relaxed")

    def random_sets(self) -> pl.DataFrame:
        """The figures of neurons that answer to random sets of tokens: no domain should hold most of them."""
        return pl.concat([self._random(corpus) for corpus in self.corpora], how="vertical_relaxed")

    def _random(self, corpus: TruthCorpus) -> pl.DataFrame:
        path = self.cache / f"{corpus.name}-random-{self._key(corpus)}.parquet"
        if not path.is_file():
            _keep(figures_of(random_neurons(corpus)).with_columns(corpus=pl.lit(corpus.name)), path)
        return read_parquet(path)

    def _part(self, corpus: TruthCorpus, layer: Layer, half: Half, design: Design) -> pl.DataFrame:
        path = self.cache / f"{corpus.name}-{layer}-{half}-{design.replace(' ', '-')}-{self._key(corpus)}.parquet"
        if not path.is_file():
            start, made = time.perf_counter(), []
            for planted in truth_sets(corpus, (layer,), (half,), (design,), self.n):
                made.append(figures_of_set(planted))
                self.say(f"{planted.name}: {len(planted.k)} neurons, {time.perf_counter() - start:.0f} s")
            _keep(pl.concat(made, how="vertical_relaxed") if made else pl.DataFrame(), path)
        return read_parquet(path)

    def _key(self, corpus: TruthCorpus) -> str:
        """A hash of all that the figures of a corpus depend on."""
        code = [figures_hash(), fingerprint(truth_sets.__module__, deep=True, registries=False)]
        models = [load(path).hash for path in corpus.checkpoints]
        notes = [str(corpus.annotations.brown is not None), str(corpus.annotations.wordnet is not None)]
        data = corpus.corpus.data
        return sha256(canonical_json([data.data_hash, data.n_ctx, self.n, code, models, notes])).hexdigest()[:12]


def sources_of(
    data: tuple[Path, ...],
    checkpoints: tuple[Path, ...],
    brown: Path | None,
    wordnet: Path | None,
    n: int,
    out: Path,
    say: Callable[[str], None],
) -> Sources:
    """Open what neurons are planted on; each model goes with the corpora whose vocabulary it reads.

    Raises:
        BadInput: no prepared data, no checkpoint, or a model that reads none of the corpora.
    """
    corpora, unread = [], dict.fromkeys(checkpoints)
    for directory in data:
        vocabulary = TokenFile.open(directory, split="eval").tokenizer_sha256
        mine = tuple(path for path in checkpoints if load(path).state["data"]["tokenizer_sha256"] == vocabulary)
        unread = {path: None for path in unread if path not in mine}
        annotations = Annotations(brown, wordnet)
        corpora.append(TruthCorpus.of(directory, mine, annotations, say=say))
    if unread:
        raise BadInput(f"--checkpoints {next(iter(unread))}: reads the vocabulary of none of the corpora")
    return Sources(tuple(corpora), n, out / "figures", say)


def facts_of(table: pl.DataFrame, path: Path) -> dict[str, Any]:
    """What the coefficients' file says of the table they were fitted on."""
    one = table["k"].to_numpy() == 1
    return {
        "table_sha256": sha256_file(path),
        "neurons_of_one_feature": int(one.sum()),
        "neurons_of_several": int((~one).sum()),
        "corpora": sorted(table["corpus"].unique().to_list()),
        "layers": sorted(map(int, table["layer"].unique().to_list())),
        "families": len({each for row in table["families"].to_list() for each in row}),
    }


def fit_headline(sources: Sources, out: Path, to_publish: bool) -> Path:
    """Fit the headline to the tuning half, and write OUT/headline.md, OUT/coefficients.toml and OUT/fitted_on.parquet.

    Args:
        to_publish: write the coefficients and their table into the program as well.
    """
    table = sources.table("tuning")
    path = out / TABLE.name
    write_parquet(table, path)
    planted = Planted.of(table, FIGURES)
    judged = {by: left_out(planted, by) for by in BY}
    found = fit(planted, facts_of(table, path), judged)
    write(found, out / FILE.name)
    page = out / "headline.md"
    random = sources.random_sets()
    inside = found.is_like_planted(
        {name: random[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in FIGURES}
    )
    write_atomic(page, fit_page(planted, found, judged, float(inside.mean())).encode())
    if to_publish:
        write_atomic(TABLE, path.read_bytes())
        sources.say(f"wrote {write(found)}; what was published of one_feature's validity is of the coefficients before")
    return page


def measure_headline(sources: Sources, out: Path) -> Path:
    """Measure the coefficients as they stand on the held half, and write OUT/held.md and OUT/reliability.svg."""
    page, found = out / "held.md", read()
    planted = Planted.of(sources.table("held"), FIGURES)
    write_atomic(page, held_page(planted, found).encode())
    p, design = found.probability(planted.figures), planted.table["design"].to_numpy()
    designs = {name: design == name for name in DESIGNS}
    sets = {name: (p[mine], planted.one[mine], planted.weight[mine]) for name, mine in designs.items() if mine.any()}
    write_atomic(out / "reliability.svg", reliability_curve(sets, found.one_from, found.several_to).encode())
    return page
