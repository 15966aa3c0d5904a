"""T5 v1.1 and its kin: wo(act(wi_0 x) * wi_1 x), otherwise as T5."""

from dataclasses import replace

from analyze.models.adapters import t5
from analyze.models.base import Adapter

ADAPTER: Adapter = replace(
    t5.ADAPTER,
    name="t5_gated",
    stacks=tuple(replace(stack, gate="layer.-1.DenseReluDense.wi_0") for stack in t5.ADAPTER.stacks),
    when=lambda config: config.is_gated_act,
)
