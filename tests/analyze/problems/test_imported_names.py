"""Problem 4.23 on models that others trained."""

from pathlib import Path

import pytest
import torch

from analyze.models.opened import model_files, open_model
from analyze.problems.imported_names import ImportedModel
from analyze.problems.name_task import Shift
from tests.analyze.models.small import write_model
from tests.commands import Command
from train.errors import BadInput


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


@pytest.fixture(scope="module")
def model(directory: Path) -> ImportedModel:
    opened = open_model(model_files(f"hf:{directory}"))
    opened.model.requires_grad_(False)
    with pytest.raises(BadInput, match="names no bos_token_id"):
        ImportedModel.of(opened)
    opened.config.bos_token_id = 0
    return ImportedModel.of(opened)


TOKENS = torch.randint(1, 20, (3, 7), generator=torch.Generator().manual_seed(0))


def test_its_logits_are_those_of_the_library(directory: Path, model: ImportedModel) -> None:
    from transformers import AutoModelForCausalLM

    own = AutoModelForCausalLM.from_pretrained(directory).eval()
    read = TOKENS.clone()
    read[:, 0] = model.bos
    with torch.no_grad():
        expected = own(input_ids=read).logits[:, -1]
    torch.testing.assert_close(model.last_logits(TOKENS), expected, atol=1e-5, rtol=1e-4)


def test_adding_what_another_row_has_more_before_a_layer_gives_its_answer(model: ImportedModel) -> None:
    other = TOKENS.flip(0)
    for layer in range(len(model.layers)):
        assert model.residual(TOKENS, layer).shape == (3, 7, model.d_model)
    offset = (model.residual(other, 0) - model.residual(TOKENS, 0))[:, 4]
    mixed = TOKENS.clone()
    mixed[:, 4] = other[:, 4]
    torch.testing.assert_close(
        model.last_logits(TOKENS, Shift(0, 4, offset)), model.last_logits(mixed), atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(model.last_logits(mixed), model.last_logits(TOKENS))


def test_what_cannot_be_asked_is_one_line(directory: Path, analyze_command: Command, tmp_path: Path) -> None:
    few = analyze_command("problem", "4.23", f"hf:{directory}", "--out", tmp_path)
    assert few.code == 2
    assert "names are one token in this vocabulary" in few.err
    other = analyze_command("problem", "4.24", f"hf:{directory}", "--out", tmp_path)
    assert other.code == 2
    assert "can be asked for 4.23 alone" in other.err


@pytest.mark.parametrize(("kind", "says"), [("llama", "unembedding of its own"), ("bert", "no next token")])
def test_models_that_it_cannot_read_are_refused(kind: str, says: str, tmp_path: Path) -> None:
    opened = open_model(model_files(f"hf:{write_model(kind, tmp_path / kind)}"))
    with pytest.raises(BadInput, match=says):
        ImportedModel.of(opened)
