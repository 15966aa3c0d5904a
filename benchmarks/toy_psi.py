"""What psi owes to its autoencoder, on bottlenecks whose features are known. `python benchmarks/toy_psi.py`

The bottlenecks are those of configs/toy/known/psi.toml (`polysem toy-known psi` trains them): 40 features in 10
dimensions, at six probabilities. Printed is psi for each probability beside the truth (squared norm of W over its
dimensions), and the correlation over all networks and over those in which at most a tenth of the features is active.

ours   analyze.dictionary, by its number of latents and penalty (that of `polysem toy-known psi` first)
tied   the autoencoder of the code that Bereska et al. 2025 published (leonardbereska/superposition-measurement):
       encoder and decoder share weights, no bias in the decoder, mean squared error and .1 x the mean latent, Adam at
       1e-3 in batches of 128, 4 x as many latents as dimensions. Its settings for toy models are not published with it.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from analyze.dictionary.autoencoder import Settings  # noqa: E402
from analyze.dictionary.effective import effective_features, psi  # noqa: E402
from analyze.toys.programs.known import PSI_DICTIONARY, PSI_SAMPLES  # noqa: E402
from train.toys.programs.base import generator  # noqa: E402
from train.toys.programs.overlap import values  # noqa: E402
from train.toys.programs.run import ProgramRun  # noqa: E402

SPARSE = 0.1
"""Probability up to which features count as sparse."""


def ours(settings: Settings) -> Callable[[Tensor], float]:
    """psi by the project's autoencoder."""
    return lambda hidden: psi(hidden, settings).psi


def tied(expansion: int, penalty: float = 0.1, epochs: int = 150) -> Callable[[Tensor], float]:
    """psi by the autoencoder of the published code; hidden is [sample dimension]."""

    def measure(hidden: Tensor) -> float:
        n, dimensions = hidden.shape
        torch.manual_seed(0)
        bound = math.sqrt(6 / (dimensions + expansion * dimensions))
        W = torch.empty(expansion * dimensions, dimensions).uniform_(-bound, bound).requires_grad_()
        b = torch.zeros(expansion * dimensions, requires_grad=True)
        adam = torch.optim.Adam([W, b], lr=1e-3, foreach=True)
        for _ in range(epochs):
            for rows in torch.randperm(n).split(128):
                x = hidden[rows]
                latents = torch.relu(x @ W.T + b)
                loss = (latents @ W - x).square().mean() + penalty * latents.mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
        with torch.no_grad():
            return effective_features(torch.relu(hidden @ W.T + b)) / dimensions

    return measure


def autoencoders() -> dict[str, Callable[[Tensor], float]]:
    """By name."""
    sizes = [(80, PSI_DICTIONARY.l1)] + [(80, each) for each in (0.4, 0.8)] + [(40, each) for each in (0.15, 0.4, 0.8)]
    found = {
        f"ours, {latents} latents, penalty {l1:g}": ours(Settings(latents=latents, l1=l1, steps=PSI_DICTIONARY.steps))
        for latents, l1 in sizes
    }
    return found | {"tied, 40 latents": tied(4), "tied, 80 latents": tied(8)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("checkpoints/toy/psi"), help="of `polysem toy-known psi`")
    parser.add_argument("--replicas", type=int, default=2, help="of each probability")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hidden, truth, p = [], [], []
    for each in ProgramRun.load(args.run).variants.values():
        x = values(each.settings, PSI_SAMPLES, generator(0, "psi"))
        for W in each.parameters["W"][: args.replicas]:
            hidden.append(x @ W)
            truth.append(float(W.square().sum()) / each.settings.dimensions)
            p.append(each.settings.probability)
    probability, true = np.array(p), np.array(truth)
    head = sorted(set(p), reverse=True)
    print("| autoencoder | " + " | ".join(f"p = {each:g}" for each in head) + f" | r | r, p <= {SPARSE:g} |")
    print("|---" * (len(head) + 3) + "|")
    print("| truth | " + " | ".join(f"{true[probability == each].mean():.2f}" for each in head) + " | | |")
    for name, measure in autoencoders().items():
        found = np.array([measure(each) for each in hidden])
        sparse = probability <= SPARSE
        r, of_sparse = (np.corrcoef(found[these], true[these])[0, 1] for these in (sparse | ~sparse, sparse))
        shown = " | ".join(f"{found[probability == each].mean():.2f}" for each in head)
        print(f"| {name} | {shown} | {r:.2f} | {of_sparse:.2f} |", flush=True)


if __name__ == "__main__":
    main()
