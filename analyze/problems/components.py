"""Which directions of some values matter to what reads them: singular components of a matrix of scores: a leaf."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """Of scores S = X D^T between values X and their readers D, as directions of the values' own space, largest first.

    The best approximation of rank k (Eckart and Young) keeps the first k. It is found from two thin QR
    decompositions, so that S is never held, and given as an oblique projection of the values. Coordinates are white
    over the values, so that random directions are random among what the values tell, not among what is large.
    """

    forward: Float[Tensor, "d d"]
    """Values times this have one coordinate a component, orthonormal over the values."""
    back: Float[Tensor, "d d"]
    """And this takes coordinates to values again: its inverse."""
    sizes: Float[Tensor, " d"]
    """Singular values."""

    @classmethod
    def of(cls, values: Float[Tensor, "n d"], readers: Float[Tensor, "m d"]) -> "Components":
        """Components of centred values and centred readers."""
        r_values, r_readers = (torch.linalg.qr(_centred(each), mode="r")[1] for each in (values, readers))
        directions, sizes, _ = torch.linalg.svd(r_values @ r_readers.T)
        return cls(torch.linalg.pinv(r_values) @ directions, directions.T @ r_values, sizes)

    def keeping(self, k: int, rotation: Float[Tensor, "d d"] | None = None) -> Float[Tensor, "d d"]:
        """X @ this holds the first k components alone, or, of components that are turned first, k random ones.

        Args:
            rotation: orthogonal.
        """
        turn = torch.eye(len(self.sizes), dtype=self.forward.dtype) if rotation is None else rotation
        return self.forward @ turn[:, :k] @ turn[:, :k].T @ self.back

    def written(self, k: int) -> Float[Tensor, "k d"]:
        """What the first k components are in the space of values: a basis of what `keeping` leaves."""
        return self.back[:k]


def rotations(d: int, n: int, seed: int = 0) -> list[Float[Tensor, "d d"]]:
    """`n` Haar-distributed rotations of d dimensions."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        found.append(torch.from_numpy(q * np.sign(np.diag(r))))
    return found


def overlap(a: Float[Tensor, "d k"], b: Float[Tensor, "d m"]) -> float:
    """Mean squared cosine of the principal angles from the span of `a` to that of `b`; by chance m / d."""
    a, b = (torch.linalg.qr(each.double())[0] for each in (a, b))
    return float((a.T @ b).square().sum() / a.shape[1])


def first_with(shares: Float[np.ndarray, " k"], share: float) -> int:
    """The smallest k, from 1, at which a curve over k reaches a share of its last value; else its length."""
    reached = np.flatnonzero(shares >= share * shares[-1])
    return int(reached[0]) + 1 if len(reached) else len(shares)


def _centred(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    rows = rows.detach().double()
    return rows - rows.mean(0)
