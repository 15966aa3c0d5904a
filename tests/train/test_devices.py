"""The device that `device = "auto"` takes; no MPS is at hand, so its answer is told."""

import pytest
import torch

from train.devices import best_device
from train.precision import machine_precision


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_cuda_then_mps_then_the_cpu(cuda, mps, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device().type == device


def test_auto_precision_on_mps_is_fp32_whatever_its_processor_can(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"arm_bf16": True})
    assert machine_precision() == "fp32"
    assert machine_precision("cpu") == "bf16"
