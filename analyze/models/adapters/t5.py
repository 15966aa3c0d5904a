"""T5: wo(act(wi x)); an encoder, which sees both sides, and a decoder.

The encoder reads a row as it stands; the decoder reads the same row behind its start token, and the encoder's output.
"""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="t5",
    model_types=("t5",),
    stacks=(
        Stack("encoder", "encoder.block", "layer.-1.DenseReluDense.wo"),
        Stack("decoder", "decoder.block", "layer.-1.DenseReluDense.wo"),
    ),
    activation="dense_act_fn",
    when=lambda config: not config.is_gated_act,
)
