"""The arguments of `polysem toy-pages`, `toy-trial`, `toy-known` and `toy-story`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class Toys(Command):
    """Write a page about each finished toy (one file that opens without a network), an index and experiments.md.

    A toy that asks an open problem is judged by the rule in its config; `polysem problems` shows the verdict. What a
    program found (a TOY.toml with `program = ...`) stands on the page of its problem alone.
    """

    directories: Positional[tuple[Path, ...]]
    """what `train toy` wrote, such as checkpoints/toy/abs-100-40"""
    out: Path = Path("results/toys")
    """directory to write to"""
    problems: Path = Path("results/problems")
    """takes the verdicts on open problems"""

    def run(self, overrides: list[str]) -> None:
        """Write the pages and the verdicts, and print where they lie."""
        from analyze.toys.page import without_arms, write_pages
        from analyze.toys.programs.ask import answer_programs
        from analyze.toys.verdicts.ask import answer_toys
        from train.toys.programs.run import is_program_run

        programs = [each for each in self.directories if is_program_run(each)]
        toys = tuple(each for each in self.directories if each not in programs)
        if toys or not programs:
            for path in write_pages(toys, self.out):
                print(f"wrote {path}")
            answer_toys(without_arms(toys), self.problems)
        answer_programs(programs, self.problems)


@dataclass(frozen=True, kw_only=True)
class TryToys(Command):
    """Try the rules by which toys answer open problems on cases of known truth: 20 built to be true, 20 of the null."""

    names: Positional[tuple[str, ...]] = ("all",)
    """toys, numbers of problems such as 4.7, or all"""
    out: Path = Path("results/problems")
    """takes toy-trials.md and toy-trials.json"""

    def run(self, overrides: list[str]) -> None:
        """Make the cases, judge them, count."""
        from analyze.toys.trials.all import trials
        from analyze.toys.verdicts.trial import try_toys

        try_toys(trials(), self.names, self.out, say=lambda line: print(line, flush=True))


@dataclass(frozen=True, kw_only=True)
class ToyKnown(Command):
    """Reproduce published results about toy models: train their set-ups, and write ours beside what was published."""

    names: Positional[tuple[str, ...]] = ("all",)
    """collisions, compressed, fourth-power, overlap, psi, dropout, two-heads, embedded-heads, or all"""
    trained: Path = Path("checkpoints/toy")
    """where the programs lie or are trained"""
    out: Path = Path("results/toys")
    """takes known.md and known.json"""
    only_table: bool = False
    """write the table from known.json, without training"""

    def run(self, overrides: list[str]) -> None:
        """Train, compare, write."""
        from analyze.toys.programs.known_table import reproduce

        reproduce(
            self.names, self.trained, self.out, only_table=self.only_table, say=lambda line: print(line, flush=True)
        )


@dataclass(frozen=True, kw_only=True)
class ToyStory(Command):
    """Bring docs/toys.md up to date from results: what each toy shows, its figure, and the tables behind it."""

    toys: Path = Path("results/toys")
    """what toy-pages and toy-known wrote"""
    problems: Path = Path("results/problems")
    """verdicts of toys, and trials of their rules"""
    page: Path = Path("docs/toys.md")
    """the page; figures go into the folder of its name"""

    def run(self, overrides: list[str]) -> None:
        """Write the parts that are made."""
        from analyze.toys.story import Sources, tell

        print(f"wrote {tell(Sources(self.toys, self.problems, self.page))}")
