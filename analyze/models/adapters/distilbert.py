"""DistilBERT: ffn.lin2(act(ffn.lin1 x)); tokens see both sides."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="distilbert",
    model_types=("distilbert",),
    stacks=(Stack("", "transformer.layer", "ffn.lin2"),),
    activation="activation",
    masked=True,
)
