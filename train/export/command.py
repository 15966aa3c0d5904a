"""`train export`: a checkpoint in, a directory of another format out, whole or not at all."""

from pathlib import Path
from typing import Any

from train.checkpoint import Checkpoint, load
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.export.activations import ActivationSettings, plan_activations, write_activations
from train.export.hf import is_gpt2, write_hf
from train.export.repository import found_or_made_repository
from train.export.tl_legacy import write_tl_legacy
from train.files import found_or_made
from train.hub import push, require_name
from train.locate import find_data
from train.provenance import code_facts

FORMAT_VERSION = 1


def export_hf(source: Path | str, out: Path) -> str:
    """Write the Hugging Face form of a checkpoint; return a line that says so.

    Raises:
        BadInput: no checkpoint, or an output that is taken by another result.
    """
    checkpoint = load(source)

    def make(aside: Path) -> dict[str, Any]:
        write_hf(checkpoint, aside)
        return {"code": code_facts()}

    found = found_or_made(out, facts_of(checkpoint, "hf"), make, replace=False)
    how = "plain GPT-2" if is_gpt2(checkpoint.config) else "trust_remote_code=True"
    return f"{'found' if found else 'wrote'} {out}: AutoModelForCausalLM.from_pretrained opens it ({how})"


def export_tl_legacy(source: Path | str, out: Path) -> str:
    """Write a checkpoint in TransformerLens' legacy format; return a line that says so.

    Raises:
        BadInput: no checkpoint, a model that the format cannot hold, or an output that is taken by another result.
    """
    checkpoint = load(source)

    def make(aside: Path) -> dict[str, Any]:
        write_tl_legacy(checkpoint, aside)
        return {"code": code_facts()}

    found = found_or_made(out, facts_of(checkpoint, "tl-legacy"), make, replace=False)
    return f'{"found" if found else "wrote"} {out}: load("tl:{out}") opens it, and so does boot_tl_legacy'


def export_hub(
    source: Path | str,
    out: Path,
    *,
    data: Path | None = None,
    results: Path | None = None,
    to: str | None = None,
    private: bool = False,
) -> str:
    """Write a hub repository's files, and push them where a name is given; return a line that says so.

    Raises:
        BadInput: no checkpoint, data that cannot be credited, results of other checkpoints, a bad name, a taken output.
        EnvironmentProblem: the hub cannot be reached, or refuses; what was written stays.
    """
    if to is not None:
        require_name(to)
    checkpoint = load(source)
    directory = _data_of(checkpoint, data, "the model card must credit them")
    facts = facts_of(checkpoint, "hub") | {"results": results is not None}
    found = found_or_made_repository(out, facts, checkpoint, directory, results, to)
    line = f"{'found' if found else 'wrote'} {out}"
    return f"{line}; pushed to {push(out, to, private)}" if to else f'{line}: load("hf:{out}") opens it'


def export_activations(source: Path | str, out: Path, settings: ActivationSettings, data: Path | None = None) -> str:
    """Write shuffled shards of one hook; return a line that says so.

    Raises:
        BadInput: no checkpoint, hook or data of this name, more tokens than there are, a taken output.
        EnvironmentProblem: too little free disk.
    """
    checkpoint = load(source)
    directory = _data_of(checkpoint, data, "activations are of their text")
    tokens = TokenFile.open(directory, split=settings.split, n_ctx=checkpoint.config.n_ctx)
    if tokens.tokenizer_sha256 != checkpoint.state["data"]["tokenizer_sha256"]:
        raise BadInput(f"--data {directory}: its tokenizer is not the checkpoint's")
    plan = plan_activations(checkpoint, tokens, settings)
    given = {"hook": settings.hook, "tokens": settings.n_tokens, "seed": settings.seed, "split": settings.split}
    facts = facts_of(checkpoint, "activations") | {"settings": given, "data_hash": tokens.data_hash}

    def make(aside: Path) -> dict[str, Any]:
        return write_activations(checkpoint, tokens, settings, aside) | {"code": code_facts()}

    found = found_or_made(out, facts, make, replace=False)
    return (
        f"{'found' if found else 'wrote'} {out}: {plan.n_tokens:,} tokens x {plan.width:,} of {settings.hook} in "
        f"{len(plan.shards)} shards; datasets.load_from_disk opens it"
    )


def facts_of(checkpoint: Checkpoint, kind: str) -> dict[str, Any]:
    """What an export's manifest says of its origin."""
    state = checkpoint.state
    return {
        "kind": "export",
        "format": kind,
        "format_version": FORMAT_VERSION,
        "checkpoint_hash": checkpoint.hash,
        "run": state["run"],
        "step": checkpoint.step,
        "seed": state["seed"],
        "trained_on": state["data"]["hash"],
    }


def _data_of(checkpoint: Checkpoint, given: Path | None, why: str) -> Path:
    facts = checkpoint.state["data"]
    if given is not None:
        return given
    directory = find_data(facts["hash"], facts.get("directory") or "", beside=checkpoint.directory)
    if directory is None:
        raise BadInput(
            f"{checkpoint.directory}: its data (hash {facts['hash'][:12]}) are not at {facts.get('directory') or '?'} "
            f"or beside it, and {why}; give --data"
        )
    return directory
