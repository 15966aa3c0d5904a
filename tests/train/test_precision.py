"""`precision = "auto"`: what the machine can do, settled once and kept."""

import pytest
import torch

from tests.train.fixtures import small_run
from train.checkpoint import load
from train.config import RunConfig
from train.configfile import load_config
from train.errors import BadInput
from train.precision import machine_precision, settled
from train.training_run import run


@pytest.fixture
def machine(monkeypatch):
    """A processor with these capabilities and no GPU."""

    def has(**capabilities: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    return has


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True}, "fp32"),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"arm_bf16": True}, "bf16"),
        ({}, "fp32"),
    ],
)
def test_auto_is_what_the_processor_multiplies(machine, capabilities, precision):
    machine(**capabilities)
    assert machine_precision() == machine_precision("cpu") == precision


@pytest.mark.parametrize("can", [True, False])
def test_auto_asks_a_gpu_unless_the_run_is_on_the_cpu(machine, monkeypatch, can):
    machine()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: can)
    assert machine_precision() == ("bf16" if can else "fp32")
    assert machine_precision("cpu") == "fp32"


def test_what_was_settled_is_kept_and_said(machine, capsys):
    machine(avx512_bf16=True)
    assert settled("auto", None, "auto", "here") == "bf16"
    assert settled("auto", "bf16", "auto", "here") == "bf16"
    assert settled("fp32", "bf16", "auto", "here") == "fp32"
    assert capsys.readouterr().out == ""
    assert settled("auto", "fp32", "auto", "here") == "fp32"
    assert capsys.readouterr().out == "here: keeps the fp32 that it began with; this machine would take bf16\n"


def test_a_run_settles_auto_records_it_and_goes_on_with_it_on_another_machine(data, tmp_path, machine, capsys):
    out, config = tmp_path / "gelu-s0", small_run(data, train__precision="auto")
    machine()
    first = run(config, out).checkpoint
    assert load_config(RunConfig, out / "run.toml").train.precision == "fp32"
    assert first.code["precision"] == "fp32"
    assert first.hash == run(small_run(data, train__precision="fp32"), tmp_path / "told" / "gelu-s0").checkpoint.hash
    machine(avx512_bf16=True)
    capsys.readouterr()
    again = run(config, out)
    assert again.found
    assert "keeps the fp32" in capsys.readouterr().out
    with pytest.raises(BadInput, match=r"train.precision = 'fp32', now 'bf16'"):
        run(small_run(data, train__precision="bf16"), out)
    low = run(config, tmp_path / "low" / "gelu-s0").checkpoint
    assert load(low.directory).code["precision"] == "bf16"
    assert low.hash != first.hash
