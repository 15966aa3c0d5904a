"""A small GRU that repeats a sequence (problem 4.17), after Csordas et al. 2024 (2408.10920, "onion" representations).

It reads `length` tokens and a token that says go, then answers with the same tokens; each right answer is fed back.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class GruSettings(Section):
    """The sequences and the size of the state that has to hold them."""

    tokens: int = Field(default=8, ge=2, le=1000)
    length: int = Field(default=6, ge=2, le=100)
    hidden: int = Field(ge=1, le=2048)


def sequences(settings: GruSettings, n: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
    """Tokens drawn evenly."""
    return torch.randint(settings.tokens, (n, settings.length), generator=generator)


def step(
    parameters: Parameters, state: Float[Tensor, "rep n hidden"], token: Int[Tensor, " n"]
) -> Float[Tensor, "rep n hidden"]:
    """The state after one more token (Cho et al. 2014, with the reset gate after the product, as in torch)."""
    read = parameters["read"][:, token]  # [rep n 3 hidden]
    kept = state @ parameters["keep"] + parameters["bias"][:, None]
    update_x, reset_x, new_x = read.chunk(3, -1)
    update_h, reset_h, new_h = kept.chunk(3, -1)
    update, reset = torch.sigmoid(update_x + update_h), torch.sigmoid(reset_x + reset_h)
    new = torch.tanh(new_x + reset * new_h)
    return update * state + (1 - update) * new


def encode(
    settings: GruSettings, parameters: Parameters, tokens: Int[Tensor, "n length"]
) -> Float[Tensor, "rep n hidden"]:
    """The state after the whole sequence has been read."""
    state = torch.zeros(len(parameters["keep"]), len(tokens), settings.hidden)
    for place in range(settings.length):
        state = step(parameters, state, tokens[:, place])
    return state


def decode(
    settings: GruSettings, parameters: Parameters, state: Float[Tensor, "rep n hidden"], tokens: Int[Tensor, "n length"]
) -> Float[Tensor, "rep n length token"]:
    """Logits of the answers, from a state, where the right answers so far are fed back.

    A sequence is repeated without these crutches exactly where every answer with them is right.
    """
    logits = []
    fed = torch.full_like(tokens[:, 0], settings.tokens)
    for place in range(settings.length):
        state = step(parameters, state, fed)
        logits.append(state @ parameters["answer"] + parameters["answer_bias"][:, None])
        fed = tokens[:, place]
    return torch.stack(logits, 2)


def cross_entropy(
    logits: Float[Tensor, "rep n length token"], tokens: Int[Tensor, "n length"]
) -> Float[Tensor, " rep"]:
    """In nats, mean over sequences and places."""
    right = logits.log_softmax(-1).gather(3, tokens.expand(len(logits), *tokens.shape)[..., None])
    return -right.mean((1, 2, 3))


def _initial(settings: GruSettings, generator: torch.Generator) -> Parameters:
    scale = 1 / math.sqrt(settings.hidden)

    def drawn(*shape: int) -> Tensor:
        return scale * (2 * torch.rand(shape, generator=generator) - 1)

    return {
        "read": torch.randn(settings.tokens + 1, 3 * settings.hidden, generator=generator) * scale,
        "keep": drawn(settings.hidden, 3 * settings.hidden),
        "bias": torch.zeros(3 * settings.hidden),
        "answer": drawn(settings.hidden, settings.tokens),
        "answer_bias": torch.zeros(settings.tokens),
    }


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    tokens = sequences(settings, batch, generator)
    return cross_entropy(decode(settings, parameters, encode(settings, parameters, tokens), tokens), tokens)


PROGRAM = Program("gru", GruSettings, _initial, _losses)
