"""`precision = "auto"`: bf16 where the hardware multiplies it, else fp32; settled once a run or study, then kept."""

from pathlib import Path
from typing import Literal

import torch

from train.config import RunConfig
from train.configfile import read_toml
from train.devices import best_device
from train.errors import BadInput

Precision = Literal["fp32", "bf16"]


def machine_precision(device: str = "auto") -> Precision:
    """What `auto` means here: torch is asked what the processor or the GPU can do, nothing is timed.

    Args:
        device: of a run's config: "auto" takes a GPU that is there, "cpu" does not.
    """
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device != "cpu" and best_device().type == "mps":
        return "fp32"  # what autocast does there was never tried
    can = torch.cpu.get_capabilities()  # Arm has a flag of its own
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") or can.get("arm_bf16") else "fp32"


def settled(asked: str, recorded: object, device: str, where: str) -> Precision:
    """The precision of something that may have begun before; says so where this machine would choose another.

    Args:
        asked: "auto" or a precision.
        recorded: what was settled at its beginning; None: it begins now.
        where: names it.
    """
    if asked != "auto":
        return "bf16" if asked == "bf16" else "fp32"
    here = machine_precision(device)
    if recorded not in ("fp32", "bf16"):
        return here
    if recorded != here:
        print(f"{where}: keeps the {recorded} that it began with; this machine would take {here}", flush=True)
    return "bf16" if recorded == "bf16" else "fp32"


def with_settled_precision(config: RunConfig, out: Path) -> RunConfig:
    """A run's config with "auto" replaced: by what the run in `out` began with, else by what this machine can do."""
    if config.train.precision != "auto":
        return config
    recorded = None
    if (out / "run.toml").is_file():
        try:
            recorded = read_toml(out / "run.toml").get("train", {}).get("precision")
        except (BadInput, AttributeError):
            recorded = None  # whoever reads the file next says what is wrong with it
    precision = settled("auto", recorded, config.train.device, str(out))
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
