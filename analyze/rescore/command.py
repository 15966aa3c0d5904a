"""`polysem rescore`: collect and score trained runs, a layer at a time, and write what P(one feature) makes of them."""

import shlex
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from analyze.activations.checks import check_counts
from analyze.activations.collect import collect
from analyze.activations.identity import run_hash_of
from analyze.activations.source import hooks_of
from analyze.comparison.results import Cell, find_cells, require_same_tokens
from analyze.rescore.examples import disagreements
from analyze.rescore.figures import figures_of
from analyze.rescore.page import page_of, table_of
from analyze.scores import SCORES
from analyze.scores.run import score_directory, scored_step
from train.checkpoint import STEP_NAME, load, step_directory, steps
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import write_atomic
from train.filesystem import require_file_place

SCORED = ("k_eff", "one_feature")
HOOKS = ("mid", "post")
PAGE, TABLE, EXAMPLES = "one-feature.md", "one-feature.csv", "disagreements.md"


def rescore(
    runs: Iterable[Path | str],
    data: Path,
    out: Path,
    *,
    variants: Sequence[str] = (),
    hooks: Sequence[str] | None = None,
    nulls: Sequence[str] = ("w_in_rotated", "rotated"),
    untrained: bool = False,
    sample_tokens: int = 190_000,
    max_neurons: int = 1024,
    jobs: int | None = None,
    say: Callable[[str], None] = print,
    page: Path | None = None,
    command: Sequence[str] = (),
) -> list[Path]:
    """Score every run, unless that is done, and write OUT/one-feature.md, .csv and disagreements.md.

    Whole activations are deleted as soon as a layer is scored; of a run that is scored nothing is collected again.

    Args:
        runs: runs, steps, or directories of runs.
        variants, hooks: only these; by default all.
        nulls: of each layer, scored beside it.
        untrained: score step 0 as well.
        sample_tokens: held-out tokens whose activations are scored.
        max_neurons: of a wider layer take a random choice of so many.
        jobs: processes at most; changes no result.
        page: also write one-feature.md there.
        command: the arguments as typed, for the page.

    Raises:
        BadInput: no such run, variant or hook, runs that cannot stand on one page, results of other data or of another
            run at `out`, damaged ones, or a package that the score needs is not installed.
    """
    if lacks := SCORES["one_feature"].lacks():
        raise BadInput(f"P(one feature) needs {lacks}")
    for hook in hooks or ():
        if hook not in HOOKS:
            raise BadInput(f"--hooks: {hook!r} is none of {', '.join(HOOKS)}")
    check_counts(sample_tokens=sample_tokens, max_neurons=max_neurons)
    if page is not None:
        require_file_place(page, "--page")
    sources = sources_of(runs, variants, untrained)
    _require_comparable(sources, data)
    scored: list[Path] = []
    for source in sources:
        of_this = () if load(source).step == 0 else nulls  # an untrained network is a null itself
        scored += _scored(source, data, out, hooks, of_this, sample_tokens, max_neurons, jobs, say)
    # Of other steps nothing is opened: what an earlier command left of them is not this page's.
    below = find_cells(dict.fromkeys(path.parent for path in scored))
    cells = [cell for cell in below if cell.directory.path in set(scored)]
    cells.sort(key=lambda cell: (cell.meta.variant, cell.meta.seed, cell.meta.step, cell.place))
    require_same_tokens(cells)
    untrained_cells = {(cell.meta.run_hash, cell.place): cell for cell in cells if cell.meta.step == 0}
    figures = [figures_of(cell, untrained_cells.get((cell.meta.run_hash, cell.place))) for cell in _trained(cells)]
    typed = shlex.join(("polysem", "rescore", *command))
    made = " \\\n        ".join(textwrap.wrap(typed, 110, break_on_hyphens=False))
    text = page_of(figures, made)
    written = {
        out / PAGE: text,
        out / TABLE: table_of(figures).write_csv(),
        out / EXAMPLES: disagreements(_trained(cells), data),
        **({} if page is None else {page: text}),
    }
    for path, content in written.items():
        write_atomic(path, content.encode())
    return [*written]


def _trained(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.meta.step > 0]


def _require_comparable(sources: Sequence[Path], data: Path) -> None:
    """Refuse runs that could not stand on one page, before any is scored.

    Raises:
        BadInput: a vocabulary that is not the data's, rows of other lengths, or two runs of one name.
    """
    opened = [load(source) for source in sources]
    tokens = TokenFile.open(data, split="eval")
    for each in opened:
        if each.state["data"]["tokenizer_sha256"] != tokens.tokenizer_sha256:
            raise BadInput(f"{data}: its tokenizer is not the one that {each.directory} was trained with")
    first, run_of = opened[0], {each.state["run"]: each for each in reversed(opened)}
    for each in opened:
        if each.config.n_ctx != first.config.n_ctx:
            raise BadInput(
                f"{first.directory} reads rows of {first.config.n_ctx} tokens and {each.directory} of "
                f"{each.config.n_ctx}: they cannot be scored on the same text; give each an --out of its own"
            )
        if run_hash_of(each) != run_hash_of(named := run_of[each.state["run"]]):
            raise BadInput(
                f"{named.directory} and {each.directory} are different runs of one name; give each an --out of its own"
            )


def sources_of(runs: Iterable[Path | str], variants: Sequence[str], untrained: bool) -> list[Path]:
    """The steps to score: of every run the newest, before it step 0 where that is asked for.

    Raises:
        BadInput: no such directory, none of a run in it, or a variant that none of them is of.
    """
    found: dict[Path, str] = {}
    if not (runs := list(runs)):
        raise BadInput("command line: rescore needs runs, or a directory of runs such as checkpoints/quickstart")
    for given in map(Path, runs):
        if not given.is_dir():
            raise BadInput(f"{given}: no such directory")
        if STEP_NAME.fullmatch(given.name) or steps(given):
            below = [given]
        else:
            below = sorted(path for path in given.iterdir() if path.is_dir() and steps(path))
        if not below:
            raise BadInput(f"{given}: no run here; `polysem run` or `polysem study` trains them")
        for path in below:
            opened = load(path)
            if opened.config.has_mlp and opened.step > 0:
                found[opened.directory] = opened.state["variant"]
    for variant in variants:
        if variant not in found.values():
            raise BadInput(f"--variants: no run of {variant!r}; there are {', '.join(sorted(set(found.values())))}")
    wanted = [step for step, variant in found.items() if not variants or variant in variants]
    if not wanted:
        raise BadInput("nothing to score: no run is trained yet, or none has MLP neurons")
    if not untrained:
        return wanted
    births = {step: step_directory(step.parent, 0) for step in wanted}
    return [path for step, birth in births.items() for path in ((birth, step) if birth.is_dir() else (step,))]


def _scored(
    source: Path,
    data: Path,
    out: Path,
    hooks: Sequence[str] | None,
    nulls: Sequence[str],
    sample_tokens: int,
    max_neurons: int,
    jobs: int | None,
    say: Callable[[str], None],
) -> list[Path]:
    """The activations directories of one step, all of them scored."""
    config = load(source).config
    here = [hook for hook in hooks_of(config) if hooks is None or hook in hooks]
    if not here:
        raise BadInput(f"{source}: no hook of {', '.join(hooks or ())}; it has: {', '.join(hooks_of(config))}")
    most = max_neurons if max(config.widths) > max_neurons else None
    done = scored_step(source, data, out, sample_tokens, most, SCORED, nulls, here)
    if done:
        say(f"found {done[0].parent}")
        return done
    directories = collect(
        source, data, out, hooks=here, sample_tokens=sample_tokens, max_neurons=most, say=lambda line: None, jobs=jobs
    )
    for directory in directories:
        scored = score_directory(directory, SCORED, drop_samples=True, nulls=nulls, data=[data], jobs=jobs, say=say)
        say(scored.line())
    return directories
