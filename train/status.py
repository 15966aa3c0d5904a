"""`train status`: what lies in a directory of runs."""

import fcntl
from pathlib import Path

from train.checkpoint import open_step, step_directory, steps
from train.errors import BadInput


def status(directory: Path) -> str:
    """One line a run below `directory`: step, tokens, held-out loss, bigram, whether it is running.

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
    return "\n".join(lines) if runs else f"{directory}: no runs"


def _line(run: Path, root: Path) -> str:
    name = str(run.relative_to(root)) if run != root else run.name
    present = steps(run)
    if not present:
        return f"{name:36} {'-':>8} {'-':>12} {'-':>9} {'-':>7}  {_activity(run)}, no checkpoint yet"
    try:
        checkpoint = open_step(step_directory(run, present[-1]))
    except BadInput as failure:
        return f"{name:36} {present[-1]:>8} {'-':>12} {'-':>9} {'-':>7}  damaged: {failure}"
    state = checkpoint.state
    evaluation = state["evaluation"]
    loss, bigram = (f"{evaluation[key]:.4f}" if evaluation else "-" for key in ("loss", "bigram"))
    return f"{name:36} {state['step']:>8} {state['tokens']:>12,} {loss:>9} {bigram:>7}  {_activity(run)}"


def _activity(run: Path) -> str:
    lock = run / ".lock"
    if not lock.exists():
        return "at rest"
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "running"
    return "at rest"
