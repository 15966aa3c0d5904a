"""The arguments of `polysem problems` and `polysem problem`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from train.commandline import Command
from train.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class ListProblems(Command):
    """List the 45 open problems: question, level, what to type, what came out so far, and the published verdict."""

    out: Path = Path("results/problems")
    """directory of findings; its index.html and problems.md are written anew"""
    page: Path | None = None
    """also writes all 45 with what was found to this Markdown file. docs/problems.md of a clone publishes them: the
    program then shows those verdicts wherever nothing of its own was found"""

    def run(self, overrides: list[str]) -> None:
        """Print a few lines a problem."""
        from analyze.problems.listing import listed
        from analyze.problems.page import write_index

        print(listed(self.out))
        if self.out.is_dir():
            print(f"wrote {write_index(self.out)}")
        if self.page is not None:
            from analyze.problems.summary import write_summary

            for path in write_summary(self.out, self.page):
                print(f"wrote {path}")


@dataclass(frozen=True, kw_only=True)
class AskProblem(Command):
    """Ask an open problem of checkpoints: a statistic, its null, figures, a verdict by a rule that was fixed before."""

    problem: Positional[str]
    """its number, such as 4.24, or all"""
    checkpoints: Positional[tuple[Path, ...]] = ()
    """runs or steps; three seeds of each variant for a verdict. 4.23 also looks at hf:DIR and hf:FILE.gguf. 4.37, 4.38
    and 4.41 to 4.44 take results instead: what a study, bench-scores or collect wrote, such as results/quickstart"""
    out: Path = Path("results/problems")
    """takes a directory and a page a problem, and index.html over all"""
    data: tuple[Path, ...] = ()
    """where to look first for the text, if it has moved"""
    jobs: int | None = None
    """processes at most; default: as many as there are cores. The findings are the same for any number"""
    trial: bool = False
    """instead of checkpoints, try the rule on cases of known truth: 20 planted ones and 20 of its null"""

    def run(self, overrides: list[str]) -> None:
        """Measure, judge, write; or try the rule."""
        if self.trial:
            if self.checkpoints:
                raise BadInput("--trial: takes no checkpoints; it makes its own cases")
            from analyze.problems.trial import try_rules

            try_rules([self.problem], self.out, jobs=self.jobs, say=lambda line: print(line, flush=True))
            return
        from analyze.problems.ask_table import ask_table
        from analyze.problems.from_tables import table_problems

        if self.problem in table_problems():
            if not self.checkpoints:
                asked = table_problems()[self.problem]
                raise BadInput(f"problem {self.problem}: name the results that `{asked.written_by}` wrote")
            ask_table(self.problem, self.checkpoints, self.out, say=lambda line: print(line, flush=True))
            return
        own = self._own()
        if not own and self.checkpoints:
            return
        from analyze.problems.command import ask

        ask([self.problem], own, self.out, data=self.data, jobs=self.jobs, say=lambda line: print(line, flush=True))

    def _own(self) -> list[Path]:
        """The checkpoints of polysem, after a look at each model that others trained."""
        foreign = [each for each in self.checkpoints if str(each).startswith("hf:") and self._is_foreign(each)]
        for each in foreign:
            if self.problem != "4.23":
                raise BadInput(f"{each}: a model that others trained can be asked for 4.23 alone")
            from analyze.problems.imported_names import look_at

            look_at(str(each), self.out, say=lambda line: print(line, flush=True))
        return [each for each in self.checkpoints if each not in foreign]

    def _is_foreign(self, name: Path) -> bool:
        from analyze.models.opened import is_foreign

        return is_foreign(str(name))
