"""The arguments of `python -m analyze study`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tyro.conf import Positional

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class Study(Command):
    """Run a whole study and write its table and report. Run again, it goes on where it stopped.

    Keys of the study's base run can be given as --train.tokens VALUE, its own as --seeds '[0]'.
    """

    takes_overrides: ClassVar[bool] = True

    config: Positional[Path] = Path("configs/study/quickstart.toml")
    """a study's TOML"""
    out: Path = Path()
    """where data/, checkpoints/<study>/ and results/<study>/ are written"""
    launch: str = ""
    """what starts a training process, such as 'torchrun --nproc_per_node 2'; default: this process"""

    def run(self, overrides: list[str]) -> None:
        """Run every stage that is not done."""
        from analyze.study.run import run_study

        run_study(self.config, self.out, overrides, self.launch)
