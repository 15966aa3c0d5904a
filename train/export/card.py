"""The model card of a hub repository: what the model is, how good, on whose text, and how to open it."""

from pathlib import Path

from train.card import credits_of, mlps_in_words
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
{shape.n_params:,} parameters, trained by polysem on {state["tokens_before"] + state["tokens"]:,} tokens. It was made
to study what its neurons stand for; it is too small to be of use as a language model.

Step {checkpoint.step}, seed {state["seed"]}, variant {state["variant"]}, manifest `{checkpoint.hash}`.

{_losses(checkpoint)}{_descent(checkpoint)}
## Open it

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("{shown}"{trust})
    tokenizer = AutoTokenizer.from_pretrained("{shown}"{trust})   # puts BOS before a text

    from train import load                   # polysem: weights, optimizer, lineage, hashes checked
    checkpoint = load("hf:{shown}")
    model, bridge = checkpoint.model(), checkpoint.bridge()     # the latter in TransformerLens

## Text

{credits_of(data)}
The prepared data have hash `{state["data"]["hash"]}`.
{_results(scores)}"""


def _losses(checkpoint: Checkpoint) -> str:
    evaluation = checkpoint.state["evaluation"] or {}
    if evaluation.get("step") != checkpoint.step:
        return ""  # of earlier weights than these
    return (
        "| held-out loss (nats a token) | unigram | Kneser-Ney bigram |\n|---|---|---|\n"
        f"| {evaluation['loss']:.4f} | {evaluation['unigram']:.4f} | {evaluation['bigram']:.4f} |\n"
    )


def _descent(checkpoint: Checkpoint) -> str:
    start, lineage = checkpoint.state["start"], checkpoint.lineage
    lines = ""
    if start is not None:
        lines += f"\nStarted from {start['run']} step {start['step']}, manifest `{start['hash']}`.\n"
    if lineage is not None:
        lines += f"\nWidened: {lineage.receipt.line()}. The parent of every neuron: `checkpoint/lineage.safetensors`.\n"
    if checkpoint.inexact:
        lines += f"\nNot exact to the last bit: {'; '.join(checkpoint.inexact)}.\n"
    return lines


def _results(scores: list[Path]) -> str:
    if not scores:
        return ""
    places = "".join(f"- `results/{path.name.removesuffix('.scores')}/scores.parquet`\n" for path in scores)
    return f"\n## Results\n\nA row a neuron; rows whose `null` is not `none` are of nulls.\n\n{places}"
