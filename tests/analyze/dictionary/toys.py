"""Layers of which the number of features is known: sparse features written along random directions."""

import torch
from torch import Tensor


def features_on_directions(
    n_features: int, width: int, rate: float = 0.05, n_tokens: int = 8192, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Values [token width], features [token feature] and directions [feature width] of unit length."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand((n_tokens, n_features), generator=generator) < rate
    features = on * (0.5 + 0.5 * torch.rand((n_tokens, n_features), generator=generator))
    directions = torch.randn((n_features, width), generator=generator)
    if n_features <= width:
        directions = torch.linalg.qr(torch.randn((width, width), generator=generator))[0][:n_features]
    directions = torch.nn.functional.normalize(directions, dim=1)
    return features @ directions, features, directions
