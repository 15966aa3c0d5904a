"""What splitting a neuron was worth: the loss that comes back when its children are merged into one again.

    step-000000489/L0.mid.split/   sealed: splits.parquet, beside L0.mid.fission

Each child of a parent is given the mean of its siblings' weights, so that they are k equal copies of one neuron (what
the layer writes with a sum of W_out that is unchanged), and the held-out loss is taken again. Copies that have moved
together lose nothing by it: that is training, not splitting. Right after zero-sum noise nothing is lost either.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from analyze.activations.directory import beside
from train.checkpoint import Checkpoint
from train.data.tokens import TokenFile
from train.files import canonical_json, publishing, read_manifest
from train.model import Block, Transformer

ROWS = 16
"""Held-out rows, spread evenly, that losses are taken on: the unit of the standard errors."""
PIECE_TOKENS = 256
"""Tokens whose logits are held at a time: 4 MB for 4,096 words take half the time of 64 MB."""

NOTICEABLE = 1e-6
"""Nats a token below which a difference is the rounding of fp32."""


def write_splits(
    checkpoint: Checkpoint, layer: int, families: Int[np.ndarray, "parent child"], tokens: TokenFile, fission: Path
) -> Path:
    """Measure every parent of a layer into a sealed directory beside `fission`, unless that is there."""
    final = beside(fission, "split")
    depends = {"checkpoint_hash": checkpoint.hash, "data_hash": tokens.data_hash, "layer": layer, "rows": ROWS}
    if final.is_dir() and canonical_json(read_manifest(final).get("depends")) == canonical_json(depends):
        return final
    table, loss, merged = measure_splits(checkpoint.model(), layer, families, spread_rows(tokens))
    facts: dict[str, Any] = {"kind": "splits", "depends": depends, "loss": loss, "loss_all_merged": merged}
    with publishing(final, facts, replace=True) as aside:
        table.write_parquet(aside / "splits.parquet")
    return final


def read_splits(fission: Path) -> tuple[pl.DataFrame, float, float] | None:
    """The table, the loss and the loss with all merged at once; None where they were not measured."""
    final = beside(fission, "split")
    if not final.is_dir():
        return None
    facts = read_manifest(final)
    return pl.read_parquet(final / "splits.parquet"), facts["loss"], facts["loss_all_merged"]


def spread_rows(tokens: TokenFile, at_most: int = ROWS) -> Int[Tensor, "row pos"]:
    """Whole rows, spread evenly over the split."""
    wanted = min(at_most, tokens.n_rows)
    return torch.cat([tokens.plain_rows(index * tokens.n_rows // wanted, 1) for index in range(wanted)])


def n_worth(table: pl.DataFrame) -> int:
    """Parents whose split recovered more than two standard errors, and more than rounding."""
    worth = (pl.col("recovered") > 2 * pl.col("recovered_se")) & (pl.col("recovered") > NOTICEABLE)
    return table.filter(worth).height


@torch.no_grad()
def measure_splits(
    model: Transformer, layer: int, families: Int[np.ndarray, "parent child"], rows: Int[Tensor, "row pos"]
) -> tuple[pl.DataFrame, float, float]:
    """What each parent's split is worth on some rows.

    Args:
        families: row p: the neurons that were copied from neuron p of the parent.
        rows: [row n_ctx + 1]; a model reads all but the last token of each and predicts all but the first.

    Returns:
        A table of parent, recovered (nats a token: loss with its children merged, minus loss) and recovered_se
        (over rows); the loss; and the loss with every family merged at once.
    """
    reads, targets = rows[:, :-1], rows[:, 1:]
    x = model.embed(reads)
    for block in model.layers[:layer]:
        x = block(x)
    block = model.layers[layer]
    assert isinstance(block, Block)
    x = x + block.attn(block.ln1(x))
    read = block.ln2(x)

    def losses() -> Float[Tensor, "row"]:
        out = x + block.mlp(read)
        for later in model.layers[layer + 1 :]:
            out = later(out)
        return row_losses(model, model.ln_out(out), targets)

    own = losses()
    index = torch.from_numpy(families)
    gains = torch.zeros(len(families), len(rows), dtype=torch.float64)
    for parent in tqdm(range(len(families)), desc="splits", unit="parent", disable=None, file=sys.stderr):
        with merged(model, layer, index[parent : parent + 1]):
            gains[parent] = losses() - own
    with merged(model, layer, index):
        together = float(losses().mean())
    spread = gains.std(1, correction=1) / len(rows) ** 0.5 if len(rows) > 1 else torch.full((len(gains),), torch.nan)
    table = pl.DataFrame(
        {
            "parent": pl.Series(np.arange(len(families)), dtype=pl.Int32),
            "recovered": pl.Series(gains.mean(1).numpy()),
            "recovered_se": pl.Series(spread.numpy()),
        }
    )
    return table.with_columns(pl.col("recovered_se").fill_nan(None)), float(own.mean()), together


@contextmanager
def merged(model: Transformer, layer: int, families: Int[Tensor, "parent child"]) -> Iterator[None]:
    """Inside it, the children of each of these parents have the mean of their siblings' weights."""
    mlp = model.mlp(layer)
    by_row = [mlp.fc_in.weight, mlp.fc_in.bias, mlp.fc_out.weight.T]
    if mlp.ln is not None:
        by_row += [mlp.ln.weight, mlp.ln.bias]
    kept = [(weights, weights[families]) for weights in by_row]
    for weights, before in kept:
        weights[families] = before.mean(1, keepdim=True).expand_as(before)
    try:
        yield
    finally:
        for weights, before in kept:
            weights[families] = before


def row_losses(
    model: Transformer, x: Float[Tensor, "row pos d_model"], targets: Int[Tensor, "row pos"]
) -> Float[Tensor, "row"]:
    """Mean cross-entropy of every row, nats a token, fp64 sums."""
    n_rows = max(1, PIECE_TOKENS // x.shape[1])
    found = []
    for first in range(0, len(x), n_rows):
        logits, target = model.head(x[first : first + n_rows]), targets[first : first + n_rows]
        right = logits.gather(-1, target[..., None])[..., 0]
        found.append((logits.logsumexp(-1) - right).double().mean(1))
    return torch.cat(found)
