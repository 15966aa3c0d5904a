"""`train status`: one line for every run in a directory."""

from pathlib import Path

from train.checkpoint import open_step, step_directory, steps
from train.errors import BadInput, PolysemError, one_line
from train.files import is_locked
from train.study_progress import studies_below
from train.study_slurm import slurm_studies_below
from train.tracking import METRICS, groups, read_metrics


def status(directory: Path) -> str:
    """One line for every run below `directory`: step, tokens, held-out loss, bigram, whether it is running; then the
    loss of each source and the dead neurons of the last evaluation.

    Before them a line for each study that runs here or was sent to Slurm, whose results lie below `directory` or
    beside such checkpoints.

    Raises:
        BadInput: no such directory.
    """
    if not directory.is_dir():
        raise BadInput(f"{directory}: no such directory")
    # `train widen` writes a step 0 without a run.toml: nothing was trained there yet.
    runs = sorted(
        {path.parent for path in directory.rglob("run.toml")}
        | {path.parent.parent for path in directory.rglob("step-000000000/model.safetensors")}
    )
    lines = [f"{'run':36} {'step':>8} {'tokens':>12} {'held-out':>9} {'bigram':>7}  state"]
    lines += [_line(run, directory) for run in runs]
    studies = [*studies_below(directory), *slurm_studies_below(directory)]
    return "\n".join([*studies, *lines] if runs else studies or [f"{directory}: no runs"])


def _line(run: Path, root: Path) -> str:
    name = one_line(str(run.relative_to(root)) if run != root else run.resolve().name)
    activity = "running" if is_locked(run) else "at rest"
    present = steps(run)
    if not present:
        return f"{name:36} {'-':>8} {'-':>12} {'-':>9} {'-':>7}  {activity}, no checkpoint yet"
    try:
        checkpoint = open_step(step_directory(run, present[-1]))
    except PolysemError as failure:
        return f"{name:36} {present[-1]:>8} {'-':>12} {'-':>9} {'-':>7}  damaged: {one_line(str(failure))}"
    state = checkpoint.state
    evaluation = state["evaluation"]
    loss, bigram = (f"{evaluation[key]:.4f}" if evaluation else "-" for key in ("loss", "bigram"))
    return f"{name:36} {state['step']:>8} {state['tokens']:>12,} {loss:>9} {bigram:>7}  {activity}{_watched(run)}"


def _watched(run: Path) -> str:
    """Loss by source and dead neurons at the last evaluation, where there is something to say."""
    try:
        lines = read_metrics(run / METRICS, "eval")
    except BadInput:
        return ""
    last = lines[-1] if lines else {}
    said = [f"{one_line(name)} {each['loss']:.4f}" for name, each in sorted(groups(last, "by_source", "loss").items())]
    said += [
        f"{one_line(layer)}: {each['neurons']:,} dead ({each['share']:.1%})"
        for layer, each in groups(last, "dead", "neurons", "share").items()
        if each["neurons"]
    ]
    return f"; {', '.join(said)}" if said else ""
