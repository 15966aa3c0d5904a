"""4.25: do embeddings of tokens that have a circular or linear order form the polygons of toy models?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.planted import small_model
from analyze.problems.subject import Subject
from train.model import Transformer

RINGS = {
    "months": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "weekdays": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "digits": tuple("0123456789"),
}  # fmt: skip
LEAST_TOKENS = 5
ORDERS = 1000
_STRINGS = (*RINGS["months"], *(f"word {i}" for i in range(52)))
"""Of the made-up vocabulary: the months are its first ids."""


def measure(subject: Subject) -> Measurement:
    """How much of the variance of ordered tokens' embeddings lies in the first Fourier component of their order."""
    rings = rings_of(subject)
    if not rings:
        wanted = ", ".join(RINGS)
        return Measurement.impossible(f"the vocabulary has fewer than {LEAST_TOKENS} whole tokens of each of {wanted}")
    rng = np.random.default_rng(0)
    embedding = subject.model.tok_embed.weight.detach().double().numpy()
    energies = {name: first_harmonic(embedding[ids]) for name, ids in rings.items()}
    null = [np.mean([first_harmonic(embedding[rng.permutation(ids)]) for ids in rings.values()]) for _ in range(ORDERS)]
    untrained = np.nan
    if subject.untrained is not None:
        before = subject.untrained.tok_embed.weight.detach().double().numpy()
        untrained = float(np.mean([first_harmonic(before[ids]) for ids in rings.values()]))
    points = [
        {"ring": name, "place": place, "x": x, "y": y}
        for name, ids in rings.items()
        for place, (x, y) in enumerate(_plane(embedding[ids]).tolist())
    ]
    cosines = [_lowest_cosine(embedding[ids]) for ids in rings.values()]
    return Measurement(
        statistic=float(np.mean(list(energies.values()))),
        null=np.array(null),
        untrained=untrained,
        details={
            **{f"{name}, {len(ids)} tokens": energies[name] for name, ids in rings.items()},
            "lowest cosine": float(min(cosines)),
        },
        tables={"points": pl.DataFrame(points)},
    )


def rings_of(subject: Subject) -> dict[str, Int[ndarray, " token"]]:
    """The ids of each ring's tokens, those that the vocabulary has whole, with or without a space before, in order."""
    by_text = {text: i for i, text in reversed(list(enumerate(subject.strings)))}
    found = {}
    for name, words in RINGS.items():
        for before in (" ", ""):
            ids = np.array([by_text[before + word] for word in words if before + word in by_text])
            if len(ids) >= LEAST_TOKENS and len(ids) > len(found.get(name, ())):
                found[name] = ids
    return found


def first_harmonic(rows: Float[ndarray, "n d"]) -> float:
    """Share of the rows' variance in the first Fourier component of their order: 1 for a regular polygon."""
    spectrum = np.abs(np.fft.fft(rows - rows.mean(0), axis=0)) ** 2
    return float((spectrum[1].sum() + spectrum[-1].sum()) / spectrum.sum())


def _plane(rows: Float[ndarray, "n d"]) -> Float[ndarray, "n 2"]:
    """The rows in the plane of the first Fourier component."""
    centred = rows - rows.mean(0)
    angle = 2 * np.pi * np.arange(len(rows)) / len(rows)
    axes = np.stack([np.cos(angle) @ centred, np.sin(angle) @ centred])
    return centred @ np.linalg.qr(axes.T)[0]


def _lowest_cosine(rows: Float[ndarray, "n d"]) -> float:
    centred = rows - rows.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return float((unit @ unit.T).min())


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Each ring of the first checkpoint in its plane."""
    from matplotlib.figure import Figure as Canvas

    if not measured:
        return []
    table = measured[0].measurement.tables["points"]
    names = table["ring"].unique(maintain_order=True).to_list()
    with look():
        canvas = Canvas(figsize=(3.2 * len(names), 3.2), layout="constrained")
        for axes, name in zip(np.atleast_1d(canvas.subplots(1, len(names))), names, strict=True):
            ring = table.filter(ring=name)
            axes.plot(ring["x"], ring["y"], "-o", color=COLOURS[0], ms=4, lw=0.8)
            for row in ring.iter_rows(named=True):
                axes.text(row["x"], row["y"], str(row["place"] + 1), fontsize=8, color=FAINT)
            axes.set(title=name, aspect="equal", xticks=[], yticks=[])
        svg = svg_of(canvas)
    caption = (
        f"Embeddings of {measured[0].run} in the plane of the first Fourier component of their order, joined in "
        "order. A plane chosen for the order shows some order in noise too: the null says how much."
    )
    return [Figure("polygons", svg, "rings of tokens in their planes", caption)]


def planted(seed: int) -> Subject:
    """Twelve tokens on a circle, with noise of .4 of its radius in every other direction together."""
    model = _small(seed)
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(rng.standard_normal((64, 2)))[0]
    angle = 2 * np.pi * np.arange(12) / 12
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) @ plane.T
    noise = 0.4 / np.sqrt(64) * rng.standard_normal((12, 64))
    model.tok_embed.weight[:12] = model.tok_embed.weight.new_tensor(circle + noise)
    return Subject("planted", "planted", seed, model, planted_strings=_STRINGS)


def null(seed: int) -> Subject:
    """An untrained model."""
    return Subject("untrained", "untrained", seed, _small(seed), planted_strings=_STRINGS)


def _small(seed: int) -> Transformer:
    return small_model(seed, n_ctx=16, d_vocab=len(_STRINGS))


PROBLEM = Problem(
    name="4.25",
    measure=measure,
    rule=Rule(
        says="yes if the first Fourier component of months, weekdays and digits in their order holds at least .1 more "
        "of their variance than in random orders, beyond 95 % of these, in every seed, and the whole interval over "
        "seeds lies there; no if the whole interval lies below .1",
        least=0.1,
    ),
    statistic="share of the variance of ordered tokens' embeddings in the first Fourier component, mean over sets",
    null="1,000 random orders of the same tokens",
    minutes=0.05,
    needs=Needs(strings=True, text=False),
    figures=figures,
    trials=Trials(planted, null, says="a noisy circle of twelve tokens; untrained models"),
    doubts=(
        "Months and weekdays are few in this text: the sets hold what the vocabulary has as whole tokens.",
        "A line, such as digits by size, has much of its variance in the first component too: a ring is not proven.",
    ),
    sources=("Engels et al. 2024, arXiv 2405.14860: circular features of weekdays and months",),
)
