"""The arguments of `polysem study` and `rates`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from train.commandline import Command
from train.errors import BadInput
from train.shipped import named_config

if TYPE_CHECKING:
    from analyze.study.scheduler import Scheduler


@dataclass(frozen=True, kw_only=True)
class Study(Command):
    """Run a whole study and write its table and report. Run again, it goes on where it stopped.

    Keys of the study's base run can be given as --train.tokens VALUE, its own as --seeds '[0]'. On several GPUs, on
    Slurm and on dask: docs/guides/many-machines.md.
    """

    takes_overrides: ClassVar[bool] = True

    config: Positional[Path] = Path("configs/study/quickstart.toml")
    """a study's TOML, or the name of one that comes with polysem, such as smoke"""
    out: Path = Path()
    """where data/, checkpoints/<study>/ and results/<study>/ are written"""
    launch: str = ""
    """what starts a training process, such as 'torchrun --nproc_per_node 2'; default: this process"""
    jobs: int | None = None
    """cores to use; changes no result. Default: all that this process may use. With --scheduler: see the guide"""
    scheduler: Literal["none", "slurm", "dask"] = "none"
    """what runs the stages: none (processes of this one), slurm (an array job a stage), dask (dask.distributed)"""
    address: str = ""
    """of a running dask scheduler, such as tcp://node1:8786; default: a cluster of this machine"""
    sbatch: str = ""
    """options of every job on Slurm, as --sbatch='--partition gpu --gpus-per-task 1 --time 4:00:00', with the ="""
    only: str = ""
    """one task of a study that has begun, such as 'train gelu-s0'; schedulers start it so"""

    def run(self, overrides: list[str]) -> None:
        """Run every stage that is not done, or the one task."""
        from analyze.study.alone import run_alone
        from analyze.study.run import run_study

        for option, given, scheduler in (("address", self.address, "dask"), ("sbatch", self.sbatch, "slurm")):
            if given and self.scheduler != scheduler:
                raise BadInput(f"--{option} {given}: goes with --scheduler {scheduler}")
        path = named_config("study", self.config)
        if self.only:
            run_alone(path, self.out, overrides, self.only, self.launch, self.jobs)
        else:
            run_study(path, self.out, overrides, self.launch, self.jobs, self._scheduler())

    def _scheduler(self) -> "Scheduler | None":
        from train.workers import checked_jobs

        if self.scheduler == "slurm":
            from analyze.study.scheduler_slurm import SlurmScheduler

            checked_jobs(self.jobs)
            return SlurmScheduler(self.sbatch, self.jobs)
        if self.scheduler == "dask":
            from analyze.study.scheduler_dask import DaskScheduler

            cores = checked_jobs(self.jobs) if self.jobs else 1
            return DaskScheduler(self.address, checked_jobs(self.jobs), cores if self.address else 1)
        return None


@dataclass(frozen=True, kw_only=True)
class Rates(Command):
    """Train a study's variants at several peak learning rates, score each, and write which rate a rule chooses.

    The rule: the lowest held-out loss with at most 5 % of the neurons dead. Run again, it goes on where it stopped.
    """

    study: Positional[Path] = Path("configs/study/rates.toml")
    """a study's TOML, or the name of one that comes with polysem: its variants are trained, its seeds left alone"""
    rates: tuple[float, ...] = (6e-3, 1.2e-2, 2.4e-2, 4.8e-2)
    """peak rates to try"""
    seed: int = 1000
    """must not be one of the study's"""
    tokens: int | None = None
    """of each run; default: as the study's base run"""
    variants: tuple[str, ...] = ()
    """only these, and no page: to share the work among processes; default: all"""
    out: Path = Path()
    """where data/, checkpoints/sweep-<study>/ and results/sweep-<study>/ are written"""
    page: Path = Path("docs/rates.md")
    """the Markdown page to write; its figure lies beside it"""

    def run(self, overrides: list[str]) -> None:
        """Run what is not done; write the page."""
        from analyze.study.sweep import Sweep, sweep

        study = named_config("study", self.study)
        sweep(Sweep(study, self.rates, self.variants, self.seed, self.tokens, self.out, self.page))
