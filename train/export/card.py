"""The model card of a hub repository: what the model is, how good, on whose text, and how to open it."""

from pathlib import Path

from train.card import PURPOSE, credits_of, losses_table, mlps_in_words, origin_of
from train.checkpoint import Checkpoint
from train.data.tokens import read_data_manifest
from train.errors import BadInput
from train.export.hf import is_gpt2
from train.files import manifest_hash


def hub_card(checkpoint: Checkpoint, data: Path, scores: list[Path], name: str | None) -> str:
    """Markdown with the hub's front matter.

    Args:
        data: the prepared data that it was trained on; their credits are given.
        scores: directories of scores that lie beside it, under `results/`.
        name: `user/name` on a hub, where it is known.

    Raises:
        BadInput: `data` are not those that it was trained on.
    """
    state, shape = checkpoint.state, checkpoint.config
    read_data_manifest(data)
    if manifest_hash(data) != state["data"]["hash"]:
        raise BadInput(f"--data {data}: not the data that the checkpoint was trained on")
    trust = "" if is_gpt2(shape) else ", trust_remote_code=True"
    shown = name or "USER/NAME"
    return f"""\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- polysem
- mechanistic-interpretability
- {shape.act}
---

# {state["run"]}

A {shape.n_layers}-layer transformer {mlps_in_words(shape)}, \
d_model {shape.d_model}, {shape.n_heads} heads, n_ctx {shape.n_ctx}, {shape.d_vocab:,} tokens of vocabulary,
{shape.n_params:,} parameters. polysem trained it on {state["tokens_before"] + state["tokens"]:,} tokens.
{PURPOSE}
{_losses(checkpoint)}
## Which weights these are

Step {checkpoint.step} of seed {state["seed"]}, variant {state["variant"]}. The hash of its manifest is
`{checkpoint.hash}`; the hash of the data that it was trained on is `{state["data"]["hash"]}`.
{_descent(checkpoint)}
## Open it

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("{shown}"{trust})
    tokenizer = AutoTokenizer.from_pretrained("{shown}"{trust})   # puts BOS before a text

With polysem, which checks every hash and brings the optimizer and the lineage as well:

    from train import load
    checkpoint = load("hf:{shown}")
    model = checkpoint.model()        # train.model.Transformer
    bridge = checkpoint.bridge()      # the same model in TransformerLens, weights not processed

## Text

{credits_of(data)}{_results(scores)}"""


def _losses(checkpoint: Checkpoint) -> str:
    evaluation = checkpoint.state["evaluation"] or {}
    if evaluation.get("step") != checkpoint.step:
        return ""  # of earlier weights than these
    return f"\n## How well it predicts\n\n{losses_table(evaluation)}\n"


def _descent(checkpoint: Checkpoint) -> str:
    start = checkpoint.state["start"]
    lines = ""
    if start is not None:
        lines += f"\nIt started from {start['run']} step {start['step']}, manifest `{start['hash']}`.\n"
    if checkpoint.lineage is not None:
        lines += "\n`checkpoint/lineage.safetensors` holds the parent of every neuron.\n"
    return lines + origin_of(checkpoint)


def _results(scores: list[Path]) -> str:
    if not scores:
        return ""
    places = "".join(f"- `results/{path.name.removesuffix('.scores')}/scores.parquet`\n" for path in scores)
    rows = "One row for each neuron. Rows whose `null` is not `none` are of nulls: what chance gives."
    return f"\n## Results\n\n{rows}\n\n{places}"
