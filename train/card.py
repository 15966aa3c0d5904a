"""The model card of a run: README.md next to its checkpoints."""

from pathlib import Path

from train.checkpoint import Checkpoint
from train.config import RunConfig
from train.configfile import to_toml
from train.data.tokens import read_data_manifest

CARD = """\
# {run}

A {n_layers}-layer transformer with {act} MLPs ({widths} neurons), d_model {d_model}, {n_params:,} parameters,
trained by [polysem](https://pypi.org/project/polysem/) on {tokens:,} tokens{after}.

| held-out loss (nats a token, {n_tokens:,} tokens) | unigram | Kneser-Ney bigram |
|---|---|---|
| {loss:.4f} | {unigram:.4f} | {bigram:.4f} |

Step {step}, seed {seed}, manifest `{hash}`. Data `{data_hash}`.
{lineage}
Open it:

    from train import load
    checkpoint = load("{directory}")
    model = checkpoint.model()        # train.model.Transformer
    bridge = checkpoint.bridge()      # TransformerLens, weights not processed

## Text

{credits}
Files and hashes stand in the manifest of `{data}`.

## Config

    {config}
"""


def credits_of(data: Path) -> str:
    """One line for each source of the training text: its share, credit and licence."""
    sources = read_data_manifest(data)["sources"]
    return "".join(
        f"- {source['share']:.0%} {source['name']}: {source['credit']} ({source['licence']})\n" for source in sources
    )


def model_card(checkpoint: Checkpoint, config: RunConfig) -> str:
    """Markdown that says what the checkpoint is, how good it is, on what text, and how to open it."""
    state, shape = checkpoint.state, checkpoint.config
    evaluation = state["evaluation"]
    before = state["tokens_before"]
    lineage = checkpoint.lineage
    return CARD.format(
        run=state["run"],
        n_layers=shape.n_layers,
        act=shape.act,
        widths=", ".join(str(width) for width in shape.widths),
        d_model=shape.d_model,
        n_params=shape.n_params,
        tokens=state["tokens"],
        after=f" after {before:,} of the checkpoint it started from" if before else "",
        n_tokens=evaluation["n_tokens"],
        loss=evaluation["loss"],
        unigram=evaluation["unigram"],
        bigram=evaluation["bigram"],
        step=checkpoint.step,
        seed=state["seed"],
        hash=checkpoint.hash,
        data_hash=state["data"]["hash"],
        credits=credits_of(Path(state["data"]["directory"])),
        lineage="" if lineage is None else f"\nWidened: {lineage.receipt.line()}.\n",
        directory=checkpoint.directory.parent,
        data=state["data"]["directory"],
        config=to_toml(config).strip().replace("\n", "\n    "),
    )
