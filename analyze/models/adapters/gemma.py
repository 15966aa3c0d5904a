"""Gemma 2 and 3 (text): as Llama, with their activation under another key."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="gemma",
    model_types=("gemma2", "gemma3_text"),
    stacks=(Stack("", "layers", "mlp.down_proj", gate="mlp.gate_proj"),),
    activation="hidden_activation",
)
