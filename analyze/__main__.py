"""The commands that read checkpoints: collect, score, scores, labels, probe, truth, fission, compare, report, toys."""

from train.launch import with_allocator_settings

if __name__ == "__main__":
    with_allocator_settings()

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

from train.errors import exit_with_one_line


def _score_names(default: str) -> str:
    """Called when help is shown, since the registry imports much."""
    from analyze.scores import SCORES, default_names

    names = ", ".join(name if name in default_names() else f"{name} (optional)" for name in SCORES)
    return f"(of: all, {names}; default: {default})"


def _null_names(default: str) -> str:
    from analyze.nulls import NULLS

    return f"(of: {', '.join(NULLS)}; the untrained null is step 0, scored like any step; default: {default})"


@dataclass(frozen=True)
class Collect:
    """Stream held-out text through a checkpoint and keep what its neurons did, one directory a layer and hook."""

    checkpoint: Positional[Path]
    """a run (its newest step) or a step directory"""
    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """results directory; writes OUT/<run>/step-<step>/L<layer>.<hook>/"""
    layers: tuple[int, ...] | None = None
    """default: all"""
    hooks: tuple[str, ...] | None = None
    """mid (after the activation) and post (after a mid LayerNorm, where there is one); default: both"""
    max_tokens: int | None = None
    """read at most this many held-out tokens"""
    sample_tokens: int | None = None
    """tokens whose activations are held whole; give the same number to all variants of a comparison"""
    max_neurons: int | None = None
    """of a wider layer take a random choice of so many; default: every neuron"""
    batch: int = 64
    """rows read at a time; does not change the result"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Scores:
    """List every score: definition, cost, null, measured validity, known failures."""

    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Score:
    """Score every neuron of collected activations, and nulls of them: what chance looks like."""

    directories: Positional[tuple[Path, ...]]
    """activations directories, or directories that hold some at any depth"""
    scores: Annotated[tuple[str, ...], arg(help_behavior_hint=_score_names)] = ("all",)
    """which scores; all: those that are not optional"""
    nulls: Annotated[tuple[str, ...], arg(help_behavior_hint=_null_names)] = ("w_in_rotated", "rotated")
    """which nulls to score beside the neurons; z is against the first that can be made"""
    seed: int = 0
    """of the nulls"""
    drop_samples: bool = False
    """delete the whole activations once scored; collect makes them again"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Labels:
    """Print the bank of labels (features of tokens with known truth) that scores and probes read the text by."""

    data: Path
    """directory that `train prepare` wrote"""
    extra: tuple[Path, ...] = ()
    """your own: tables of spans (.csv, .jsonl, .parquet: label, document, start, stop) or .py files"""
    out: Path | None = None
    """directory to write labels.parquet to, with every label's stream positions"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Probe:
    """Say how few neurons tell each label: probes on 1, 2, 4, ... neurons, judged on held-out documents."""

    directories: Positional[tuple[Path, ...]]
    """activations directories with their samples, or directories that hold some at any depth"""
    out: Path
    """writes OUT/probes.parquet, probes.md, figures/probes-*.svg and OUT/<run>/step-<step>/L<layer>.<hook>.probes/"""
    labels: tuple[str, ...] | None = None
    """names of labels (`python -m analyze labels` lists them); default: every one"""
    families: tuple[str, ...] | None = None
    """every label of these families"""
    k: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    """numbers of neurons"""
    shifts: int = 5
    """labels moved along the corpus that say what chance is"""
    extra: tuple[Path, ...] = ()
    """your own labels, as for `labels`"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Truth:
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
    """put what was measured on held features beside the scores in every report (analyze/validity.json)"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Fission:
    """Tell who became what after widening: every saved step of a run beside its parent, on the same tokens."""

    runs: Positional[tuple[Path, ...]]
    """widened runs, or single steps of them"""
    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """results directory; writes OUT/<run>/step-<step>/L<layer>.mid.fission/ and OUT/<run>/fission-L<layer>.md"""
    parent: Path | None = None
    """the parent's run or step (or the first ancestor's); default: found by its hash"""
    layers: tuple[int, ...] | None = None
    """default: all that were widened"""
    steps: tuple[int, ...] | None = None
    """default: all that are saved"""
    max_tokens: int | None = None
    """held-out tokens of every step, spread evenly; default: all for the last step, 65,536 for the others"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Compare:
    """Compare scored variants over their seeds: comparison.md, .csv and .parquet."""

    directories: Positional[tuple[Path, ...]]
    """results directories; their order is the table's"""
    out: Path
    """directory to write to"""
    reference: str | None = None
    """variant that differences are taken to; default: the first"""
    primaries: tuple[str, ...] = ("k_eff",)
    """scores named beforehand as the question; others are corrected as secondary"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Report:
    """Write report.html, one file that opens without a network, and figures/*.svg."""

    directory: Positional[Path]
    """results directory"""
    reference: str | None = None
    """variant that differences are taken to; default: as compared"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Toys:
    """Write a page about each finished toy (one file that opens without a network), an index and experiments.md."""

    directories: Positional[tuple[Path, ...]]
    """what `train toy` wrote, such as checkpoints/toy/abs-100-40"""
    out: Path = Path("results/toys")
    """directory to write to"""
    debug: bool = False
    """show the traceback of a failure"""


Command = (
    Annotated[Collect, subcommand("collect")]
    | Annotated[Score, subcommand("score")]
    | Annotated[Scores, subcommand("scores")]
    | Annotated[Labels, subcommand("labels")]
    | Annotated[Probe, subcommand("probe")]
    | Annotated[Truth, subcommand("truth")]
    | Annotated[Fission, subcommand("fission")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Toys, subcommand("toys")]
)


def _collect(command: Collect) -> None:
    from analyze.activations.collect import collect_checkpoint

    for directory in collect_checkpoint(
        command.checkpoint,
        command.data,
        command.out,
        layers=None if command.layers is None else list(command.layers),
        hooks=None if command.hooks is None else list(command.hooks),
        max_tokens=command.max_tokens,
        sample_tokens=command.sample_tokens,
        max_neurons=command.max_neurons,
        batch=command.batch,
    ):
        print(directory)


def _score(command: Score) -> None:
    from analyze.scores.run import activations_under, score_directory

    for directory in activations_under(list(command.directories)):
        done = score_directory(directory, command.scores, command.seed, command.drop_samples, command.nulls)
        print(done.line(), flush=True)


def _scores(_: Scores) -> None:
    from analyze.scores.catalogue import score_list

    table = score_list()
    print(f"{table.caption}\n\n{table.markdown()}")


def _labels(command: Labels) -> None:
    from analyze.labels.table import labels

    print(labels(command.data, command.extra, command.out))


def _probe(command: Probe) -> None:
    from analyze.probing.command import probe

    written = probe(
        command.directories,
        command.out,
        labels=command.labels,
        families=command.families,
        ks=command.k,
        shifts=command.shifts,
        extra=command.extra,
        say=lambda line: print(line, flush=True),
    )
    print(f"\n{written.markdown.read_text(encoding='utf-8')}\nwrote {written.markdown}, probes.parquet, figures/")


def _truth(command: Truth) -> None:
    from analyze.validation.command import truth

    names = None if command.scores == ("all",) else command.scores
    final = truth(
        command.data,
        command.out,
        command.features,
        names,
        command.toys,
        command.publish,
        say=lambda line: print(line, flush=True),
    )
    print(f"{final / 'validity.md'}")


def _fission(command: Fission) -> None:
    from analyze.fission.command import fission

    for run in command.runs:
        for path in fission(
            run,
            command.data,
            command.out,
            parent=command.parent,
            layers=command.layers,
            only=command.steps,
            max_tokens=command.max_tokens,
            say=lambda line: print(line, flush=True),
        ):
            print(f"\n{path.read_text(encoding='utf-8')}\nwrote {path}", flush=True)


def _compare(command: Compare) -> None:
    from analyze.comparison.command import compare

    compare(command.directories, command.out, command.reference, command.primaries)
    print((command.out / "comparison.md").read_text())
    print(f"wrote {command.out}/comparison.md, .csv, .parquet")


def _report(command: Report) -> None:
    from analyze.report.page import report

    print(f"wrote {report(command.directory, command.reference)}")


def _toys(command: Toys) -> None:
    from analyze.toys.page import write_pages

    for path in write_pages(command.directories, command.out):
        print(f"wrote {path}")


def main() -> None:
    """Parse the command line and leave the process with the command's exit code."""
    command = tyro.cli(Command, prog="python -m analyze", description="Measure how polysemantic neurons are.")
    handlers = {
        Collect: _collect,
        Score: _score,
        Scores: _scores,
        Labels: _labels,
        Probe: _probe,
        Truth: _truth,
        Fission: _fission,
        Compare: _compare,
        Report: _report,
        Toys: _toys,
    }
    exit_with_one_line(lambda: handlers[type(command)](command), command.debug)  # type: ignore[operator]


if __name__ == "__main__":
    main()
