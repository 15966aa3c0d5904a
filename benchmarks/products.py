"""fp32 matrix products by the library that torch takes and by oneDNN: GFLOP/s of the shapes that training multiplies.

    python benchmarks/products.py [--threads 1] [--rounds 15]

`out` is x W^T, `dx` the gradient of x, `dW` that of W. Libraries take turns; each figure is the best round by
processor seconds, which other work on the machine disturbs little. `error` is the largest difference of `dW` from
products of doubles, in standard deviations of its entries. The last column names what `train/products.py` takes here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train.launch import with_process_settings

if __name__ == "__main__":
    with_process_settings()

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from train import products

SHAPES = {
    "the loss of model A": (512, 128, 4096),
    "W_in of model A": (4096, 128, 512),
    "W_in of model B": (4096, 128, 12800),
    "the loss at d_model 64": (512, 64, 4096),
    "W_in at d_model 64": (4096, 64, 256),
}
"""Tokens, inner dimension, outputs."""


def ways(x: Tensor, weight: Tensor, grad: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The three products of a linear layer."""
    return {
        "out": lambda: products.product(x, weight.T),
        "dx": lambda: products.product(grad, weight),
        "dW": lambda: products.product(grad.T, x),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    name = torch.cpu.get_capabilities().get("cpu_name")
    print(f"{name}, torch {torch.__version__}, threads: {args.threads}; GFLOP/s")
    columns = [(way, library) for way in ("out", "dx", "dW") for library in ("torch", "oneDNN")]
    print(f"{'':24}  " + "  ".join(f"{way + ' ' + library:>10}" for way, library in columns))
    for title, (n_tokens, inner, outputs) in SHAPES.items():
        x, weight, grad = torch.randn(n_tokens, inner), torch.randn(outputs, inner), torch.randn(n_tokens, outputs)
        best: dict[tuple[str, str], float] = {}
        errors: dict[str, float] = {}
        for _ in range(args.rounds):
            for name in ("torch", "oneDNN"):
                with patch.object(products, "library", lambda name=name: name):
                    for way, multiply in ways(x, weight, grad).items():
                        start = time.process_time()
                        made = multiply()
                        spent = time.process_time() - start
                        best[way, name] = min(best.get((way, name), spent), spent)
                        if way == "dW":
                            off = (made.double() - grad.double().T @ x.double()).abs().max()
                            errors[name] = float(off) / n_tokens**0.5
        rates = {key: 2e-9 * n_tokens * inner * outputs / seconds for key, seconds in best.items()}
        line = "  ".join(f"{rates[each]:10.0f}" for each in columns)
        print(f"{title:24}  {line}  error {errors['torch']:.0e}, {errors['oneDNN']:.0e}; takes {products.library()}")


if __name__ == "__main__":
    main()
