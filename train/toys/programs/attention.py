"""Skip trigrams in attention heads (problem 4.15): more trigrams than heads, with one source for all or one each.

A skip trigram says: where its source came before and its destination stands now, its answer follows. A row has `length`
tokens; its last one is a destination. With probability 1/2 the source of that destination's trigram stands at a random
earlier place: then the right answer is the trigram's, else every answer is equally likely.

"shared": one token is the source of all trigrams (OV-incoherent: what a head moves from the source cannot say which
destination asks). "own": every trigram has its own source. Nothing bypasses the heads, as in Jermyn, Olah
and Henighan 2023 (Attention Head Superposition; its July update has the solution with two heads). Heads are tables of
tokens by tokens, or of low rank on embeddings, as a transformer's, which find that solution more often.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program

EMBEDDING = 0.3
"""Standard deviation of embeddings at the start."""


class AttentionSettings(Section):
    """The trigrams, and a layer of attention heads without anything else."""

    sources: Literal["shared", "own"]
    trigrams: int = Field(default=8, ge=2, le=512)
    heads: int = Field(default=2, ge=1, le=64)
    length: int = Field(default=6, ge=2, le=256)
    embedding: int | None = Field(default=None, ge=1, le=4096)
    """Dimensions of an embedding of tokens, that heads read and write through as in a transformer; left out: each head
    is a table of tokens by tokens."""
    rank: int = Field(default=8, ge=1, le=4096)
    """Dimensions of a head, where there is an embedding."""


def n_tokens(settings: AttentionSettings) -> int:
    """Destinations 0 .. trigrams - 1, then the sources."""
    return settings.trigrams + (1 if settings.sources == "shared" else settings.trigrams)


def rows(
    settings: AttentionSettings, n: int, generator: torch.Generator
) -> tuple[Int[Tensor, "n length"], Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Rows of tokens, the trigram of each row's last token, and whether its source is there (1) or not (0)."""
    tokens = torch.randint(settings.trigrams, (n, settings.length), generator=generator)
    trigram = tokens[:, -1]
    there = (torch.rand(n, generator=generator) < 0.5).float()
    place = torch.randint(settings.length - 1, (n,), generator=generator)
    source = settings.trigrams + (torch.zeros_like(trigram) if settings.sources == "shared" else trigram)
    if settings.sources == "own":
        # Sources of other trigrams stand about too: a source alone must not tell the answer.
        other = torch.randint(settings.trigrams, (n, settings.length - 1), generator=generator)
        stray = (torch.rand(n, settings.length - 1, generator=generator) < 0.25) & (other != trigram[:, None])
        tokens[:, :-1] = torch.where(stray, settings.trigrams + other, tokens[:, :-1])
    lines = torch.arange(n)
    tokens[lines, place] = torch.where(there > 0, source, tokens[lines, place])
    return tokens, trigram, there


def circuits(parameters: Parameters) -> Parameters:
    """QK [rep head token token] and OV [rep head token out] of heads, which tables are and others multiply to."""
    if "E" not in parameters:
        return parameters
    E = parameters["E"][:, None]
    return {
        "QK": (E @ parameters["Q"]) @ (E @ parameters["K"]).mT,
        "OV": (E @ parameters["V"]) @ parameters["O"] @ parameters["U"][:, None],
    }


def written(parameters: Parameters, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "rep n head out"]:
    """What every head writes at the last position, as logits."""
    heads = circuits(parameters)
    scores = heads["QK"][:, :, tokens[:, -1]]  # [rep head n token]
    scores = scores.gather(3, tokens.expand(*scores.shape[:2], *tokens.shape))
    pattern = scores.softmax(-1)
    values = heads["OV"][:, :, tokens]  # [rep head n length out]
    return torch.einsum("rhnl,rhnlo->rnho", pattern, values)


def excess(
    settings: AttentionSettings,
    logits: Float[Tensor, "rep n out"],
    trigram: Int[Tensor, " n"],
    there: Float[Tensor, " n"],
) -> Float[Tensor, "rep n"]:
    """Kullback-Leibler divergence of the right distribution from the answered one, in nats: 0 at best."""
    log = logits.log_softmax(-1)
    right = log.gather(2, trigram.expand(len(log), -1)[..., None])[..., 0]
    even = log.mean(-1) + torch.log(torch.tensor(float(settings.trigrams)))
    return -(there * right + (1 - there) * even)


def two_heads(settings: AttentionSettings, size: float = 8.0) -> Parameters:
    """The published solution for a shared source, with a replica axis of 1: head 0 reads the destination and writes its
    answer; head 1 reads the source where it is there and writes nothing, else the destination, and takes it back."""
    n, tokens = settings.trigrams, n_tokens(settings)
    QK, OV = torch.zeros(2, tokens, tokens), torch.zeros(2, tokens, n)
    destinations = torch.arange(n)
    QK[:, destinations, destinations] = 12.0
    QK[1, destinations, n] = 24.0
    OV[0, destinations, destinations] = size
    OV[1, destinations, destinations] = -size
    return {"QK": QK[None], "OV": OV[None]}


def _initial(settings: AttentionSettings, generator: torch.Generator) -> Parameters:
    tokens = n_tokens(settings)
    if settings.embedding is not None:
        d, rank, heads, out = settings.embedding, settings.rank, settings.heads, settings.trigrams

        def drawn(*shape: int, scale: float) -> Tensor:
            return scale * torch.randn(*shape, generator=generator)

        read = {name: drawn(heads, d, rank, scale=1 / math.sqrt(d)) for name in ("Q", "K", "V")}
        own = {"E": drawn(tokens, d, scale=EMBEDDING), "O": drawn(heads, rank, d, scale=1 / math.sqrt(d))}
        return {**own, **read, "U": drawn(d, out, scale=1 / math.sqrt(d))}
    return {
        "QK": 0.1 * torch.randn(settings.heads, tokens, tokens, generator=generator),
        "OV": 0.1 * torch.randn(settings.heads, tokens, settings.trigrams, generator=generator),
    }


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    tokens, trigram, there = rows(settings, batch, generator)
    logits = written(parameters, tokens).sum(2)
    return excess(settings, logits, trigram, there).mean(1)


PROGRAM = Program("attention", AttentionSettings, _initial, _losses)
