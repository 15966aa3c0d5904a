"""4.27: do genres of text use subspaces of their own, which the features of other genres leave alone?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.figures import Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.components import overlap
from analyze.problems.feature_directions import activations_at
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_TOKENS = 2_000
"""Of a genre, half of them in each half of its documents."""
LEAST_GENRES = 4
DRAWS = 50
UNNAMED = ("Uncategorized",)
"""Topics of the default text that say nothing."""
GENRE = "genre "
"""Begins the names of labels that say the genre of made-up rows, each of which is a document."""


@dataclass(frozen=True)
class Genres:
    """Which document each token belongs to, and of which genre each document is."""

    names: tuple[str, ...]
    document: Int[ndarray, " token"]
    """In the order of `activations_at`; -1 where a token belongs to none."""
    genre: Int[ndarray, " document"]
    """A number of `names`; -1 for documents of another kind."""


def measure(subject: Subject) -> Measurement:
    """Share of its main dimensions that a genre keeps over halves of its documents, less what it shares with others."""
    assert subject.rows is not None
    genres = genres_of(subject)
    if len(genres.names) < LEAST_GENRES:
        return Measurement.impossible(
            f"the held-out rows have {len(genres.names)} genres with {LEAST_TOKENS:,} tokens; needs {LEAST_GENRES}"
        )
    values = activations_at(subject.model, subject.rows, subject.model.config.n_layers, "resid_final").double()
    half = np.random.default_rng(0).permutation(len(genres.genre)) % 2
    overlaps, untrained = overlaps_of(values, genres, half), float("nan")
    if subject.untrained is not None:
        layer = subject.untrained.config.n_layers
        before = activations_at(subject.untrained, subject.rows, layer, "resid_final").double()
        untrained = _apartness(overlaps_of(before, genres, half))
    k, d = _dimensions(values)
    rng = np.random.default_rng(1)
    null = [_apartness(overlaps_of(values, _shuffled(genres, rng), half)) for _ in range(DRAWS)]
    own, other = _own_and_other(overlaps)
    return Measurement(
        statistic=_apartness(overlaps),
        null=np.array(null),
        untrained=untrained,
        details={
            "genres": float(len(genres.names)),
            "dimensions of a genre": float(k),
            "overlap of a genre's halves": own,
            "overlap of two genres": other,
            "overlap by chance": k / d,
            "documents whose genre their mean tells": _told(values, genres, half),
            "documents of the commonest genre": _commonest(genres),
        },
        tables={
            "overlaps": pl.DataFrame(
                [
                    {"genre": a, "other": b, "overlap": float(overlaps[i, j])}
                    for i, a in enumerate(genres.names)
                    for j, b in enumerate(genres.names)
                ]
            )
        },
    )


def genres_of(subject: Subject) -> Genres:
    """Genres with enough tokens: the topics that the data name, or those of made-up rows."""
    assert subject.rows is not None
    n_rows, n_pos = len(subject.rows), subject.rows.shape[1] - 1
    if subject.planted_labels is not None:
        marks = {name: where for name, where in subject.planted_labels.items() if name.startswith(GENRE)}
        document = np.repeat(np.arange(n_rows), n_pos)
        topics: list[str | None] = [
            next((name for name in marks if marks[name][row].any()), None) for row in range(n_rows)
        ]
    elif subject.text_source is not None and subject.row_numbers is not None:
        source = subject.text_source
        document = np.concatenate([source.document_of_rows(int(row), 1)[0, :-1] for row in subject.row_numbers])
        topics = source.documents()["topic"].to_list()
    else:
        return Genres((), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    known = sorted({topic for topic in topics if topic is not None and topic not in UNNAMED})
    number = np.array([known.index(topic) if topic in known else -1 for topic in topics])
    of_token = np.where(document >= 0, number[document], -1)
    kept = [i for i in range(len(known)) if (of_token == i).sum() >= LEAST_TOKENS]
    renumbered = np.array([kept.index(each) if each in kept else -1 for each in number])
    return Genres(tuple(known[i] for i in kept), document, renumbered)


def overlaps_of(
    values: Float[Tensor, "token d"], genres: Genres, half: Int[ndarray, " document"]
) -> Float[ndarray, "genre genre"]:
    """Mean squared cosine of the main dimensions of one half of a genre's documents with those of another's other half.

    On the diagonal a genre's own two halves. All are found from as many tokens.
    """
    k, _ = _dimensions(values)
    rng = np.random.default_rng(0)
    at = np.where(genres.document >= 0, genres.genre[genres.document], -1)
    side = np.where(genres.document >= 0, half[genres.document], -1)
    parts = [[np.flatnonzero((at == g) & (side == h)) for h in (0, 1)] for g in range(len(genres.names))]
    n = min(len(each) for pair in parts for each in pair)
    bases = [
        [_main(values[torch.from_numpy(rng.choice(each, n, replace=False))], k) for each in pair] for pair in parts
    ]
    return np.array([[overlap(one[0], other[1]) for other in bases] for one in bases])


def _dimensions(values: Float[Tensor, "token d"]) -> tuple[int, int]:
    """How many main dimensions a genre is given, an eighth, and of how many: LayerNorm drops one."""
    d = values.shape[1]
    return max(2, d // 8), d - 1


def _main(values: Float[Tensor, "token d"], k: int) -> Float[Tensor, "d k"]:
    """The k directions of most variance."""
    values = values - values.mean(1, keepdim=True)
    values = values - values.mean(0)
    return torch.linalg.eigh(values.T @ values)[1][:, -k:]


def _own_and_other(overlaps: Float[ndarray, "g g"]) -> tuple[float, float]:
    """Mean overlap of a genre's own halves, and of halves of two genres."""
    return float(np.diag(overlaps).mean()), float(overlaps[~np.eye(len(overlaps), dtype=bool)].mean())


def _apartness(overlaps: Float[ndarray, "g g"]) -> float:
    own, other = _own_and_other(overlaps)
    return own - other


def _shuffled(genres: Genres, rng: np.random.Generator) -> Genres:
    """Documents that have a genre change it with one another."""
    some = np.flatnonzero(genres.genre >= 0)
    genre = genres.genre.copy()
    genre[some] = genre[rng.permutation(some)]
    return Genres(genres.names, genres.document, genre)


def _told(values: Float[Tensor, "token d"], genres: Genres, half: Int[ndarray, " document"]) -> float:
    """Share of one half's documents whose mean lies nearest to the mean of their own genre in the other half."""
    present = [doc for doc in np.unique(genres.document[genres.document >= 0]) if genres.genre[doc] >= 0]
    means = torch.stack([values[torch.from_numpy(genres.document == doc)].mean(0) for doc in present]).numpy()
    means = (means - means.mean(0)) / means.std(0)
    genre, side = genres.genre[present], half[present]
    centres = np.stack([means[(genre == g) & (side == 0)].mean(0) for g in range(len(genres.names))])
    test = side == 1
    nearest = np.linalg.norm(means[test, None] - centres, axis=2).argmin(1)
    return float((nearest == genre[test]).mean())


def _commonest(genres: Genres) -> float:
    present = np.unique(genres.document[genres.document >= 0])
    counts = np.bincount(genres.genre[present][genres.genre[present] >= 0])
    return float(counts.max() / counts.sum())


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Overlaps of genres of the first checkpoint."""
    from matplotlib.figure import Figure as Canvas

    if not measured:
        return []
    table = measured[0].measurement.tables["overlaps"]
    names = table["genre"].unique(maintain_order=True).to_list()
    grid = table["overlap"].to_numpy().reshape(len(names), -1)
    with look():
        canvas = Canvas(figsize=(1.8 + 0.55 * len(names), 1.4 + 0.45 * len(names)), layout="constrained")
        axes = canvas.subplots()
        axes.imshow(grid, vmin=0, vmax=1, cmap="Blues")
        for (i, j), value in np.ndenumerate(grid):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if value > 0.6 else "k")
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        svg = svg_of(canvas)
    caption = (
        f"{measured[0].run}: overlap of the main dimensions of one half of a genre's documents (row) with those of the "
        "other half of another's (column). On the diagonal a genre's own two halves."
    )
    return [Figure("overlaps", svg, "overlap of genres' main dimensions", caption)]


def planted(seed: int) -> Subject:
    """Four genres whose words differ in dimensions of their own."""
    return _made_up(seed, apart=True, shuffled=False)


def null(seed: int) -> Subject:
    """Even seeds: the same, with the genres of documents exchanged. Odd seeds: words of a genre lie anywhere."""
    return _made_up(seed, apart=seed % 2 == 0, shuffled=seed % 2 == 0)


def _made_up(seed: int, apart: bool, shuffled: bool) -> Subject:
    rng = np.random.default_rng(seed)
    n_genres, n_words, d = 4, 100, 48
    d_vocab = n_genres * n_words
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=64, d_vocab=d_vocab, act="none")
    model, before = (Transformer(config, seed + i).eval().requires_grad_(False) for i in (0, 1000))
    for each in (model, before):
        each.pos.weight.zero_()
        each.block(0).attn.o.weight.zero_()
    if apart:
        basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
        code = 0.1 * rng.standard_normal((d_vocab, d))
        for genre in range(n_genres):
            words = slice(genre * n_words, (genre + 1) * n_words)
            code[words] += rng.standard_normal((n_words, 7)) @ basis[:, 7 * genre : 7 * genre + 7].T
        model.tok_embed.weight.copy_(torch.from_numpy(code))
    genre = np.arange(160) % n_genres
    rows = genre[:, None] * n_words + rng.integers(0, n_words, (160, 65))
    genre = rng.permutation(genre) if shuffled else genre
    labels = {f"{GENRE}{g}": torch.from_numpy(np.repeat(genre == g, 64).reshape(160, 64)) for g in range(n_genres)}
    name = "planted" if apart and not shuffled else "shuffled" if shuffled else "anywhere"
    return Subject(name, name, seed, model, before, rows=torch.from_numpy(rows), planted_labels=labels)


PROBLEM = Problem(
    name="4.27",
    measure=measure,
    rule=Rule(
        says="yes if the overlap of a genre's two halves exceeds that of two genres by at least .1 (a tenth of their "
        "main dimensions) more than where documents exchanged their genres, and than in the untrained model, beyond "
        "95 % of the exchanges in every seed, and the whole interval over seeds lies there; no if it lies below .1",
        least=0.1,
    ),
    statistic="overlap of the main dimensions of a genre's two halves, less that of two genres",
    null="50 draws in which documents exchange their genres",
    minutes=0.1,
    needs=Needs(text=True),
    figures=figures,
    trials=Trials(
        planted, null, says="genres with dimensions of their own; exchanged genres and words that lie anywhere"
    ),
    doubts=(
        "Genres are the topics that the data name: of the default text those of encyclopedia articles, alike in style.",
        "Genres differ in words. That words of their own lie in other dimensions is no choice of the model: the "
        "untrained model is the null for it.",
    ),
)
