"""What splitting a neuron gains: how much the loss rises when its children are merged into one neuron again.

    step-000000489/L0.mid.split/   sealed: splits.parquet, next to L0.mid.fission

Each child of a parent gets the mean of its siblings' weights, so that they are k equal copies of one neuron (the layer
writes with the same sum of W_out as before), and the held-out loss is measured again. Copies that have moved together
lose nothing by this: they were trained, not split. Right after zero-sum noise nothing is lost either.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from analyze.activations.directory import beside
from train.checkpoint import Checkpoint
from train.data.tokens import TokenFile
from train.files import found_or_made, verify
from train.loss import losses_of_tokens
from train.model import MLP, Transformer
from train.parquet import read_parquet, write_parquet

ROWS = 16
"""Held-out rows, spread evenly, on which losses are measured: the unit of the standard errors."""
NOTICEABLE = 1e-6
"""Nats a token below which a difference is the rounding of fp32."""


def write_splits(
    checkpoint: Checkpoint, layer: int, families: Int[ndarray, "parent child"], tokens: TokenFile, fission: Path
) -> Path:
    """Measure every parent of a layer into a sealed directory next to `fission`, unless it is already there."""

    def make(aside: Path) -> dict[str, Any]:
        table, loss, all_merged = measure_splits(checkpoint.model(), layer, families, spread_rows(tokens))
        write_parquet(table, aside / "splits.parquet")
        return {"kind": "splits", "loss": loss, "loss_all_merged": all_merged}

    depends = {"checkpoint_hash": checkpoint.hash, "data_hash": tokens.data_hash, "layer": layer, "rows": ROWS}
    final = beside(fission, "split")
    found_or_made(final, {"depends": depends}, make)
    return final


def read_splits(fission: Path) -> tuple[pl.DataFrame, float, float] | None:
    """The table, the loss and the loss with all families merged at once; None if they were not measured."""
    final = beside(fission, "split")
    if not final.is_dir():
        return None
    facts = verify(final)
    return read_parquet(final / "splits.parquet"), facts["loss"], facts["loss_all_merged"]


def spread_rows(tokens: TokenFile, at_most: int = ROWS) -> Int[Tensor, "row pos"]:
    """Whole rows, spread evenly over the split."""
    wanted = min(at_most, tokens.n_rows)
    return torch.cat([tokens.plain_rows(index * tokens.n_rows // wanted, 1) for index in range(wanted)])


def n_noticeable(table: pl.DataFrame) -> int:
    """Parents whose split recovered more than two standard errors, and more than rounding."""
    return table.filter(pl.col("recovered") > 2 * pl.col("recovered_se"), pl.col("recovered") > NOTICEABLE).height


@torch.no_grad()
def measure_splits(
    model: Transformer, layer: int, families: Int[ndarray, "parent child"], rows: Int[Tensor, "row pos"]
) -> tuple[pl.DataFrame, float, float]:
    """How much loss each parent's split recovers on some rows.

    Args:
        families: row p: the neurons that were copied from neuron p of the parent.
        rows: [row n_ctx + 1]; a model reads all but the last token of each and predicts all but the first.

    Returns:
        A table of parent, recovered (nats a token: loss with its children merged, minus loss) and recovered_se
        (over rows); the loss; and the loss with every family merged at once.
    """
    x, targets, block = model.residual_mid(rows[:, :-1], layer), rows[:, 1:], model.block(layer)
    read = block.ln2(x)

    def losses_of(changed: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row"]:
        out = x + changed
        for later in model.layers[layer + 1 :]:
            out = later(out)
        return row_losses(model, model.ln_out(out), targets)

    own = losses_of(written := block.mlp(read))
    index = torch.from_numpy(families)
    gains = torch.zeros(len(families), len(rows), dtype=torch.float64)
    difference = _Alone(block.mlp, read, index) if block.mlp.activation.neurons_are_alone else None
    for parent in tqdm(range(len(families)), desc="splits", unit="parent", disable=None, file=sys.stderr):
        if difference is not None:
            gains[parent] = losses_of(written + difference[parent]) - own
            continue
        with merged(model, layer, index[parent : parent + 1]):
            gains[parent] = losses_of(block.mlp(read)) - own
    with merged(model, layer, index):
        all_merged = float(losses_of(block.mlp(read)).mean())
    spread = gains.std(1, correction=1) / len(rows) ** 0.5 if len(rows) > 1 else torch.full((len(gains),), torch.nan)
    columns = {"recovered": gains.mean(1).numpy(), "recovered_se": spread.numpy()}
    table = pl.DataFrame({"parent": pl.Series(range(len(families)), dtype=pl.Int32), **columns})
    return table.with_columns(pl.col("recovered_se").fill_nan(None)), float(own.mean()), all_merged


class _Alone:
    """What merging each family changes in what the layer writes, where no neuron depends on another.

    A family's own part of the layer, in place of the whole layer once a family; and what the other neurons write then
    cancels exactly instead of up to rounding.
    """

    def __init__(self, mlp: MLP, read: Float[Tensor, "row pos d_model"], families: Int[Tensor, "parent child"]) -> None:
        self._families, self._neurons, self._w_out = families, mlp.neurons(read), mlp.fc_out.weight.T
        pre = F.linear(read, mlp.fc_in.weight[families].mean(1), mlp.fc_in.bias[families].mean(1))
        self._merged, self._k = mlp.activation.function(pre), families.shape[1]

    def __getitem__(self, parent: int) -> Float[Tensor, "row pos d_model"]:
        own = self._families[parent]
        w_out = self._w_out[own]
        mean = self._k * w_out.mean(0, keepdim=True)
        return self._merged[..., parent : parent + 1] @ mean - self._neurons[..., own] @ w_out


@contextmanager
def merged(model: Transformer, layer: int, families: Int[Tensor, "parent child"]) -> Iterator[None]:
    """Inside the block, the children of each of these parents have the mean of their siblings' weights."""
    mlp = model.mlp(layer)
    by_row = [mlp.fc_in.weight, mlp.fc_in.bias, mlp.fc_out.weight.T]
    if mlp.ln is not None:
        by_row += [mlp.ln.weight, mlp.ln.bias]
    originals = [(weights, weights[families]) for weights in by_row]
    for weights, original in originals:
        weights[families] = original.mean(1, keepdim=True).expand_as(original)
    try:
        yield
    finally:
        for weights, original in originals:
            weights[families] = original


def row_losses(
    model: Transformer, x: Float[Tensor, "row pos d_model"], targets: Int[Tensor, "row pos"]
) -> Float[Tensor, "row"]:
    """Mean cross-entropy of every row, nats a token, summed in fp64."""
    return losses_of_tokens(model, x, targets).double().mean(1)
