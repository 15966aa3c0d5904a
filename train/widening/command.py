"""`train widen`: a checkpoint in, a run directory with the widened checkpoint out."""

from pathlib import Path

import torch

from train.checkpoint import Checkpoint, load, require_run_name, save_checkpoint, step_directory
from train.config import WidenPlan
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import locked
from train.filesystem import require_space
from train.hub import PREFIX
from train.locate import find_data
from train.memory import free_memory, to_widen
from train.provenance import code_facts, start_facts, tokens_seen
from train.widening.widen import RECEIPT_ROWS, widen, widened_config


def widen_checkpoint(source: Path, plan: WidenPlan, data: Path | None = None, out: Path | None = None) -> str:
    """Widen a checkpoint and write the result as step 0 of a new run; return a line that says so.

    Fine-tune it with a RUN.toml whose `start` names it, or do both in one file with a [widen] table.

    Raises:
        BadInput: a layer that is not there, data of another tokenizer, an output that is taken.
        EnvironmentProblem: the widened model would not fit into memory.
    """
    parent = load(source)
    config = widened_config(parent.config, plan)
    to_widen(parent.config, config).require("widen: widening", free_memory(), "lower the factor or name fewer layers")
    run = parent.directory.resolve().parent
    if str(source).startswith(PREFIX) or "imported" in parent.state:  # it lies in a cache, where no result belongs
        run = Path("checkpoints") / parent.state["run"]
    target = out or run.with_name(f"{run.name}-x{plan.factor}")
    require_run_name(target)
    rows = _receipt_rows(parent, data, config.n_ctx)
    with locked(target):
        # Names that begin with a dot are no results: the lock, and what a dead process left.
        taken = sorted(path.name for path in target.iterdir() if not path.name.startswith("."))
        if taken:
            raise BadInput(f"{target}: is taken (it holds {taken[0]}); choose another --out")
        model, lineage = widen(parent.model(), plan, rows)
        lineage = lineage.of(parent.hash, parent.lineage)
        require_space(target, 8 * config.n_params)
        state = {
            **parent.state,
            "run": target.name,
            "variant": target.name.removesuffix(f"-s{parent.state['seed']}"),
            "step": 0,
            "tokens": 0,
            "tokens_before": tokens_seen(parent),
            "n_params": config.n_params,
            "n_trained_params": 0,
            "factor": parent.state["factor"] * plan.factor,
            "evaluation": None if parent.state["evaluation"] is None else {**parent.state["evaluation"], "step": 0},
            "start": start_facts(parent),
        }
        state.pop("log_offset", None)  # of a parent that an earlier version wrote
        if not lineage.receipt.exact_promised:
            state["evaluation"] = None  # the parent's loss is the child's only where the copy is exact
        tokenizer = (parent.directory / "tokenizer.json").read_bytes()
        save_checkpoint(target, model, {}, state, tokenizer, lineage, code_facts(), parent.inexact)
    widths = " ".join(str(width) for width in config.widths)
    return f"wrote {step_directory(target, 0)}: widths {widths}; {lineage.receipt.line()}"


def _receipt_rows(parent: Checkpoint, data: Path | None, n_ctx: int) -> torch.Tensor | None:
    facts = parent.state["data"]
    recorded = facts.get("directory", "")
    directory = data or find_data(facts["hash"], recorded, beside=parent.directory)
    if directory is None and "imported" in parent.state:
        print(
            "warning: imported weights name no data; the receipt is measured on random tokens (see --data)", flush=True
        )
        return None
    if directory is None:
        where = f"at {recorded} or beside it" if recorded else "beside it"
        print(
            f"warning: the checkpoint's data (hash {facts['hash'][:12]}) do not lie {where}; the receipt is measured "
            "on random tokens (see --data)",
            flush=True,
        )
        return None
    held_out = TokenFile.open(directory, split="eval", n_ctx=n_ctx)
    if held_out.tokenizer_sha256 != facts["tokenizer_sha256"]:
        raise BadInput(f"--data {directory}: its tokenizer is not the checkpoint's")
    return held_out.plain_rows(0, min(RECEIPT_ROWS, held_out.n_rows))
