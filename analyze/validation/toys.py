"""Toys as a second truth: for a trained toy it is known what each neuron responds to.

A score that reads toys (`analyze.scores.base.ReadsToys`) gets activations and which features were active. A neuron is
monosemantic where one feature makes up more than 0.9 of its responses (`train.toys.truth`).
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
"""How many neurons of either kind an instance needs, over all its replicas."""
DRAWS = 1000


@dataclass(frozen=True)
class KnownToy:
    """A hidden layer of one replica of an instance: what a score reads, and the truth."""

    instance: str
    """Run, layer and instance. All its replicas are judged together."""
    y: Float[ndarray, "t n"]
    features: Bool[ndarray, "t f"]
    mono: Bool[ndarray, "n"]


def known_toys(directories: list[Path]) -> Iterator[list[KnownToy]]:
    """The best MOST_REPLICAS replicas of each instance that has neurons of both kinds, without dead neurons.

    Activations are of SAMPLES samples, drawn as in training.

    Raises:
        BadInput: a directory without a finished toy.
    """
    for directory in directories:
        run = ToyRun.load(directory)
        for layer in range(len(run.config.network.hidden)):
            for instance in range(run.n_inst):
                order = np.argsort(run.losses[instance], kind="stable")[:MOST_REPLICAS].tolist()
                finite = [replica for replica in order if np.isfinite(run.losses[instance, replica])]
                replicas = [run.neurons(instance, replica, layer) for replica in finite]
                shares = np.concatenate([neurons.share.numpy() for neurons in replicas])
                if min((shares > 0.9).sum(), (shares <= 0.9).sum()) < FEWEST_OF_A_KIND:
                    continue
                toys = []
                for neurons in replicas:
                    x, y = neurons.sample(SAMPLES, seed=0)
                    alive = ~np.isnan(neurons.share.numpy())
                    name = f"{directory.name} layer {layer} instance {instance}"
                    mono = neurons.monosemantic.numpy()[alive]
                    toys.append(KnownToy(name, y.numpy()[:, alive], x.numpy() != 0, mono))
                yield toys


def judge_toys(score: ReadsToys, instances: list[list[KnownToy]]) -> Toys | None:
    """AUROC of a share above 0.9, mean over instances; the interval resamples replicas within each instance.

    None without instances.
    """
    if not instances:
        return None
    rng = np.random.default_rng(0)
    values, drawn = [], np.empty((DRAWS, len(instances)))
    for index, toys in enumerate(instances):
        scores = [np.asarray(score.toy(toy.y, toy.features), np.float64) for toy in toys]
        values.append(auroc(np.concatenate(scores), np.concatenate([toy.mono for toy in toys])))
        for draw in range(DRAWS):
            chosen = rng.integers(len(toys), size=len(toys)).tolist()
            drawn[draw, index] = auroc(
                np.concatenate([scores[replica] for replica in chosen]),
                np.concatenate([toys[replica].mono for replica in chosen]),
            )
    # A draw whose neurons are all of one kind has no AUROC for its instance: take the mean of the other instances.
    low, high = np.nanquantile(np.nanmean(drawn, axis=1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    n_neurons = sum(len(toy.mono) for toys in instances for toy in toys)
    return Toys(n_neurons, len(instances), float(np.mean(values)), float(low), float(high))
