"""Arguments that several commands share: where to look for what a result was made of, if it has moved."""

from dataclasses import dataclass
from pathlib import Path

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class ReadsText(Command):
    """A command that reads the text behind activations."""

    data: tuple[Path, ...] = ()
    """where to look first for the text, if it has moved: data directories, or directories of some; found by hash"""


@dataclass(frozen=True, kw_only=True)
class ReadsCheckpoints(Command):
    """A command that reads the checkpoints behind its input, or what those started from."""

    checkpoints: tuple[Path, ...] = ()
    """where to look first for checkpoints, if they have moved: runs, or directories of some; found by hash"""
