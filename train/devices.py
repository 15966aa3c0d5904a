"""The device that `device = "auto"` takes."""

from collections.abc import Mapping

import torch


def best_device() -> torch.device:
    """CUDA where there is a GPU, else Apple's MPS, else the CPU. MPS was never run on; see docs/install.md."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def take_own_device(environ: Mapping[str, str]) -> None:
    """Of a machine's several GPUs, compute on the one whose number a launcher gave this process."""
    local = environ.get("LOCAL_RANK", "")
    if local.isdecimal() and torch.cuda.is_available():
        torch.cuda.set_device(int(local) % torch.cuda.device_count())
