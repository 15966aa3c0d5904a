"""The model card of a run: README.md next to its checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.checkpoint import Checkpoint
from train.config import ModelConfig, RunConfig
from train.configfile import to_toml
from train.data.tokens import read_data_manifest


def credits_of(data: Path) -> str:
    """One line for each source of the training text: its share, credit and licence."""
    sources = read_data_manifest(data)["sources"]
    return "".join(
        f"- {source['share']:.0%} {source['name']}: {source['credit']} ({source['licence']})\n" for source in sources
    )


def model_card(checkpoint: Checkpoint, config: RunConfig, data: Path) -> str:
    """Markdown that says what the checkpoint is, how good it is, on what text, and how to open it.

    Args:
        data: where the data lie that it was trained on.
    """
    state, shape = checkpoint.state, checkpoint.config
    evaluation, before = state["evaluation"], state["tokens_before"]
    after = f", after {before:,} tokens of the checkpoint that it started from" if before else ""
    indented_config = to_toml(config).strip().replace("\n", "\n    ")
    return f"""\
# {state["run"]}

A {shape.n_layers}-layer transformer {mlps_in_words(shape)}, d_model {shape.d_model}, {shape.n_params:,} parameters.
polysem trained it on {state["tokens"]:,} tokens{after}.
{PURPOSE}

## How well it predicts

{losses_table(evaluation)}

## Which weights these are

Step {checkpoint.step} of seed {state["seed"]}. The hash of its manifest is `{checkpoint.hash}`; the hash of the
data that it was trained on is `{state["data"]["hash"]}`.
{origin_of(checkpoint)}
## Open it

    from train import load
    checkpoint = load("{checkpoint.directory.parent}")
    model = checkpoint.model()        # train.model.Transformer
    bridge = checkpoint.bridge()      # the same model in TransformerLens, weights not processed

## Text

{credits_of(data)}
The manifest of `{data}` lists its files and their hashes.

## Config

    {indented_config}
"""


PURPOSE = "It was made to study what its neurons answer to. It is too small to be of use as a language model."


def losses_table(evaluation: Mapping[str, Any]) -> str:
    """The held-out loss beside those of two kinds of guessing, and what the figure means."""
    rows = {
        "this model": evaluation["loss"],
        "guessing from the token before (Kneser-Ney bigram)": evaluation["bigram"],
        "guessing by frequency (unigram)": evaluation["unigram"],
    }
    table = "\n".join(f"| {name} | {loss:.4f} |" for name, loss in rows.items())
    return f"""\
| loss on {evaluation["n_tokens"]:,} held-out tokens | nats a token |
|---|---:|
{table}

The loss is minus the natural logarithm of the probability given to the right next token, averaged. Lower is better."""


def origin_of(checkpoint: Checkpoint) -> str:
    """Sentences on how the weights came about beyond plain training; each begins and ends with a line's end."""
    lineage, sentences = checkpoint.lineage, []
    if lineage is not None:
        sentences.append(
            f"Widened: {lineage.receipt.line()}. Each neuron was copied; these figures compare the wide model with its "
            "parent, before it was trained on."
        )
    if checkpoint.inexact:
        sentences.append(f"Not exact to the last bit: {'; '.join(checkpoint.inexact)}.")
    return "".join(f"\n{sentence}\n" for sentence in sentences)


def mlps_in_words(shape: ModelConfig) -> str:
    """What stands between a model's attention layers: `with relu MLPs (256, 256 neurons)`, or that nothing does."""
    if not shape.has_mlp:
        return "of attention alone, without MLPs"
    return f"with {shape.act} MLPs ({', '.join(map(str, shape.widths))} neurons)"
