"""The device that `device = "auto"` takes."""

import torch


def best_device() -> torch.device:
    """CUDA where there is a GPU, else Apple's MPS, else the CPU. MPS was never run on; see docs/install.md."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
