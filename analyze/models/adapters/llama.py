"""Llama and those laid out like it: down(act(gate x) * up x), in every layer."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="llama",
    model_types=(
        *("llama", "mistral", "qwen2", "qwen3", "gemma", "smollm3", "olmo", "olmo2", "granite", "stablelm", "cohere"),
        *("helium", "seed_oss", "ministral"),
    ),
    stacks=(Stack("", "layers", "mlp.down_proj", gate="mlp.gate_proj"),),
)
