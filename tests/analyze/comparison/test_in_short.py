"""What a study prints of its comparison: a narrow table of the first primary score."""

from pathlib import Path

import polars as pl
import pytest

from analyze.comparison.command import compare
from analyze.comparison.in_short import FILE, in_short
from tests.analyze.activations.synthetic import write_study
from train.errors import BadInput


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = write_study(tmp_path_factory.mktemp("study"))
    compare([results], results, reference="gelu")
    return results


def test_every_variant_has_a_line_with_its_loss_share_chance_and_number(compared: Path) -> None:
    said, table = in_short(compared), pl.read_parquet(compared / FILE)
    lines = [line for line in said.splitlines() if line.startswith("| ") and not line.startswith("| :")]
    assert len(lines) == 1 + table.height
    assert max(map(len, said.splitlines())) < 160
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    row = table.row(0, named=True)
    assert cells[1][0] == f"{row['variant']} L{row['layer']}.{row['hook']}"
    assert cells[1][1] == f"{row['eval_loss']:.3f}"
    assert cells[1][cells[0].index("share %")] == f"{100 * row['k_eff_mono_share']:.1f}"
    assert cells[1][cells[0].index("rotated %")] == f"{100 * row['k_eff_rotated_share']:.1f}"
    assert cells[1][-1].endswith(f" of {row['n_neurons']:,}")
    assert "K_eff calls neurons of one word rule (it has not passed on planted neurons" in said
    assert len(said) < len((compared / "comparison.md").read_text()) / 5


def test_a_table_of_a_score_that_is_not_there_is_bad_input(compared: Path, tmp_path: Path) -> None:
    pl.read_parquet(compared / FILE).with_columns(pl.lit("lost").alias("primaries")).write_parquet(tmp_path / FILE)
    with pytest.raises(BadInput, match="'primaries' names 'lost'"):
        in_short(tmp_path)
