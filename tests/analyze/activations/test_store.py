import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open

import analyze
from analyze.activations.directory import beside
from analyze.activations.sample import SampleFile, SampleWriter, blocks
from analyze.activations.store import drop_sample, open_activations
from analyze.scores.store import load_scores, read_scores, scores_are_current, write_scores
from tests.analyze.activations.collected import collected
from train.errors import BadInput
from train.files import verify


def scores_of(n: int) -> pl.DataFrame:
    return pl.DataFrame({"neuron": np.arange(n), "k_eff": np.linspace(1, 4, n), "null": ["none"] * n})


def test_a_sample_written_row_by_row_is_read_back_by_safetensors(tmp_path: Path) -> None:
    values = torch.randn(50, 300)
    with SampleWriter(tmp_path / "s", 50, 300) as writer:
        for piece in values.split(7):
            writer.append(piece)
    with safe_open(tmp_path / "s", "pt") as file:
        assert sorted(file.keys()) == ["block.000", "block.001"]
        assert torch.equal(file.get_tensor("block.000"), values[:, :256].bfloat16())
        assert torch.equal(file.get_tensor("block.001"), values[:, 256:].bfloat16())


def test_a_sample_short_of_rows_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="3 rows written into a sample of 4"),
        SampleWriter(tmp_path / "s", 4, 2) as writer,
    ):
        writer.append(torch.zeros(3, 2))


def test_blocks_are_read_across_their_borders(tmp_path: Path) -> None:
    values = torch.randn(20, 600).bfloat16().float()
    with SampleWriter(tmp_path / "s", 20, 600) as writer:
        writer.append(values)
    sample = SampleFile(tmp_path / "s", 20, 600)
    assert torch.equal(sample.read(200, 530), values[:, 200:530])
    assert torch.equal(sample.read_tokens(3, 11), values[3:11])
    assert blocks(600) == [(0, 256), (256, 512), (512, 600)]


def test_a_sample_of_another_shape_is_refused(tmp_path: Path) -> None:
    with SampleWriter(tmp_path / "s", 20, 6) as writer:
        writer.append(torch.zeros(20, 6))
    with pytest.raises(BadInput, match="collect again"):
        SampleFile(tmp_path / "s", 21, 6).read(0, 6)
    (tmp_path / "s").write_bytes(b"no header")
    with pytest.raises(BadInput, match="collect again"):
        SampleFile(tmp_path / "s", 20, 6).read(0, 6)


def test_activations_come_back_as_they_were_written(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    assert acts.directory is not None
    again = open_activations(acts.directory)
    assert again.meta == acts.meta
    for name, array in vars(acts.moments).items():
        assert np.array_equal(array, getattr(again.moments, name)) if array is not None else True
    assert acts.examples.equals(again.examples)
    assert torch.equal(acts.block(1, 3), again.block(1, 3))
    verify(acts.directory)
    verify(beside(acts.directory, "sample"))


def test_missing_neurons_are_refused(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    with pytest.raises(BadInput, match="the layer has"):
        acts.block(0, acts.n_neurons + 1)


def test_without_its_sample_a_collection_opens_and_only_its_blocks_are_refused(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    assert acts.directory is not None
    drop_sample(acts.directory)
    again = open_activations(acts.directory)
    assert again.examples.equals(acts.examples)
    with pytest.raises(BadInput, match="collect again"):
        again.block(0, 1)
    drop_sample(acts.directory)


def test_a_sample_of_another_collection_is_refused(tmp_path: Path) -> None:
    ours, theirs = collected(tmp_path, name="a"), collected(tmp_path, name="b", seed=1)
    assert ours.directory is not None
    assert theirs.directory is not None
    drop_sample(ours.directory)
    beside(theirs.directory, "sample").rename(beside(ours.directory, "sample"))
    with pytest.raises(BadInput, match="another collection"):
        open_activations(ours.directory)


@pytest.mark.parametrize(
    ("change", "says"), [({"format_version": 99}, "format version 99"), ({"kind": "data"}, "holds 'data'")]
)
def test_other_directories_and_versions_are_named(tmp_path: Path, change: dict[str, object], says: str) -> None:
    acts = collected(tmp_path)
    assert acts.directory is not None
    path = acts.directory / "MANIFEST.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput, match=says):
        open_activations(acts.directory)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    assert acts.directory is not None
    path = acts.directory / "moments.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"moments\.safetensors: content does not match"):
        open_activations(acts.directory)


def test_scores_are_joined_with_their_provenance(tmp_path: Path) -> None:
    for name in ("a", "b"):
        acts = collected(tmp_path, name=name)
        assert acts.directory is not None
        write_scores(acts.directory, scores_of(acts.n_neurons), {"k": 4}, 1.5)
    table = analyze.load_scores(tmp_path)
    assert len(table) == 2 * 6
    assert set(table["run"]) == {"a", "b"}
    assert {"layer", "hook", "step", "neuron", "k_eff", "null", "path"} <= set(table.columns)
    assert table["path"][0].endswith("L0.mid.scores")


def test_scores_report_whether_they_are_current(tmp_path: Path) -> None:
    acts = collected(tmp_path)
    directory = acts.directory
    assert directory is not None
    assert not scores_are_current(directory, {"k": 4})
    write_scores(directory, scores_of(6), {"k": 4}, 1.0)
    assert scores_are_current(directory, {"k": 4})
    assert not scores_are_current(directory, {"k": 5})
    write_scores(directory, scores_of(6), {"k": 5}, 1.0)
    frame, facts = read_scores(beside(directory, "scores"))
    assert len(frame) == 6
    assert facts["settings"] == {"k": 5}


def test_scores_of_older_activations_are_refused(tmp_path: Path) -> None:
    ours, theirs = collected(tmp_path, name="a"), collected(tmp_path, name="b", seed=1)
    assert ours.directory is not None
    assert theirs.directory is not None
    write_scores(ours.directory, scores_of(6), {}, 1.0)
    beside(ours.directory, "scores").rename(beside(theirs.directory, "scores"))
    with pytest.raises(BadInput, match="score again"):
        load_scores(tmp_path / "b")


def test_a_directory_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no scores here"):
        load_scores(tmp_path)
