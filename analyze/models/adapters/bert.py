"""BERT and those laid out like it: output.dense(act(intermediate.dense x)); tokens see both sides."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="bert",
    model_types=("bert", "roberta", "electra", "camembert", "xlm-roberta"),
    stacks=(Stack("", "encoder.layer", "output.dense"),),
    masked=True,
)
