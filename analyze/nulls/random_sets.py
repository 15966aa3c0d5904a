"""Random sets: each neuron fires as often as before, on a set of token ids that have nothing in common."""

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.activations.bf16_keys import key_below
from analyze.activations.store import Activations
from analyze.nulls.base import Null, NullStyle
from analyze.nulls.making import MOST, activations_of, by_neuron, living, values_of


def random_sets(acts: Activations, seed: int = 0, most: int = MOST) -> Activations | None:
    """Each living neuron firing on a random set of token ids instead, on as many tokens as before.

    Ids that occur in the sample are drawn evenly (not by frequency), each with all its tokens. An id with more tokens
    than the set still lacks is skipped; where no id fits any more, some tokens of one id fill the set. The neuron's
    firing values are shuffled over the set and its other values over the other tokens, so that its distribution stays
    the same to the bit. What remains is its density and its dependence on the token alone: a set of words with nothing
    in common, and noise in how strongly the row answers to them. Few ids make up most of a text, so one frequent id
    often fills most of a row's set, and such a row does answer to one thing.

    None where nothing is alive.
    """
    alive = living(acts, seed, most)
    if not len(alive):
        return None
    values = values_of(acts, alive)
    ids, at = np.unique(acts.tokens.ids, return_inverse=True)
    counts = np.bincount(at, minlength=len(ids))
    for first, rows in by_neuron(values):
        for row, neuron in zip(rows, alive[first:].tolist()):
            rng, own = np.random.default_rng([seed, neuron]), row.copy()
            fires = own > key_below(acts.moments.threshold[[neuron]])
            covered = random_cover(at, counts, int(fires.sum()), rng)
            row[covered], row[~covered] = rng.permutation(own[fires]), rng.permutation(own[~fires])
    return activations_of(acts, values, "random_sets", seed, alive)


def random_cover(
    at: Int[ndarray, " t"], counts: Int[ndarray, " v"], size: int, rng: np.random.Generator
) -> Bool[ndarray, " t"]:
    """Exactly `size` tokens: all those of random ids, as far as whole ids fit.

    Args:
        at: which id each token is, as an index into `counts`.
        counts: tokens of each id.
    """
    order, left = rng.permutation(len(counts)), size
    taken = np.zeros(len(counts), dtype=bool)
    for token in order.tolist():
        if counts[token] <= left:
            taken[token], left = True, left - int(counts[token])
        if not left:
            break
    covered = taken[at]
    if left:
        part = order[~taken[order]][0]
        covered[rng.choice(np.flatnonzero(at == part), left, replace=False)] = True
    return covered


NULL = Null(
    name="random_sets",
    title="random sets",
    phrase="the same neurons on random sets of tokens",
    meaning="the trained neurons' values on random sets of token ids",
    style=NullStyle("#2B8CBE", (0, (3, 1, 1, 1)), "s", "square"),
    order=4,
    shown=False,
    make=random_sets,
)
