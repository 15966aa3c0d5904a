"""How exact each scheme of widening is, and what breaks the tied step. `python benchmarks/widening.py`

The two tables of docs/widening.md, made with the networks of the property tests (test_schemes.py and
test_training.py in tests/train/widening), which hold the laws; here stand the figures. Seeded; a minute on one thread.
Another machine's rounding may move last digits of what is near zero.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.train.widening import test_schemes as copying  # noqa: E402
from tests.train.widening import test_training as training  # noqa: E402
from train.config import WidenPlan  # noqa: E402
from train.widening.schemes import MLPWeights, add_noise, copy_neurons, generator_of  # noqa: E402
from train.widening.transplant import transplanted  # noqa: E402

SIZES = (64, 256, 64)
EXACT = (("equal", "none", 0.0), ("dirichlet", "none", 0.0), ("equal", "zero_sum", 1.0))
INEXACT = ("w_in", "antithetic", "w_out")
STEPS = 30


def error(mlp: MLPWeights, act: str, k: int, split: str, noise: str, sigma: float, dtype: torch.dtype) -> float:
    """Relative L2 error of what a random MLP writes, on random inputs."""
    mlp, x = copying.in_dtype(mlp, dtype), copying.inputs(SIZES[0]).to(dtype)
    plan = WidenPlan.model_validate({"layers": (0,), "factor": k, "split": split, "noise": noise, "sigma": sigma})
    wide = copy_neurons(mlp, act, k, plan.split, 1.0, generator_of("shares"))
    if plan.noise != "none":
        wide = add_noise(wide, k, plan.noise, sigma, generator_of("noise"))
    return copying.relative_l2(wide(x, act), mlp(x, act))


def schemes() -> None:
    """Error of every scheme at birth, one row an activation."""
    print(f"Relative L2 error of what a random MLP {SIZES} writes right after widening.\n")
    heads = [f"{split}, {noise} {sigma:g}" for split, noise, sigma in EXACT]
    print("| activation |" + "".join(f" {head}: fp32 at most / fp64 |" for head in heads), end="")
    print("".join(f" {noise} .1: x2 / x4 / x10 |" for noise in INEXACT))
    print("|---|" + "---|" * (len(EXACT) + len(INEXACT)))
    for act in copying.ACTS:
        mlp = copying.drawn(act, SIZES, 0)
        cells = []
        for split, noise, sigma in EXACT:
            most = [
                max(error(mlp, act, k, split, noise, sigma, dtype) for k in (2, 10, 100))
                for dtype in (torch.float32, torch.float64)
            ]
            cells.append(f"{most[0]:.0e} / {most[1]:.0e}")
        for noise in INEXACT:
            errors = (error(mlp, act, k, "equal", noise, 0.1, torch.float64) for k in (2, 4, 10))
            cells.append(" / ".join(f"{100 * each:.1f} %" for each in errors))
        print(f"| {act} | " + " | ".join(cells) + " |")


def parted(act: str) -> list[float]:
    """Relative L2 of logits between narrow and wide after STEPS tied steps: held, then without each condition."""
    narrow = training.trained_like(act)
    training.advance(narrow, training.adam(narrow, 1), STEPS)
    found = []
    for condition in (None, "rate", "decay", "eps"):
        wide = training.widened(training.trained_like(act))
        optimizer = training.adam(wide, training.K) if condition is None else training.without(condition, wide, act)
        training.advance(wide, optimizer, STEPS)
        found.append(training.apart(wide, narrow))
    narrow, wide = training.trained_like(act), training.widened(training.trained_like(act))
    for model, k in ((narrow, 1), (wide, training.K)):
        training.advance(model, training.adam(model, k), STEPS, clip=0.05)
    return [*found, training.apart(wide, narrow)]


def moments(act: str) -> list[float]:
    """The same after 10 narrow steps, widening, and 10 more: moments transplanted, and fresh."""
    narrow = training.trained_like(act)
    optimizer = training.adam(narrow, 1)
    training.advance(narrow, optimizer, 10)
    held = training.moments_of(narrow, optimizer)
    wides = []
    for is_fresh in (False, True):
        wide = training.widened(narrow)
        own = training.adam(wide, training.K)
        if not is_fresh:
            training.give(wide, own, transplanted(held, training.PLAN, act, 2))
        training.advance(wide, own, 10, first=10)
        wides.append(wide)
    training.advance(narrow, optimizer, 10, first=10)
    return [training.apart(wide, narrow) for wide in wides]


def steps() -> None:
    """What holds the tied step together, one row an activation."""
    print(f"\nRelative L2 of logits, narrow model against its x {training.K}, after {STEPS} steps of AdamW (fp64).\n")
    print("| activation | all conditions | rate kept | decay kept | epsilon kept | clipped | transplanted | fresh |")
    print("|---|" + "---|" * 7)
    for act in training.ACTS:
        print(f"| {act} | " + " | ".join(f"{each:.1e}" for each in (*parted(act), *moments(act))) + " |")


if __name__ == "__main__":
    schemes()
    steps()
