"""A sparse autoencoder: values as sums of few directions, with an L1 penalty or the k largest latents a token."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from train.errors import BadInput

Values = Float[Tensor, "token width"]

RENEWALS = (0.2, 0.4, 0.6)
"""Shares of the steps after which latents that never fire start again."""
LOOKED_AT = 4096
"""Tokens that say whether a latent fires."""
WARMUP, COOLDOWN = 0.05, 0.3
"""Shares of the steps over which the rate rises, and falls to nothing."""


@dataclass(frozen=True)
class Settings:
    """What a dictionary is and how it is fitted.

    Raises:
        BadInput: neither `k` nor `l1`, or both; a size, number of steps or k below 1, or more k than latents.
    """

    latents: int
    k: int | None = None
    """So many of the largest latents of a token count; None: a penalty decides."""
    l1: float | None = None
    """Penalty on the sum of a token's latents, where the mean square of what varies in a token is 1."""
    steps: int = 1500
    batch: int = 512
    rate: float = 0.02
    """Of Adam."""
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.k is None) == (self.l1 is None):
            raise BadInput("dictionary: needs either k or l1")
        if min(self.latents, self.steps, self.batch) < 1:
            raise BadInput("dictionary: latents, steps and batch start at 1")
        if self.k is not None and not 1 <= self.k <= self.latents:
            raise BadInput(f"dictionary: k = {self.k}; from 1 to its {self.latents} latents")
        if self.l1 is not None and self.l1 < 0:
            raise BadInput(f"dictionary: l1 = {self.l1:g} is negative")


@dataclass(frozen=True)
class Dictionary:
    """A fitted sparse autoencoder."""

    encoder: Float[Tensor, "latent width"]
    bias: Float[Tensor, " latent"]
    directions: Float[Tensor, "latent width"]
    """What each latent writes: rows of length 1."""
    origin: Float[Tensor, " width"]
    """What stands where no latent fires."""
    scale: float
    """Root of the mean square, summed over the width, of what varies in a token: latents are in units of it."""
    settings: Settings

    @torch.no_grad()
    def latents(self, values: Values) -> Float[Tensor, "token latent"]:
        """How strongly each latent fires at each token; 0 where it does not."""
        return _encode((values.float() - self.origin) / self.scale, self.encoder, self.bias, self.settings.k)

    @torch.no_grad()
    def rebuilt(self, values: Values) -> Values:
        """The values as the dictionary writes them."""
        return self.latents(values) @ self.directions * self.scale + self.origin

    @torch.no_grad()
    def unexplained(self, values: Values, batch: int = 8192) -> float:
        """Share of the values' variance that is not rebuilt: 0 nothing is lost, 1 no better than their mean."""
        values = values.float()
        left = sum(float((part - self.rebuilt(part)).square().sum()) for part in values.split(batch))
        return left / float((values - values.mean(0)).square().sum())


def _encode(x: Values, encoder: Tensor, bias: Tensor, k: int | None) -> Float[Tensor, "token latent"]:
    z = F.relu(x @ encoder.T + bias)
    if k is None or k >= z.shape[1]:
        return z
    least = z.detach().topk(k, dim=1).values[:, -1:]
    return z * (z >= least)


def fit(values: Values, settings: Settings, start: Dictionary | None = None) -> Dictionary:
    """Fit a dictionary by Adam; the same values and settings give the same bits on the same machine and threads.

    Loss: squared error plus, without `k`, `l1` times the sum of latents (Bricken et al. 2023; the k largest: Gao et
    al. 2024, arXiv 2406.04093). Directions keep length 1. Latents that never fire start again from tokens that are
    rebuilt badly. 64 latents of width 16: under 2 s on one thread.

    Args:
        values: [token width].
        start: a dictionary of the same shape to go on from.

    Raises:
        BadInput: values that do not vary.
    """
    values = values.float()
    generator = torch.Generator().manual_seed(settings.seed)
    scale = float((values - values.mean(0)).square().sum(1).mean().sqrt())
    if not scale > 0:
        raise BadInput("dictionary: its values do not vary")
    # Sparse features leave most tokens at the origin, where their median lies and their mean does not.
    origin = values.median(0).values
    x = (values - origin) / scale
    if start is None:
        directions = _unit(_strong(x, settings.latents, generator))
        encoder, bias, shift = directions.clone(), torch.zeros(settings.latents), torch.zeros(x.shape[1])
    else:
        encoder, bias, directions = start.encoder.clone(), start.bias.clone(), start.directions.clone()
        shift = (start.origin - origin) / scale
    parameters = [each.requires_grad_() for each in (encoder, bias, directions, shift)]
    optimiser = torch.optim.Adam(parameters, lr=settings.rate, betas=(0.9, 0.99))
    renewals = {round(share * settings.steps) for share in RENEWALS} if start is None else set()
    for step in range(settings.steps):
        if step in renewals:
            _renew(x, parameters, optimiser, settings, generator)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * _pace(step / settings.steps)
        rows = x[torch.randint(len(x), (min(settings.batch, len(x)),), generator=generator)]
        z = _encode(rows - shift, encoder, bias, settings.k)
        loss = (z @ directions + shift - rows).square().sum(1).mean()
        if settings.l1:
            loss = loss + settings.l1 * z.sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            directions.copy_(_unit(directions))
    shift = shift.detach() * scale
    return Dictionary(encoder.detach(), bias.detach(), directions.detach(), origin + shift, scale, settings)


def _pace(done: float) -> float:
    """Of the rate: up, level, down to nothing."""
    return min(1.0, (done + 1e-3) / WARMUP, (1 - done) / COOLDOWN)


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=1)


def _strong(x: Values, n: int, generator: torch.Generator) -> Float[Tensor, "n width"]:
    """So many tokens, drawn by their squared length, each with a little noise so that no two are equal."""
    weight = x.square().sum(1).double()
    chosen = torch.multinomial(weight, n, replacement=True, generator=generator)
    noise = torch.randn((n, x.shape[1]), generator=generator) * 0.1 / x.shape[1] ** 0.5
    return _unit(x[chosen]) + noise


@torch.no_grad()
def _renew(
    x: Values,
    parameters: list[Tensor],
    optimiser: torch.optim.Optimizer,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Latents that fire at no token start again as what the others leave over at some tokens."""
    encoder, bias, directions, shift = parameters
    rows = x[torch.randint(len(x), (min(LOOKED_AT, len(x)),), generator=generator)]
    z = _encode(rows - shift, encoder, bias, settings.k)
    silent = (z > 0).sum(0) == 0
    left = rows - z @ directions - shift
    if not silent.any() or not left.square().sum() > 0:
        return
    fresh = _unit(_strong(left, int(silent.sum()), generator))
    directions[silent], encoder[silent], bias[silent] = fresh, fresh, 0.0
    for parameter in (encoder, bias, directions):
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimiser.state:
                optimiser.state[parameter][moment][silent] = 0.0
