"""Put what stands at a site in another pass, or a part of it, into this one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.interventions.base import Change, Site

Positions = Sequence[int] | Tensor | slice


def patch(
    layer: int, site: Site, donors: Float[Tensor, "batch pos *width"], positions: Positions = slice(None)
) -> Change:
    """At some positions, what stands at the site comes from another pass over rows of the same shape.

    Args:
        donors: the other pass's values, as `read_site` gives them.
    """

    def edit(values: Tensor) -> Tensor:
        values = values.clone()
        values[:, positions] = donors[: len(values), positions].to(values)
        return values

    return Change(layer, site, edit)


def patch_subspace(
    layer: int,
    site: Site,
    donors: Float[Tensor, "batch pos width"],
    basis: Float[Tensor, "width k"],
    positions: Positions = slice(None),
) -> Change:
    """As `patch`, but only what lies in the span of `basis` (orthonormal columns) comes from the other pass."""

    def edit(values: Tensor) -> Tensor:
        values, span = values.clone(), basis.to(values)
        difference = donors[: len(values), positions].to(values) - values[:, positions]
        values[:, positions] += torch.einsum("...d,dk,ek->...e", difference, span, span)
        return values

    return Change(layer, site, edit)
