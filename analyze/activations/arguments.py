"""The arguments of `polysem collect`."""

import os
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsCheckpoints
from train.errors import BadInput, EnvironmentProblem


@dataclass(frozen=True, kw_only=True)
class Collect(ReadsCheckpoints):
    """Stream held-out text through a checkpoint and keep what its neurons did, a directory for each layer and hook.

    Under torchrun or `accelerate launch`, processes share the layers: docs/guides/many-machines.md.
    """

    checkpoint: Positional[Path]
    """a run (its newest step), a step directory, tl:NAME_OR_DIR, hf:NAME_OR_DIR or hf:FILE.gguf"""
    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """results directory; writes OUT/<run>/step-<step>/L<layer>.<hook>/"""
    layers: tuple[int, ...] | None = None
    """default: all"""
    hooks: tuple[str, ...] | None = None
    """mid (after the activation) and post (after a mid LayerNorm, where there is one); default: both. Of a gated MLP
    mid is activation(gate) x up; gatepos and gateneg are its values where the gate is positive, and where not"""
    max_tokens: int | None = None
    """read at most this many held-out tokens"""
    sample_tokens: int | None = None
    """tokens whose activations the sample holds; give the same number to all variants of a comparison"""
    max_neurons: int | None = None
    """of a wider layer take a random choice of so many; default: every neuron"""
    batch: int = 64
    """rows read at a time; does not change the result"""
    jobs: int | None = None
    """threads for one layer, processes for several; default: as many as there are cores to use. Changes no result"""
    dry_run: bool = False
    """collect nothing; print what collecting and scoring take of memory, disk and time, and what to change where it
    does not fit. CHECKPOINT may then be a RUN.toml or the name of one, such as wide-solu-2l"""
    gpu: str | None = None
    """with --dry-run: reckon with this card: h100, a100, rtx4090, ..."""

    def run(self, overrides: list[str]) -> None:
        """Collect, and print where each layer and hook lies."""
        if self.gpu is not None and not self.dry_run:
            raise BadInput("--gpu: only with --dry-run; a collection takes the GPU that is there")
        if self.dry_run:
            self._dry_run()
            return
        from analyze.activations.collect import collect
        from train.devices import take_own_device
        from train.launchers import launched_as
        from train.workers import checked_jobs

        number, processes = launched_as(os.environ)
        take_own_device(os.environ)
        for directory in collect(
            self.checkpoint,
            self.data,
            self.out,
            layers=None if self.layers is None else list(self.layers),
            hooks=None if self.hooks is None else list(self.hooks),
            max_tokens=self.max_tokens,
            sample_tokens=self.sample_tokens,
            max_neurons=self.max_neurons,
            batch=self.batch,
            checkpoints=self.checkpoints,
            jobs=checked_jobs(1 if self.jobs is None and processes > 1 else self.jobs, print),
            share=(number, processes),
        ):
            print(directory)

    def _dry_run(self) -> None:
        from analyze.activations.dry_run import dry_run

        reckoned = dry_run(
            self.checkpoint,
            self.data,
            self.out,
            layers=None if self.layers is None else list(self.layers),
            hooks=None if self.hooks is None else list(self.hooks),
            max_tokens=self.max_tokens,
            sample_tokens=self.sample_tokens,
            max_neurons=self.max_neurons,
            gpu=self.gpu,
        )
        print(reckoned.text)
        if reckoned.refusal is not None:
            raise EnvironmentProblem(reckoned.refusal)
