"""GPT-J: fc_out(act(fc_in x)), beside attention."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="gptj", model_types=("gptj",), stacks=(Stack("", "h", "mlp.fc_out"),), activation="activation_function"
)
