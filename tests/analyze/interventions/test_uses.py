"""What neurons are used for is found where it was planted, and shown beside what they answer to."""

from pathlib import Path

import pytest
import torch

from analyze.activations.collect import collect
from analyze.activations.store import open_activations
from analyze.interventions.carriers import rise_without
from analyze.interventions.uses import SCHEMA, _of_rows, marks_of, uses
from analyze.interventions.uses_store import read_uses, use_in_words, uses_beside
from analyze.labels.bank import bank_on
from tests.analyze.interventions.planted_circuit import CARRIERS, planted_circuit, rows, where
from tests.commands import Command
from tests.train.fixtures import small_data, small_run
from train.data.tokens import TokenFile
from train.parquet import read_parquet
from train.training_run import run

ROWS = rows()


def labels() -> dict[str, torch.Tensor]:
    """The planted feature, and tokens that nothing is planted for."""
    return {"the feature": where(ROWS), "others": torch.isin(ROWS[:, :-1], torch.tensor([12, 13, 14]))}


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_carriers_of_a_feature_are_used_for_it_by_exactly_what_the_loss_loses(n_layers: int) -> None:
    model = planted_circuit(n_layers)
    table = uses(model, ROWS, labels(), layer=0)
    assert table.schema == SCHEMA
    rise = rise_without(model, ROWS, where(ROWS), layer=0)
    for neuron in CARRIERS:
        row = table.row(neuron, named=True)
        assert row["used_for"] == "the feature"
        assert row["rise"] == pytest.approx(rise([neuron]))
        assert row["rise"] > row["elsewhere"]
        assert row["strength"] > row["chance"]
    assert table["used_for"].is_not_null().sum() <= 8  # of 40: three that are planted, and chance


def test_a_neuron_that_answers_to_a_feature_and_writes_nothing_is_used_for_nothing() -> None:
    model = planted_circuit()
    model.mlp(0).fc_out.weight[:, 11] = 0.0
    table = uses(model, ROWS, labels(), layer=0)
    assert table["used_for"][11] is None
    assert table["used_for"][3] == "the feature"


def test_the_effect_to_first_order_is_the_slope_of_the_loss() -> None:
    model = planted_circuit()
    mean = torch.zeros(40)
    effect = _of_rows(model, ROWS[:4], 0, mean)
    neuron, step = 20, 1e-2
    before = model.mlp(0).fc_out.weight[:, neuron].clone()
    total = []
    for factor in (1.0, 1.0 - step):
        model.mlp(0).fc_out.weight[:, neuron] = factor * before
        logits = model(ROWS[:4, :-1])
        total.append(
            float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ROWS[:4, 1:].flatten(), reduction="sum"))
        )
    assert float(effect[:, neuron].sum()) == pytest.approx((total[1] - total[0]) / step, rel=0.05)


def test_without_labels_enough_nothing_is_said() -> None:
    table = uses(planted_circuit(), ROWS, {"rare": torch.zeros_like(where(ROWS))}, layer=0)
    assert table["used_for"].is_null().all()


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations of a small run, 10 of its 16 neurons, beside run and data."""
    root = tmp_path_factory.mktemp("uses")
    data = small_data(root)
    run(small_run(data), root / "gelu")
    collect(root / "gelu", data, root / "results", max_neurons=10, say=lambda line: None)
    return root


def test_the_command_writes_a_row_a_collected_neuron_and_finds_it_again(
    collected: Path, analyze_command: Command
) -> None:
    made = analyze_command("uses", collected / "results")
    assert made.code == 0, made.err
    (directory,) = {path.parent for path in (collected / "results").rglob("L0.mid/meta.json")}
    table = read_parquet(uses_beside(directory) / "uses.parquet")
    assert table["neuron"].to_list() == list(range(10))
    assert len(set(table["of_layer"])) == 10
    assert max(table["of_layer"]) > 9
    assert set(read_uses(directory, by="of_layer")) == set(table["of_layer"])
    again = analyze_command("uses", collected / "results")
    assert again.out.startswith("found ")
    assert open_activations(directory).n_neurons == 10  # the uses are no activations


def test_a_directory_without_activations_is_one_line(analyze_command: Command, tmp_path: Path) -> None:
    made = analyze_command("uses", tmp_path)
    assert made.code == 2
    assert made.err.count("\n") == 1


def test_marks_stand_at_the_tokens_that_the_bank_names(collected: Path) -> None:
    text = TokenFile.open(next(collected.glob("data*")), "eval", 16)
    bank = bank_on(text)
    import numpy as np

    marks = marks_of(bank, np.array([1, 3]), 16)
    name, positions = next((n, p) for n, p in zip(bank.names, bank.positions) if len(p) > 20)
    expected = torch.zeros((2, 16), dtype=torch.bool)
    for line, row in enumerate((1, 3)):
        for position in positions.tolist():
            if row * 16 <= position < row * 16 + 15:
                expected[line, position - row * 16 + 1] = True
    assert torch.equal(marks[name], expected)


def test_a_card_says_the_label_and_the_nats_or_that_there_is_none() -> None:
    assert use_in_words(("in code", 0.1234)) == (("used for", "in code (+0.12 nats without it)"),)
    assert use_in_words((None, None)) == (("used for", "no label"),)
    assert use_in_words(None) == ()
