"""GPT-NeoX and Pythia: dense_4h_to_h(act(dense_h_to_4h x)), beside attention."""

from analyze.models.base import Adapter, Stack

ADAPTER = Adapter(name="gpt_neox", model_types=("gpt_neox",), stacks=(Stack("", "layers", "mlp.dense_4h_to_h"),))
