"""OPT: fc2(act(fc1 x)), ReLU in the published ones."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(
    name="opt", model_types=("opt",), stacks=(Stack("", "decoder.layers", "fc2"),), activation="activation_function"
)
