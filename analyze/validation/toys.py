"""Toys as a second truth: trained neurons of which it is known what they answer to.

A score that reads toys (`analyze.scores.base.ReadsToys`) is given activations and which features were active. A
neuron is monosemantic where one feature makes up more than 0.9 of its responses (`train.toys.truth`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.metrics import auroc
from analyze.scores.base import ReadsToys
from analyze.scores.validity import Toys
from analyze.validation.discrimination import COVERAGE
from train.toys.runs import ToyRun

SAMPLES = 16_384
MOST_REPLICAS = 8
FEWEST_OF_A_KIND = 5
"""Neurons of either kind that an instance needs, all replicas together."""
DRAWS = 1000


@dataclass(frozen=True)
class KnownToy:
    """A hidden layer of one replica of an instance: what a score reads, and the truth."""

    instance: str
    """Run, layer and instance: its replicas are judged together."""
    y: Float[ndarray, "t n"]
    features: Bool[ndarray, "t f"]
    mono: Bool[ndarray, "n"]


def known_toys(directories: list[Path]) -> Iterator[list[KnownToy]]:
    """The replicas (the best MOST_REPLICAS that did not fail) of each instance whose neurons are of both kinds.

    Dead neurons are left out. Activations are of SAMPLES samples as they occur in training.

    Raises:
        BadInput: a directory that holds no finished toy.
    """
    for directory in directories:
        run = ToyRun.load(directory)
        for layer in range(len(run.config.network.hidden)):
            for instance in range(run.n_inst):
                order = np.argsort(run.losses[instance], kind="stable")[:MOST_REPLICAS].tolist()
                chosen = [run.neurons(instance, one, layer) for one in order if np.isfinite(run.losses[instance, one])]
                shares = np.concatenate([one.share.numpy() for one in chosen])
                if min((shares > 0.9).sum(), (shares <= 0.9).sum()) < FEWEST_OF_A_KIND:
                    continue
                toys = []
                for known in chosen:
                    x, y = known.sample(SAMPLES, seed=0)
                    alive = ~np.isnan(known.share.numpy())
                    name = f"{directory.name} layer {layer} instance {instance}"
                    toys.append(KnownToy(name, y.numpy()[:, alive], x.numpy() != 0, known.monosemantic.numpy()[alive]))
                yield toys


def judge_toys(score: ReadsToys, instances: list[list[KnownToy]]) -> Toys | None:
    """AUROC of the share being above 0.9, mean over instances; the interval resamples replicas within each.

    None where no instance has neurons of both kinds.
    """
    if not instances:
        return None
    rng = np.random.default_rng(0)
    values, drawn = [], np.empty((DRAWS, len(instances)))
    for index, toys in enumerate(instances):
        read = [np.asarray(score.toy(one.y, one.features), np.float64) for one in toys]
        values.append(auroc(np.concatenate(read), np.concatenate([one.mono for one in toys])))
        for draw in range(DRAWS):
            chosen = rng.integers(len(toys), size=len(toys)).tolist()
            drawn[draw, index] = auroc(
                np.concatenate([read[one] for one in chosen]), np.concatenate([toys[one].mono for one in chosen])
            )
    # A draw of replicas that are all of one kind says nothing about its instance: the others' mean stands.
    low, high = np.nanquantile(np.nanmean(drawn, axis=1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    n_neurons = sum(len(one.mono) for toys in instances for one in toys)
    return Toys(n_neurons, len(instances), float(np.mean(values)), float(low), float(high))
