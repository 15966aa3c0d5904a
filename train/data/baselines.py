"""What counting alone predicts: unigram and Kneser-Ney bigram losses, which a model must beat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from train.data.tokens import TokenFile

_CHUNK_TOKENS = 2**20


@dataclass(frozen=True)
class Baselines:
    """Counts over training rows; losses are mean nats per predicted token of rows [batch, n_ctx + 1].

    unigram: add-one smoothing, p(w) = (c(w) + 1) / (N + V).
    bigram: p(w|v) = max(c(v,w) - D, 0) / c(v) + D N1+(v,.) / c(v) q(w), with the continuation unigram
    q(w) = max(N1+(.,w) - E, 0) / N1+(.,.) + E |{w: N1+(.,w) > 0}| / N1+(.,.) / V, so that a word never
    seen has mass too. D = n1 / (n1 + 2 n2) of the bigram counts, E the same of the continuation counts.
    Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques" (1998), section 2.7 and 4.1.6.
    """

    d_vocab: int
    n_tokens: int
    """Predicted tokens counted."""
    unigram_log_prob: Float[np.ndarray, " d_vocab"]
    continuation: Float[np.ndarray, " d_vocab"]
    """q(w)."""
    backoff: Float[np.ndarray, " d_vocab"]
    """D N1+(v,.) / c(v); 1 for a context never seen."""
    pairs: Int[np.ndarray, " pairs"]
    """v * d_vocab + w of every bigram seen, ascending."""
    pair_prob: Float[np.ndarray, " pairs"]
    """max(c(v,w) - D, 0) / c(v)."""

    def unigram_loss(self, rows: Int[Tensor, "batch row"]) -> float:
        """Mean -log p(w), in nats."""
        return float(-self.unigram_log_prob[rows[:, 1:].numpy()].mean())

    def bigram_loss(self, rows: Int[Tensor, "batch row"]) -> float:
        """Mean -log p(w | the token before), in nats."""
        ids = rows.numpy()
        return float(-np.log(self.bigram_prob(ids[:, :-1].ravel(), ids[:, 1:].ravel())).mean())

    def bigram_prob(self, context: Int[np.ndarray, " k"], word: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """p(word | context) of each pair."""
        key = context.astype(np.int64) * self.d_vocab + word
        place = np.minimum(np.searchsorted(self.pairs, key), len(self.pairs) - 1)
        direct = np.where(self.pairs[place] == key, self.pair_prob[place], 0.0)
        return direct + self.backoff[context] * self.continuation[word]


def fit_baselines(tokens: TokenFile, max_tokens: int = 20_000_000) -> Baselines:
    """Count training rows as a model sees them, BOS and separators included.

    Args:
        max_tokens: of the first rows of the stream, in which documents lie in hash order.

    Raises:
        BadInput: tokens that cannot be read.
    """
    n_rows = min(tokens.n_rows, max(1, max_tokens // tokens.n_ctx))
    step = max(1, _CHUNK_TOKENS // tokens.n_ctx)
    words = np.zeros(tokens.d_vocab, dtype=np.int64)
    keys = []
    for first in range(0, n_rows, step):
        ids = tokens.plain_rows(first, min(step, n_rows - first)).numpy()
        words += np.bincount(ids[:, 1:].ravel(), minlength=tokens.d_vocab)
        keys.append((ids[:, :-1] * tokens.d_vocab + ids[:, 1:]).ravel())
    pairs, counts = np.unique(np.concatenate(keys), return_counts=True)
    return _baselines(words, pairs, counts)


def _baselines(
    words: Int[np.ndarray, " d_vocab"], pairs: Int[np.ndarray, " pairs"], counts: Int[np.ndarray, " pairs"]
) -> Baselines:
    d_vocab = len(words)
    context, word = pairs // d_vocab, pairs % d_vocab
    discount = _discount(counts)
    c_context = np.bincount(context, weights=counts, minlength=d_vocab)
    followers = np.bincount(context, minlength=d_vocab)
    backoff = np.ones(d_vocab)
    seen = c_context > 0
    backoff[seen] = discount * followers[seen] / c_context[seen]
    return Baselines(
        d_vocab=d_vocab,
        n_tokens=int(words.sum()),
        unigram_log_prob=np.log((words + 1) / (words.sum() + d_vocab)),
        continuation=_continuation(np.bincount(word, minlength=d_vocab)),
        backoff=backoff,
        pairs=pairs,
        pair_prob=(counts - discount) / c_context[context],
    )


def _continuation(predecessors: Int[np.ndarray, " d_vocab"]) -> Float[np.ndarray, " d_vocab"]:
    discount = _discount(predecessors)
    n_types = predecessors.sum()
    spare = discount * (predecessors > 0).sum() / n_types
    return np.maximum(predecessors - discount, 0) / n_types + spare / len(predecessors)


def _discount(counts: Int[np.ndarray, " k"]) -> float:
    """n1 / (n1 + 2 n2); 0.5 where nothing occurred once: without a discount unseen words would have no mass."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once else 0.5
