"""Neurons of a T5 that memory does not hold: the residual stream on disk, one layer's weights in memory at a time.

The residual stream of all rows passes through a layer, row group by row group, into a new file; the layer's MLP inputs
go into another. When the layer is done, its source computes the neurons from those inputs, with W_in alone in memory.
A pass that was stopped goes on behind the last layer that was done.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from analyze.activations.source import SourceFacts
from analyze.models.opened import Tokens
from analyze.models.source import row_key
from analyze.models.t5_layers import LayerReader, Neurons, Shape, norm
from analyze.models.weight_files import Weights
from train.data.tokens import TokenFile
from train.files import write_atomic
from train.filesystem import require_space

TOKENS_AT_ONCE = 512
"""Of a pass through a layer: with 65,536 neurons their values take 134 MB."""
STATE = "state.json"


@dataclass(frozen=True)
class Rows:
    """What a T5 reads: rows for the encoder, and behind a start token for the decoder."""

    tokens: TokenFile
    mapping: Tokens
    n_rows: int
    start: int
    """The decoder's start token."""

    def groups(self) -> Iterator[tuple[slice, Int[Tensor, "batch pos"]]]:
        """polysem's rows, a few at a time."""
        size = max(1, TOKENS_AT_ONCE // self.tokens.n_ctx)
        for first in range(0, self.n_rows, size):
            stop = min(first + size, self.n_rows)
            yield slice(first, stop), self.tokens.plain_rows(first, stop - first)[:, : self.tokens.n_ctx]

    def ids(self, rows: Int[Tensor, "batch pos"], stack: str) -> Int[Tensor, "batch pos"]:
        """The model's ids of polysem's rows."""
        ids = self.mapping.to_model(rows, masked=False)
        if stack == "decoder":
            ids[:, 0] = self.start
        return ids


class StreamedStack:
    """One stack of a T5 over all rows, layer by layer, in files below a directory.

    Args:
        encoded: the encoder's output on the rows, for a decoder.
    """

    def __init__(
        self, weights: Weights, shape: Shape, stack: str, rows: Rows, work: Path, encoded: np.ndarray | None = None
    ) -> None:
        self.reader, self.shape, self.stack, self.rows, self.work = (
            LayerReader(weights, shape, stack),
            shape,
            stack,
            rows,
            work,
        )
        self.encoded = encoded
        self._size = (rows.n_rows, rows.tokens.n_ctx, shape.d_model)
        work.mkdir(parents=True, exist_ok=True)
        require_space(work, 3 * 4 * int(np.prod(self._size)))

    def _file(self, name: str, mode: Literal["r", "r+", "w+"]) -> np.ndarray:
        return np.memmap(self.work / name, np.float32, mode, shape=self._size)

    def done(self) -> int:
        """Layers that the residual stream has passed through."""
        path = self.work / STATE
        return json.loads(path.read_text())["done"] if path.is_file() else -1

    @torch.no_grad()
    def embed(self) -> None:
        """The residual stream before the first layer."""
        if self.done() >= 0:
            return
        table = self.reader.weights.tensor("shared.weight", (self.shape.d_vocab, self.shape.d_model))
        residual = self._file("residual-0", "w+")
        for place, rows in self.rows.groups():
            residual[place] = table[self.rows.ids(rows, self.stack)].numpy()
        self._end(0, residual)

    def _end(self, done: int, residual: np.ndarray) -> None:
        residual.flush()  # pyright: ignore[reportAttributeAccessIssue]
        write_atomic(self.work / STATE, json.dumps({"done": done}).encode())
        if done:
            (self.work / f"residual-{done - 1}").unlink(missing_ok=True)

    @torch.no_grad()
    def through(self, layer: int) -> None:
        """Take the residual stream through a layer, the next one; keeps the layer's MLP inputs."""
        reader, shape, n_pos = self.reader, self.shape, self.rows.tokens.n_ctx
        attention, neurons, w_out = reader.self_attention(layer), reader.neurons(layer), reader.w_out(layer)
        cross = reader.cross_attention(layer) if self.stack == "decoder" else None
        bias, before = reader.bias(n_pos), self._file(f"residual-{layer}", "r")
        after, inputs = self._file(f"residual-{layer + 1}", "w+"), self._file("inputs", "w+")
        total = self.rows.n_rows * n_pos
        with tqdm(total=total, unit="tok", unit_scale=True, disable=None, desc=f"{self.stack} {layer}") as bar:
            for place, rows in self.rows.groups():
                x = torch.from_numpy(before[place].copy())
                x = x + attention.write(x, None, bias, shape)
                if cross is not None:
                    assert self.encoded is not None
                    source = torch.from_numpy(self.encoded[place].copy())
                    x = x + cross.write(x, source, torch.zeros(()), shape)
                read = neurons.read(x)
                inputs[place] = read.numpy()
                after[place] = (x + torch.nn.functional.linear(neurons.values(read), w_out)).numpy()
                bar.update(rows.numel())
        inputs.flush()  # pyright: ignore[reportAttributeAccessIssue]
        self._end(layer + 1, after)

    @torch.no_grad()
    def output(self) -> np.ndarray:
        """The stack's output on all rows, behind its last norm."""
        n_layers = self.shape.n_layers[self.stack]
        weight, residual = self.reader.final_norm(), self._file(f"residual-{n_layers}", "r")
        out = self._file("output", "w+")
        for place, _ in self.rows.groups():
            out[place] = norm(torch.from_numpy(residual[place].copy()), weight, self.shape.eps).numpy()
        return out

    def inputs(self) -> np.ndarray:
        """The MLP inputs of the layer that was gone through last."""
        return self._file("inputs", "r")


class StreamedLayer:
    """A layer and hook of a streamed T5 as a `NeuronSource`: W_in in memory, its inputs on disk."""

    def __init__(
        self,
        facts: SourceFacts,
        neurons: Neurons,
        inputs: np.ndarray,
        index: dict[bytes, int],
        chosen: np.ndarray | None = None,
    ) -> None:
        self.facts = facts
        if chosen is not None:
            which = torch.from_numpy(chosen)
            gate = None if neurons.gate is None else neurons.gate[which]
            neurons = Neurons(neurons.norm, neurons.up[which], gate, neurons.act, neurons.eps)
        self._neurons, self._inputs, self._index = neurons, inputs, index

    @torch.no_grad()
    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """The activation of each neuron at each position; 0 in rows that only fill a batch."""
        out = torch.zeros(*tokens.shape, len(self._neurons.up))
        for place, row in enumerate(tokens.numpy()):
            number = self._index.get(row_key(row))
            if number is not None:
                read = torch.from_numpy(self._inputs[number].copy())
                out[place] = self._neurons.values(read, self.facts.hook)
        return out


def index_of(rows: Rows) -> dict[bytes, int]:
    """The number of each row by its key."""
    return {row_key(row): place.start + at for place, group in rows.groups() for at, row in enumerate(group.numpy())}
