"""A layer and hook of a model as a source of neurons, and the passes that fill several layers at once.

A forward pass that stops at layer 20 has computed the twenty before it. So the values of as many layers as fit on the
disk are written in one pass, and each layer's source reads its own from there; a collection then sees the rows in
whatever order it asks for them.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from analyze.activations.source import SourceFacts, choose_neurons
from analyze.models.forward import Reader
from train.data.tokens import TokenFile
from train.filesystem import require_space

ROWS_AT_ONCE = 2048
"""Tokens of a forward pass."""

Place = tuple[int, str]
"""Layer and hook."""


class LayerValues:
    """Values of one layer and hook on the rows of prepared data, on disk; a `NeuronSource`."""

    def __init__(self, facts: SourceFacts, values: np.ndarray, index: dict[bytes, int]) -> None:
        self.facts = facts
        self._values, self._index = values, index

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """The activation of each neuron at each position; 0 in rows that only fill a batch."""
        out = torch.zeros(*tokens.shape, self._values.shape[-1])
        for place, row in enumerate(tokens.numpy()):
            number = self._index.get(row_key(row))
            if number is not None:
                out[place] = torch.from_numpy(self._values[number])
        return out


def row_key(row: np.ndarray) -> bytes:
    """What names a row: equal rows have equal values."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype=np.int64).tobytes()).digest()


def write_values(
    reader: Reader,
    tokens: TokenFile,
    n_rows: int,
    places: Sequence[Place],
    chosen: dict[int, np.ndarray | None],
    widths: Sequence[int],
    work: Path,
) -> tuple[dict[Place, np.ndarray], dict[bytes, int]]:
    """Run the model over the rows once and keep every wanted value, fp32, in files below `work`.

    Args:
        chosen: of each layer the neurons to keep; None: all.

    Raises:
        EnvironmentProblem: too little disk.
    """
    n_ctx = tokens.n_ctx
    kept = {layer: widths[layer] if which is None else len(which) for layer, which in chosen.items()}
    require_space(work, sum(4 * n_rows * n_ctx * kept[layer] for layer, _ in places))
    files = {
        place: np.memmap(work / f"L{place[0]}.{place[1]}", np.float32, "w+", shape=(n_rows, n_ctx, kept[place[0]]))
        for place in places
    }
    index: dict[bytes, int] = {}
    size, layers = max(1, ROWS_AT_ONCE // n_ctx), sorted({layer for layer, _ in places})
    hooks = tuple(dict.fromkeys(hook for _, hook in places))
    what = f"layers {layers[0]}..{layers[-1]}"
    with tqdm(total=n_rows * n_ctx, unit="tok", unit_scale=True, disable=None, desc=what) as bar:
        for first in range(0, n_rows, size):
            rows = tokens.plain_rows(first, min(size, n_rows - first))[:, :n_ctx]
            found = reader.neurons(rows, layers, hooks)
            for place in places:
                values, which = found[place], chosen[place[0]]
                part = values if which is None else values[..., torch.from_numpy(which)]
                files[place][first : first + len(rows)] = part.numpy()
            for number, row in enumerate(rows.numpy(), start=first):
                index[row_key(row)] = number
            bar.update(rows.numel())
    return dict(files), index


def chosen_of(widths: Sequence[int], layers: Sequence[int], at_most: int | None) -> dict[int, np.ndarray | None]:
    """Of each layer the neurons that are kept, the same seeded choice for every model of this width."""
    return {layer: choose_neurons(widths[layer], at_most, 0) for layer in layers}
