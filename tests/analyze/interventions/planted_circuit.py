"""A transformer in which known neurons carry a known feature."""

import torch
from torch import Tensor

from train.config import ModelConfig
from train.model import Transformer

FEATURE = (5, 6, 7)
"""Tokens that bear the feature."""
ANSWER = 9
"""The token that always follows them."""
CARRIERS = (3, 11, 20)


def planted_circuit(n_layers: int = 1, seed: int = 0) -> Transformer:
    """Neurons 3, 11 and 20 of layer 0 answer to tokens 5, 6 and 7 and raise the logit of token 9; the rest is noise."""
    config = ModelConfig(
        n_layers=n_layers, d_model=32, n_heads=4, n_ctx=16, d_vocab=24, act="relu", widths=(40,) * n_layers
    )
    model = Transformer(config, seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
        elif parameter.shape[0] != 32 or not bool((parameter == 1).all()):
            parameter.zero_()
    directions = torch.linalg.qr(torch.randn(32, 26, generator=generator))[0].T
    directions = directions - directions.mean(1, keepdim=True)
    model.tok_embed.weight += 4 * directions[:24]
    model.head.weight += directions[:24]
    mlp = model.mlp(0)
    marker = sum(directions[token] for token in FEATURE)
    for neuron, size in zip(CARRIERS, (3.0, 2.0, 1.0), strict=True):
        mlp.fc_in.weight[neuron] = marker
        mlp.fc_out.weight[:, neuron] = size * directions[ANSWER]
    return model


def rows(n: int = 32, seed: int = 0) -> Tensor:
    """Random tokens in which ANSWER follows every token of FEATURE."""
    tokens = torch.randint(0, 24, (n, 17), generator=torch.Generator().manual_seed(seed))
    for position in range(1, 17):
        marked = torch.isin(tokens[:, position - 1], torch.tensor(FEATURE))
        tokens[marked, position] = ANSWER
    return tokens


def where(tokens: Tensor) -> Tensor:
    """Positions of the feature among those that are read."""
    return torch.isin(tokens[:, :-1], torch.tensor(FEATURE))
