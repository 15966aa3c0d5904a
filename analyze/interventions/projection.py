"""Take a subspace out of what stands at a site, or leave nothing but it."""

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.interventions.base import Change, Site
from train.errors import BadInput

Basis = Float[Tensor, "width k"]


def remove_subspace(layer: int, site: Site, basis: Basis, mean: Float[Tensor, " width"] | None = None) -> Change:
    """What lies in the span of `basis` becomes what the mean has there (0 where no mean is given).

    Args:
        basis: orthonormal columns.

    Raises:
        BadInput: columns that are not orthonormal.
    """
    _check(basis)

    def edit(values: Tensor) -> Tensor:
        away = values if mean is None else values - mean.to(values)
        return values - (away @ basis.to(values)) @ basis.to(values).T

    return Change(layer, site, edit)


def keep_subspace(layer: int, site: Site, basis: Basis, mean: Float[Tensor, " width"] | None = None) -> Change:
    """What lies outside of the span of `basis` becomes what the mean has there (0 where no mean is given).

    Raises:
        BadInput: columns that are not orthonormal.
    """
    _check(basis)

    def edit(values: Tensor) -> Tensor:
        centre = torch.zeros_like(values[..., :1, :]) if mean is None else mean.to(values)
        return centre + ((values - centre) @ basis.to(values)) @ basis.to(values).T

    return Change(layer, site, edit)


def _check(basis: Basis) -> None:
    product = basis.double().T @ basis.double()
    if not torch.allclose(product, torch.eye(basis.shape[1], dtype=torch.float64), atol=1e-4):
        raise BadInput("basis: its columns are not orthonormal")
