"""Output: which next tokens a neuron writes to the logits, how few they are, and whether they do follow.

A neuron's output row is its row of W_out W_U, one number a token of the vocabulary: what a unit of its
activation adds to each next-token logit directly, up to the final LayerNorm's scale at the token. LayerNorms
are folded in as far as they are linear: the final one's weight, and its removal of the mean over d_model; for
hook `mid` of a layer with a mid LayerNorm also that one's weight (its sign turns promotion into suppression)
and its removal of the mean over neurons. W_U is centred over the vocabulary, since a softmax does not see a
constant. What later layers make of the neuron is not in it, so for any layer but the last this is a part.

Kurtosis of rows: Gurnee et al., "Universal Neurons in GPT2 Language Models" (2024), section 5.1;
participation ratio: Bell and Dean, Discussions of the Faraday Society 50 (1970).
"""

from math import log

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.provenance import held_out, origin_of
from analyze.activations.store import Activations
from analyze.nulls.rotation import haar
from analyze.scores.base import About, NeuronScore
from analyze.scores.blocks import scored_blocks
from analyze.text.vocabulary import Vocabulary
from train.errors import BadInput

N_SHOWN = 5
"""Tokens of each end of a row that the table shows."""
FEWEST_FIRING = 10
"""A neuron that fires on fewer eval tokens has no agreement."""


def participation(row: Float[ndarray, "n v"]) -> Float[ndarray, " n"]:
    """(sum r^2)^2 / sum r^4: how many tokens a row is spread over; 1 for a single token, NaN for a row of zeros."""
    with np.errstate(invalid="ignore"):
        return np.square(np.square(row).sum(axis=1)) / (row**4).sum(axis=1)


def excess_kurtosis(row: Float[ndarray, "n v"]) -> Float[ndarray, " n"]:
    """Fourth standardised moment less 3 (that of the values, not an estimate of a population's)."""
    centred = row - row.mean(axis=1, keepdims=True)
    return row.shape[1] / participation(centred) - 3


def agreement(row: Float[ndarray, " v"], after_firing: Int[ndarray, " v"], after_others: Int[ndarray, " v"]) -> float:
    """AUROC of a row's value at the next token: that after a firing above that after another token.

    Args:
        row: the output row.
        after_firing: how often each token follows where the neuron fires.
        after_others: how often where it does not.

    Returns:
        0.5 at chance, 1 where every token that follows a firing is promoted more than any other follower; NaN
        where the neuron fires nowhere or everywhere. Equal values count as half.
    """
    fired, others = int(after_firing.sum()), int(after_others.sum())
    if not fired or not others:
        return float("nan")
    values, at = np.unique(row, return_inverse=True)
    ours = np.bincount(at, weights=after_firing, minlength=len(values))
    theirs = np.bincount(at, weights=after_others, minlength=len(values))
    below = np.cumsum(theirs) - theirs
    return float((ours * (below + theirs / 2)).sum() / (fired * others))


class OutputRows:
    """The output rows of the neurons of some activations, made a block at a time, in fp64."""

    def __init__(self, written: Float[Tensor, "n d_model"], unembedding: Float[Tensor, "v d_model"]) -> None:
        self.written, self.unembedding = written, unembedding

    def __getitem__(self, neurons: Int[ndarray, "n"] | slice) -> Float[ndarray, "n v"]:
        """The rows of some neurons."""
        return (self.written[neurons] @ self.unembedding.T).numpy()

    @classmethod
    @torch.no_grad()
    def of(cls, acts: Activations) -> "OutputRows | None":
        """Of the neurons, or of the directions of their Haar rotation R: logits sum_n a_n r_n = (a R)(R^T r).

        None for planted neurons, for any other null, and where the checkpoint is gone (see `origin_of`).
        """
        settings = acts.meta.settings
        if settings.get("null", "rotated") != "rotated":
            return None
        origin = origin_of(acts)
        if origin is None:
            return None
        model = origin.checkpoint.model()
        mlp = model.mlp(acts.meta.layer)
        written = mlp.fc_out.weight.double().T
        if acts.meta.hook == "mid" and mlp.ln is not None:
            written = written * mlp.ln.weight.double()[:, None]
            written = written - written.mean(0)
        written = written[torch.from_numpy(origin.neurons)]
        if "null" in settings:
            written = written[torch.tensor(settings["neurons"])]
            written = haar(len(written), settings["null_seed"]).T @ written
        if len(written) != acts.n_neurons:
            raise BadInput(f"{acts.meta.checkpoint_dir}: {len(written)} neurons where {acts.n_neurons} were collected")
        written = (written - written.mean(1, keepdim=True)) * model.ln_out.weight.double()
        unembedding = model.head.weight.double()
        return cls(written, unembedding - unembedding.mean(0))


def followers(acts: Activations) -> tuple[Int[ndarray, " e"], Int[ndarray, " e"]]:
    """The sampled tokens of eval documents that have a next one in the stream, and that next token.

    That is the token at stream_position + 1 of the data, which the model must predict; after a document's last token it
    is the separator, which the model predicts like any token.

    Raises:
        BadInput: the data directory has gone or is not the one that was collected on.
    """
    data = held_out(acts)
    stream = data.stream(0, data.n_tokens).astype(np.int64)
    after = acts.tokens.stream_position.astype(np.int64) + 1
    followed = np.flatnonzero(~acts.tokens.is_fit & (after < len(stream)))
    return followed, stream[after[followed]]


class Output(NeuronScore):
    """ln(V / (3 PR)): by how much fewer tokens a neuron's output row is spread over than a random row of V.

    PR is the row's participation ratio. A Gaussian row has PR = V / 3 and scores 0 at any vocabulary; a row on one
    token scores ln(V / 3). Rows are centred, so PR = V / (kurtosis + 3) and the excess kurtosis orders neurons in
    the same way; the logarithm keeps a few extreme rows from ruling means and z.

    It describes what the neuron does, not what it answers to: it takes two features that promote the same token for
    one, and a neuron with one feature that promotes many tokens scores low. It is never a verdict of monosemanticity.

    It reads the weights at meta.checkpoint_dir, which must hold the checkpoint that was collected (by its hash); NaN
    where it does not, for planted neurons, for dead and rare neurons, and for nulls other than the rotation, which
    turns the rows as well. It sees neither what later layers do nor the direct path's scale. A rare token with a long
    unembedding vector leads the ends of many rows.

    The table's output_agreement is the AUROC of the row at the next token, after firings against after other tokens,
    over eval documents (0.5: what the neuron promotes follows no more often than by chance). The usual successors of a
    token follow any neuron that fires on it, and any row has some part in bigrams, so rotations agree as well: medians
    of .51 to .59 where those of the neurons were .56 to .70.

    Cost: 2.3 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512, at d_model 64 and a
    vocabulary of 4,096, nearly all of it for the agreement; the rows take 2 x d_model x V operations a neuron.
    """

    name = "output"
    title = "output"
    number = 7
    rank = "output"
    about = About(
        definition="ln(V / 3 PR): how few next tokens its row of W_out W_U is spread over",
        cost="2.3",
        null="0 for a Gaussian row; a rotation turns the rows as well",
        fails="describes what it writes, not what it answers to; direct path alone",
    )
    needs = ("sample", "text", "weights")

    def table(self, acts: Activations) -> pl.DataFrame:
        """output, its kurtosis and participation ratio, the tokens at the row's ends, and its agreement."""
        n = acts.n_neurons
        figures = {name: np.full(n, np.nan) for name in ("output", "kurtosis", "participation", "agreement")}
        promotes: list[str | None] = [None] * n
        suppresses: list[str | None] = [None] * n
        rows, origin = OutputRows.of(acts), origin_of(acts)
        if rows is not None and origin is not None:
            vocabulary = Vocabulary.of(origin.checkpoint.tokenizer())
            tokens, after = followers(acts)
            for neurons, activations in scored_blocks(acts):
                row = rows[neurons]
                figures["output"][neurons] = concentration(row)
                figures["kurtosis"][neurons] = excess_kurtosis(row)
                figures["participation"][neurons] = participation(row)
                fires = activations.T.contiguous().numpy()[:, tokens] > acts.moments.threshold[neurons, None]
                figures["agreement"][neurons] = agreements(row, fires, after)
                for neuron, values in zip(neurons.tolist(), row):
                    promotes[neuron], suppresses[neuron] = ends(values, vocabulary)
        return pl.DataFrame(
            {
                "output": pl.Series(figures["output"], dtype=pl.Float64),
                "output_kurtosis": pl.Series(figures["kurtosis"], dtype=pl.Float64),
                "output_participation": pl.Series(figures["participation"], dtype=pl.Float64),
                "output_promotes": pl.Series(promotes, dtype=pl.String),
                "output_suppresses": pl.Series(suppresses, dtype=pl.String),
                "output_agreement": pl.Series(figures["agreement"], dtype=pl.Float64),
            }
        )


def concentration(row: Float[ndarray, "n v"]) -> Float[ndarray, " n"]:
    """ln(V / (3 PR)) of each row."""
    return np.log(row.shape[1] / participation(row)) - log(3)


def agreements(row: Float[ndarray, "n v"], fires: ndarray, after: Int[ndarray, " e"]) -> Float[ndarray, " n"]:
    """`agreement` of each row with the next tokens `after`; `fires`, bool [n e], says at which its neuron fires."""
    size = row.shape[1]
    everywhere = np.bincount(after, minlength=size)
    agreements = np.full(len(row), np.nan)
    for index, (values, firing) in enumerate(zip(row, fires)):
        here = np.bincount(after[firing], minlength=size)
        if here.sum() >= FEWEST_FIRING:
            agreements[index] = agreement(values, here, everywhere - here)
    return agreements


def ends(row: Float[ndarray, " v"], vocabulary: Vocabulary) -> tuple[str, str]:
    """The N_SHOWN most promoted and most suppressed tokens of a row, strongest first, as text."""
    order = np.argsort(row, kind="stable")
    return tuple(  # pyright: ignore[reportReturnType]
        ", ".join(vocabulary.shown(token) for token in picked.tolist())
        for picked in (order[::-1][:N_SHOWN], order[:N_SHOWN])
    )


SCORE = Output()
