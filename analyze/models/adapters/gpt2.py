"""GPT-2 and those laid out like it: c_proj(act(c_fc x))."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="gpt2",
    model_types=("gpt2", "gpt_neo", "gpt_bigcode"),
    stacks=(Stack("", "h", "mlp.c_proj"),),
    activation="activation_function",
)
