"""Phi-3: gate and up-projection in one matrix."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="phi3",
    model_types=("phi3",),
    stacks=(Stack("", "layers", "mlp.down_proj", gate="mlp.gate_up_proj", gate_is_half=True),),
)
