"""Small things to collect from: a data directory as `train prepare` writes them, and neurons of tokens."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.collect import collect_source
from analyze.activations.source import SourceFacts
from analyze.activations.store import Activations
from analyze.activations.token_sample import document_halves
from tests.analyze.data import seal_data
from train.data.tokens import TokenFile
from train.hashes import sha256

N_CTX = 16
D_VOCAB = 50
LENGTHS = [3 + (11 * i) % 40 for i in range(80)]
"""Of eighty documents."""


def write_data(directory: Path, lengths: list[int], seed: int = 0) -> Path:
    """A data directory whose evaluation split holds documents of these lengths, of random tokens 1..49."""
    generator = np.random.default_rng(seed)
    stream: list[int] = []
    rows = []
    for index, length in enumerate(lengths):
        tokens = generator.integers(1, D_VOCAB, length).tolist()
        rows.append({"split": "eval", "index": index, "start": len(stream), "length": length})
        rows[-1]["sha256"] = hashlib.sha256(f"{seed}/{index}".encode()).hexdigest()
        stream += [*tokens, 0]
    tokens = {"fit": [1] * N_CTX, "eval": stream}
    return seal_data(directory, tokens, pl.DataFrame(rows), D_VOCAB, N_CTX, tokenizer="{}")


class FakeSource:
    """Neurons that are a fixed random function of the token, its predecessor and the position."""

    def __init__(self, n_neurons: int = 6, seed: int = 0, name: str = "a", n_ctx: int = N_CTX) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tables = torch.randn(2, D_VOCAB, n_neurons, generator=generator)
        self.calls: list[tuple[int, ...]] = []
        self.facts = SourceFacts(
            name=name,
            run=name,
            variant=name,
            seed=seed,
            step=0,
            tokens_seen=0,
            layer=0,
            hook="mid",
            act="relu",
            n_neurons=n_neurons,
            n_params=1,
            root_variant=name,
            checkpoint_hash=f"{name}{seed}",
            checkpoint_dir="",
            n_ctx=n_ctx,
            tokenizer_sha256=sha256(b"{}"),
        )

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        self.calls.append(tuple(tokens.shape))
        before = torch.nn.functional.pad(tokens, (1, 0))[:, :-1]
        position = torch.arange(tokens.shape[1])[None, :, None] / 100
        return self.tables[0][tokens] + self.tables[1][before] / 4 + position


def collected(root: Path, name: str = "a", seed: int = 0) -> Activations:
    """Forty documents collected from a FakeSource into root/name/step-000000000/L0.mid."""
    data = root / "data"
    if not data.exists():
        write_data(data, [5 + (7 * i) % 31 for i in range(40)])
    tokens = TokenFile.open(data, "eval")
    out = root / name / "step-000000000" / "L0.mid"
    return collect_source(FakeSource(seed=seed, name=name), tokens, out, say=lambda _: None)


def quiet(_: str) -> None:
    """Say nothing."""


def by_hand(tokens: TokenFile, source: FakeSource) -> pl.DataFrame:
    """Every token that counts, one row each, straight from the definitions."""
    documents = tokens.documents()
    halves = document_halves(documents["sha256"].to_list())
    rows = []
    for row in range(tokens.n_rows):
        ids = tokens.plain_rows(row, 1)[:, :N_CTX]
        values = source.activations(ids)[0]
        for position in range(1, N_CTX):
            if ids[0, position] == 0:
                continue
            where = row * N_CTX + position - 1
            document = int((documents["start"].to_numpy() <= where).sum()) - 1
            rows.append(
                {
                    "id": int(ids[0, position]),
                    "previous": int(ids[0, position - 1]),
                    "document": document,
                    "position": position,
                    "stream_position": where,
                    "is_fit": bool(halves[document]),
                    "values": values[position].tolist(),
                }
            )
    return pl.DataFrame(rows)
