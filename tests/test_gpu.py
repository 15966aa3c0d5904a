"""What a GPU computes beside what the CPU computes: training and collecting, of equal weights on equal tokens.

`scripts/gpu_check.sh` runs these; without a GPU they are skipped. POLYSEM_TEST_DEVICE=cpu runs them on the CPU, which
shows that they run.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from analyze.activations.collect import collect_source
from analyze.activations.source import CheckpointSource
from tests.train.fixtures import small_data, small_run
from train.checkpoint import load, steps
from train.config import ModelConfig
from train.data.tokens import TokenFile
from train.files import remove_directory
from train.loss import NextTokenLoss
from train.model import Transformer
from train.training_run import run

# Libraries warn of other things on other machines.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

ACTS = ["relu", "gelu_new", "solu_ln"]


@pytest.fixture(scope="module")
def device() -> torch.device:
    """The GPU, or what POLYSEM_TEST_DEVICE names."""
    asked = os.environ.get("POLYSEM_TEST_DEVICE", "cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU: torch.cuda.is_available() is false")
    return torch.device(asked)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("words"))


def of_config(act: str) -> tuple[Transformer, Tensor]:
    """A model of middling size and rows for it, on the CPU."""
    config = ModelConfig(n_layers=2, d_model=64, n_heads=4, n_ctx=128, d_vocab=1000, act=act)  # type: ignore[arg-type]
    rows = torch.randint(0, 1000, (8, 129), generator=torch.Generator().manual_seed(1))
    return Transformer(config, 0), rows


def off(found: Tensor, expected: Tensor) -> float:
    """How far, relative to the norm of what is expected."""
    return float((found.float().cpu() - expected).norm() / expected.norm())


def gradients(model: Transformer, rows: Tensor, device: torch.device, low: bool = False) -> tuple[float, list[Tensor]]:
    model, rows = model.to(device), rows.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        loss = NextTokenLoss(model)(rows)
    found = torch.autograd.grad(loss, list(model.parameters()))
    return loss.item(), [each.float().cpu() for each in found]


@pytest.mark.parametrize("act", ACTS)
def test_the_loss_and_its_gradients_in_fp32_are_the_cpus(act: str, device: torch.device):
    model, rows = of_config(act)
    expected, right = gradients(model, rows, torch.device("cpu"))
    loss, found = gradients(model, rows, device)
    assert loss == pytest.approx(expected, rel=1e-5)
    for (name, _), one, other in zip(model.named_parameters(), found, right, strict=True):
        if not name.endswith("attn.k.bias"):  # its gradient is zero but for rounding
            assert off(one, other) < 1e-3, name


@pytest.mark.parametrize("act", ACTS)
def test_the_loss_and_its_gradients_in_bf16_are_near_the_cpus_in_fp32(act: str, device: torch.device):
    model, rows = of_config(act)
    expected, right = gradients(model, rows, torch.device("cpu"))
    loss, found = gradients(model, rows, device, low=True)
    assert loss == pytest.approx(expected, abs=5e-3)
    one, other = (torch.cat([each.flatten() for each in of]) for of in (found, right))
    assert torch.cosine_similarity(one, other, 0) > 0.999


def test_the_chunked_loss_is_the_librarys(device: torch.device):
    model, rows = of_config("relu")
    model, rows = model.to(device), rows.to(device)
    with torch.no_grad():
        whole = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        assert NextTokenLoss(model)(rows).item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_trains_there_and_goes_on_where_it_stopped(
    precision: str, words: Path, tmp_path: Path, device: torch.device
):
    where = "cpu" if device.type == "cpu" else "auto"
    config = small_run(words, train__precision=precision, train__device=where)
    whole = run(config, tmp_path / "whole" / "gelu-s0").checkpoint
    assert whole.state["environment"]["device"].split(":")[0] == device.type
    again = tmp_path / "again" / "gelu-s0"
    shutil.copytree(tmp_path / "whole" / "gelu-s0", again)
    for step in steps(again):
        if step > 10:
            remove_directory(again / f"step-{step:09d}")
    resumed = run(config, again)
    assert not resumed.found
    assert resumed.checkpoint.step == whole.step
    found, expected = (each.state["evaluation"]["loss"] for each in (resumed.checkpoint, whole))
    assert found == pytest.approx(expected, abs=1e-3)
    # As far as the first steps go, the CPU learns the same.
    on_cpu = run(small_run(words, train__precision=precision), tmp_path / "cpu" / "gelu-s0").checkpoint
    assert expected == pytest.approx(on_cpu.state["evaluation"]["loss"], abs=0.02)


def test_precision_auto_is_bf16_where_the_gpu_multiplies_it(words: Path, tmp_path: Path, device: torch.device):
    where = "cpu" if device.type == "cpu" else "auto"
    made = run(small_run(words, train__precision="auto", train__device=where), tmp_path / "gelu-s0").checkpoint
    if device.type == "cuda":
        can = torch.cuda.is_bf16_supported(including_emulation=False)
        assert made.code["precision"] == ("bf16" if can else "fp32")


@pytest.mark.parametrize("act", ["gelu_new", "solu_ln"])
def test_collecting_there_gives_the_cpus_moments_and_examples(
    act: str, words: Path, tmp_path: Path, device: torch.device
):
    checkpoint = run(small_run(words, model__act=act), tmp_path / "runs" / "run-s0").checkpoint
    tokens = TokenFile.open(words, "eval")
    hook = "post" if act == "solu_ln" else "mid"
    there, here = (
        collect_source(
            CheckpointSource(load(checkpoint.directory), 0, hook, device=where),
            tokens,
            tmp_path / where.type / name / f"L0.{hook}",
            say=lambda _: None,
        )
        for name, where in (("there", device), ("here", torch.device("cpu")))
    )
    for name in ("mean", "sd", "minimum", "maximum"):
        assert np.allclose(getattr(there.moments, name), getattr(here.moments, name), rtol=1e-4, atol=1e-5), name
    assert np.allclose(there.moments.firing_rate, here.moments.firing_rate, atol=2e-3)
    strongest = [acts.examples.group_by("neuron").agg(value="activation").sort("neuron") for acts in (there, here)]
    for one, other in zip(*(table["value"].to_list() for table in strongest), strict=True):
        assert sorted(one) == pytest.approx(sorted(other), rel=1e-3, abs=1e-4)


def test_memory_on_the_gpu_stays_below_a_batch_of_logits(device: torch.device):
    if device.type != "cuda":
        pytest.skip("the CPU does not count it")
    config = ModelConfig(n_layers=1, d_model=64, n_heads=4, n_ctx=512, d_vocab=48_262, act="relu")
    model = Transformer(config, 0).to(device)
    rows = torch.randint(0, 48_262, (32, 513), device=device)
    logits = 4 * 32 * 512 * 48_262
    torch.cuda.reset_peak_memory_stats()
    NextTokenLoss(model)(rows).backward()
    assert torch.cuda.max_memory_allocated() < logits / 2
