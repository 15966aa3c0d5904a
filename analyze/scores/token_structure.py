"""Token structure: how much of a neuron the current token explains, and the token before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations, TokenSample
from analyze.activations.strong_firings import FEWEST_DOCUMENTS, least_strong, rectified
from analyze.scores.base import About, NeuronScore
from analyze.scores.blocks import joined

_COLUMNS = 32
"""Neurons summed at a time: there are as many bigrams as a fifth of the tokens and more."""


class Spread(NamedTuple):
    """Variance of groups' means around their parent's mean, and within groups: [n] each (see `components`)."""

    between: Float[ndarray, " n"]
    within: Float[ndarray, " n"]


@dataclass(frozen=True)
class Keys:
    """The tokens of one half by bigram and by token."""

    tokens: Int[ndarray, "h"]
    """Indices into the sample."""
    bigram: sp.csr_array
    """[bigrams h], ones."""
    token: Int[ndarray, "h"]
    """Row of each token's id in tables by token."""
    document: Int[ndarray, "h"]
    n_of_bigram: Float[ndarray, "b 1"]
    """Tokens of each bigram."""
    n_of_token: Float[ndarray, "v 1"]
    """Tokens of each id."""


@dataclass(frozen=True)
class Halves:
    """The fit and the eval half of a sample, under one numbering of ids and bigrams."""

    fit: Keys
    eval: Keys
    ids: Int[ndarray, "v"]
    """Token ids, ascending: row k of every table by token is of ids[k]."""
    token_of: Int[ndarray, "b"]
    """Current token of each bigram, as a row."""
    grouping: sp.csr_array
    """[token ids bigrams], ones: the bigrams of each token."""

    @classmethod
    def of(cls, sample: TokenSample) -> "Halves":
        """Of a sample of tokens."""
        ids, token = np.unique(sample.ids, return_inverse=True)
        before, previous = np.unique(sample.previous, return_inverse=True)
        codes, bigram = np.unique(token.astype(np.int64) * len(before) + previous, return_inverse=True)
        _, document = np.unique(sample.document, return_inverse=True)

        grouping = _members(codes // len(before), len(ids))

        def half(is_fit: bool) -> Keys:
            chosen = np.flatnonzero(sample.is_fit == is_fit)
            members = _members(bigram[chosen], len(codes))
            n_of_bigram = np.diff(members.indptr).astype(np.float64)[:, None]
            return Keys(chosen, members, token[chosen], document[chosen], n_of_bigram, grouping @ n_of_bigram)

        return cls(half(True), half(False), ids, codes // len(before), grouping)


def _members(keys: Int[ndarray, "h"], n_keys: int) -> sp.csr_array:
    """[keys h], ones where a token has a key."""
    order = np.argsort(keys, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n_keys))])
    return sp.csr_array((np.ones(len(keys)), order, ends), (n_keys, len(keys)))


@dataclass(frozen=True)
class Sums:
    """Sums of the rectified activations of some neurons over one half, fp64."""

    of_bigram: Float[ndarray, "b n"]
    of_token: Float[ndarray, "v n"]
    squares: Float[ndarray, " n"]
    strong_of_token: Float[ndarray, "v n"]
    """Sums of the strong firings alone (`analyze.activations.strong_firings`)."""
    n_documents: Int[ndarray, " n"]
    """Documents with a strong firing."""


def sums_of(y: Float[ndarray, "h n"], least: Float[ndarray, " n"], keys: Keys, grouping: sp.csr_array) -> Sums:
    """The sums of rectified activations y (fp64) of a half; strong are those above `least`."""
    n, n_ids = y.shape[1], len(keys.n_of_token)
    of_bigram = keys.bigram @ y
    # Strong firings are few: sums over them alone, not over a table with zeros in their place.
    at, neuron = np.nonzero(y > least)
    mass = np.bincount(keys.token[at] * n + neuron, y[at, neuron], n_ids * n)
    documents = np.unique(keys.document[at] * n + neuron) % n
    return Sums(
        of_bigram=of_bigram,
        of_token=grouping @ of_bigram,
        squares=np.einsum("tn,tn->n", y, y),
        strong_of_token=mass.astype(np.float64).reshape(n_ids, n),  # of no firing at all it counts integers
        n_documents=np.bincount(documents, minlength=n),
    )


def components(
    between: Float[ndarray, " n"], within: Float[ndarray, " n"], *, groups: int, parents: int, n: int, n_squares: float
) -> Spread:
    """Variance components of tokens in groups in parents by the method of moments (nested analysis of variance).

    Args:
        between, within: sums of squares of group means about their parent's mean, and of tokens about their group's.
        groups, parents, n: how many groups, parents and tokens there are.
        n_squares: sum over parents of (sum over its groups of tokens^2) / tokens of the parent.
    """
    inside = within / max(n - groups, 1)
    # A group's mean square exceeds the inside one by the variance sought, times its (averaged) size.
    size = (n - n_squares) / max(groups - parents, 1)
    excess = between / max(groups - parents, 1) - inside
    return Spread(np.maximum(excess / size, 0.0) if size > 0 else np.zeros_like(inside), inside)


def shrunken(sums: Float[ndarray, "k n"], counts: Float[ndarray, "k 1"], spread: Spread) -> Float[ndarray, "k n"]:
    """Means about the parent's, shrunken towards it by empirical Bayes: sums / (counts + within / between)."""
    scale = counts * spread.between + spread.within
    return np.where(scale > 0, sums * spread.between / np.where(scale > 0, scale, 1.0), 0.0)


def explained(own: Sums, keys: Keys, other: Sums, held_out: Keys, halves: Halves) -> Float[ndarray, "2 n"]:
    """Share of the variance on one half that means fitted on the other explain: by token, and by bigram too.

    Token means shrink toward the overall mean, bigram means toward their token's. With p the fitted deviation of a
    group from the overall fitted mean, s the sum of deviations of its held-out tokens and n their number, a group
    explains 2 p s - n p^2. Below zero where it does harm; NaN where the held-out half does not vary.
    """
    n, n_token, n_bigram = len(keys.tokens), keys.n_of_token, keys.n_of_bigram
    mean = own.of_token.sum(axis=0) / max(n, 1)
    seen_tokens, seen_bigrams = n_token[:, 0] > 0, n_bigram[:, 0] > 0
    centred = own.of_token - n_token * mean
    by_token = (centred[seen_tokens] ** 2 / n_token[seen_tokens]).sum(axis=0)
    total = own.squares - n * mean**2
    spread = components(
        by_token,
        np.maximum(total - by_token, 0),
        groups=int(seen_tokens.sum()),
        parents=1,
        n=n,
        n_squares=float((n_token**2).sum()) / max(n, 1),
    )
    m = shrunken(centred, n_token, spread)
    s, n_other = other.of_token - held_out.n_of_token * mean, held_out.n_of_token
    variance = other.squares - 2 * mean * other.of_token.sum(axis=0) + len(held_out.tokens) * mean**2
    token_gain = (2 * m * s - n_other * m**2).sum(axis=0)

    by_bigram = (own.of_bigram[seen_bigrams] ** 2 / n_bigram[seen_bigrams]).sum(axis=0) - n * mean**2
    squares_of_token = halves.grouping @ n_bigram**2
    spread = components(
        np.maximum(by_bigram - by_token, 0),
        np.maximum(total - by_bigram, 0),
        groups=int(seen_bigrams.sum()),
        parents=int(seen_tokens.sum()),
        n=n,
        n_squares=float((squares_of_token[seen_tokens] / n_token[seen_tokens]).sum()),
    )
    # A bigram that one half lacks adds nothing to what its token explains.
    shared = np.flatnonzero(seen_bigrams & (held_out.n_of_bigram[:, 0] > 0))
    above = mean + m[halves.token_of[shared]]
    further = shrunken(own.of_bigram[shared] - n_bigram[shared] * above, n_bigram[shared], spread)
    n_other = held_out.n_of_bigram[shared]
    bigram_gain = (further * (2 * (other.of_bigram[shared] - n_other * above) - n_other * further)).sum(axis=0)
    varies = variance > 0
    gains = np.stack([token_gain, token_gain + bigram_gain])
    return np.where(varies, gains / np.where(varies, variance, 1.0), np.nan)


@dataclass(frozen=True)
class Structure:
    """What tokens explain of each neuron; NaN (or -1) where it is not scored."""

    unity: Float[ndarray, " n"]
    """sum_k p_k q_k, p and q the shares of token k in the mass of strong firings of the fit and of the eval half."""
    entropy_unity: Float[ndarray, " n"]
    """1 - H / log(number of token ids), H the entropy of the mass over token ids, both halves together."""
    token_eta2: Float[ndarray, " n"]
    bigram_eta2: Float[ndarray, " n"]
    top: Int[ndarray, " n"]
    """Token id with the largest mass on the fit half."""
    top_share: Float[ndarray, " n"]
    """Its share of the mass on the eval half."""


def structure(fit: Sums, held_out: Sums, halves: Halves) -> Structure:
    """The figures of some neurons from their sums over both halves."""
    both = (
        explained(fit, halves.fit, held_out, halves.eval, halves),
        explained(held_out, halves.eval, fit, halves.fit, halves),
    )
    token_eta2, bigram_eta2 = (both[0] + both[1]) / 2
    enough = (fit.n_documents >= FEWEST_DOCUMENTS) & (held_out.n_documents >= FEWEST_DOCUMENTS)
    p, q = (_shares(half.strong_of_token) for half in (fit, held_out))
    whole = _shares(fit.strong_of_token + held_out.strong_of_token)
    entropy = -(whole * np.log(np.where(whole > 0, whole, 1.0))).sum(axis=0)
    top = np.argmax(p, axis=0)

    def known(values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        return np.where(enough, values, np.nan)

    return Structure(
        unity=known((p * q).sum(axis=0)),
        entropy_unity=known(1 - entropy / np.log(max(len(halves.ids), 2))),
        token_eta2=token_eta2,
        bigram_eta2=bigram_eta2,
        top=np.where(enough, halves.ids[top], -1),
        top_share=known(q[top, np.arange(len(top))]),
    )


def _shares(mass: Float[ndarray, "v n"]) -> Float[ndarray, "v n"]:
    total = mass.sum(axis=0)
    return mass / np.where(total > 0, total, 1.0)


def find_all(acts: Activations) -> Structure:
    """The figures of every neuron of a layer; none for those that are dead or rare."""
    halves = Halves.of(acts.tokens)
    figures = joined(list(_parts(acts, halves)))
    scored = acts.moments.status == SCORED
    masked = {name: np.where(scored, values, -1 if name == "top" else np.nan) for name, values in vars(figures).items()}
    return Structure(**masked)


def _parts(acts: Activations, halves: Halves) -> Iterator[Structure]:
    for first, stop in blocks(acts.n_neurons):
        y = rectified(acts.block(first, stop), acts.moments.median[first:stop])
        least = least_strong(y, acts.tokens.is_fit).double().numpy()
        for begin in range(0, stop - first, _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            fit, held_out = (
                sums_of(
                    y[:, columns][torch.from_numpy(keys.tokens)].double().numpy(), least[columns], keys, halves.grouping
                )
                for keys in (halves.fit, halves.eval)
            )
            yield structure(fit, held_out, halves)


class TokenStructure(NeuronScore):
    """One over the effective number of tokens a neuron fires on: sum_k p_k q_k over token ids k.

    p_k and q_k are the shares of token k in the mass of strong firings (w = a [a > 0.25 max a],
    a = max(activation - median, 0)) of the fit and of the eval documents. It is the chance that two firings, one from
    each half and drawn in proportion to activation, have the same token: 1 for a single token, 1/n for n tokens with
    equal shares, the concentration of the text itself for a neuron that ignores the token. That is the inverse Hill
    number of order 2 (Hill, Ecology 54, 1973; Simpson's index) with its two factors from different documents: unlike
    the entropy of the mass, it does not take a neuron with few firings for one of few tokens. Also in the table:

    - `token_entropy_unity`: 1 - H / log(number of token ids), H the entropy of the mass (order 1, both halves);
    - `token_eta2`: share of the variance of a on held-out documents that its means by current token explain, each half
      from the other, averaged; means shrink toward the overall mean by empirical Bayes (variance components);
    - `bigram_eta2`: the same with means by (previous, current) token, which shrink toward the token's;
    - `token_top_id`, `token_top_share`: its strongest token on the fit half, that token's share of the mass on eval.

    It describes structure and fails as a score of polysemanticity: a word class of 200 tokens is one thing, and two
    words are two (docs/scores.md has its figures on planted neurons). eta^2 does worse: .90 in an untrained layer.
    A feature of the previous token is spread over whatever follows it, and eta^2 falls with any noise.

    Cost: 1.6 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512.
    """

    name = "token_structure"
    title = "token structure"
    number = 5
    rank = "token_structure"
    about = About(
        definition="one over the effective number of tokens among strong firings, fit against eval documents",
        cost="1.6",
        null="a neuron that ignores the token has the text's own concentration",
        fails="a class of 200 tokens is one thing and two words are two: structure, not unity",
    )
    needs = ("sample",)

    def table(self, acts: Activations) -> pl.DataFrame:
        """token_structure, the unity by entropy, both eta^2, the strongest token's id and its share of the mass."""
        figures = find_all(acts)
        floats = {
            "token_structure": figures.unity,
            "token_entropy_unity": figures.entropy_unity,
            "token_eta2": figures.token_eta2,
            "bigram_eta2": figures.bigram_eta2,
            "token_top_share": figures.top_share,
        }
        top = [token if token >= 0 else None for token in figures.top.tolist()]
        return pl.DataFrame(
            {name: pl.Series(values, dtype=pl.Float64) for name, values in floats.items()}
            | {"token_top_id": pl.Series(top, dtype=pl.Int32)}
        )


SCORE = TokenStructure()
