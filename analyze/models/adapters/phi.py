"""Phi-1 and 2: fc2(act(fc1 x)), beside attention."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(name="phi", model_types=("phi",), stacks=(Stack("", "layers", "mlp.fc2"),))
