"""The model card of a run: README.md next to its checkpoints."""

from pathlib import Path

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
    state, shape, lineage = checkpoint.state, checkpoint.config, checkpoint.lineage
    evaluation, before = state["evaluation"], state["tokens_before"]
    after = f" after {before:,} of the checkpoint it started from" if before else ""
    widened = "" if lineage is None else f"\nWidened: {lineage.receipt.line()}.\n"
    inexact = f"\nNot exact to the last bit: {'; '.join(checkpoint.inexact)}.\n" if checkpoint.inexact else ""
    indented_config = to_toml(config).strip().replace("\n", "\n    ")
    return f"""\
# {state["run"]}

A {shape.n_layers}-layer transformer {mlps_in_words(shape)}, \
d_model {shape.d_model}, {shape.n_params:,} parameters,
trained by polysem on {state["tokens"]:,} tokens{after}.

| loss on {evaluation["n_tokens"]:,} held-out tokens, in nats a token | guessing by frequency (unigram) \
| guessing from the token before (Kneser-Ney bigram) |
|---|---|---|
| {evaluation["loss"]:.4f} | {evaluation["unigram"]:.4f} | {evaluation["bigram"]:.4f} |

Lower is better.

Step {checkpoint.step}, seed {state["seed"]}, manifest `{checkpoint.hash}`. Data `{state["data"]["hash"]}`.
{widened}{inexact}
Open it:

    from train import load
    checkpoint = load("{checkpoint.directory.parent}")
    model = checkpoint.model()        # train.model.Transformer
    bridge = checkpoint.bridge()      # TransformerLens, weights not processed

## Text

{credits_of(data)}
Files and hashes stand in the manifest of `{data}`.

## Config

    {indented_config}
"""


def mlps_in_words(shape: ModelConfig) -> str:
    """What stands between a model's attention layers: `with relu MLPs (256, 256 neurons)`, or that nothing does."""
    if not shape.has_mlp:
        return "of attention alone, without MLPs"
    return f"with {shape.act} MLPs ({', '.join(map(str, shape.widths))} neurons)"
