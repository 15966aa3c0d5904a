"""Studies with variants that have no neurons, and studies that train only."""

from pathlib import Path

import pytest

from analyze.study.config import AnalysisConfig
from analyze.study.plan import load_study, plan
from analyze.study.stages import StudyDirectories, Training, n_stages, tasks_of
from analyze.study.tasks import Task
from tests.train.fixtures import small_data
from train.errors import BadInput
from train.shipped import here_or_shipped

STUDY = """
base = "{base}"
seeds = [0, 1]
reference = "{reference}"
[variants.relu]
model.act = "relu"
[variants.attention]
model.act = "none"
[arms.narrow]
start = "relu"
trainable = "layers.0.mlp.*"
[analysis]
scores = {scores}
"""
BASE = """
data = "{data}"
[model]
act = "relu"
d_model = 8
n_heads = 2
n_ctx = 16
[optim]
lr = 1e-2
[train]
tokens = 640
rows_per_step = 4
device = "cpu"
"""


def tasks(tmp_path: Path, data: Path, reference: str = "relu", scores: str = '["k_eff"]') -> tuple[list[Task], int]:
    (tmp_path / "base.toml").write_text(BASE.format(data=data))
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(base=tmp_path / "base.toml", reference=reference, scores=scores))
    study, base = load_study(path, [])
    planned = plan(study, base, tmp_path / "checkpoints", str(path))
    directories = StudyDirectories(data, tmp_path / "checkpoints", tmp_path / "results")
    return tasks_of(study, planned, directories, Training(1, "", False)), n_stages(planned, study.analysis)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


def test_a_variant_without_neurons_is_trained_and_left_out_of_the_comparison(tmp_path: Path, data: Path) -> None:
    found, lines = tasks(tmp_path, data)
    kinds = [(task.kind, task.name) for task in found]
    assert ("train", "attention-s0") in kinds
    assert not any(kind == "measure" and label.startswith("attention") for kind, label in kinds)
    assert lines == 1 + 6 + 2 * (4 + 2) + 2


def test_a_study_without_scores_trains_only(tmp_path: Path, data: Path) -> None:
    found, lines = tasks(tmp_path, data, scores="[]")
    assert {task.kind for task in found} == {"train"}
    assert lines == 1 + 6
    assert AnalysisConfig(scores=()).scores == ()


def test_a_reference_without_neurons_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(BadInput, match="reference: 'attention' is attention-only"):
        tasks(tmp_path, data, reference="attention")


def test_the_study_of_the_open_problems_trains_and_measures_nothing() -> None:
    study, base = load_study(here_or_shipped(Path("configs/study/problems.toml")), [])
    planned = plan(study, base, Path("checkpoints"), "problems")
    assert study.analysis.scores == ()
    assert len(planned) == 3 * len(study.variants)
    assert all(each.config.model is not None and each.config.model.n_layers == 2 for each in planned)
    rows = {each.config.variant: each.config.train for each in planned}
    assert rows["none-text"].repeated_rows == 0 < rows["none"].repeated_rows
    assert rows["names"].name_rows > 0 == rows["gelu_new"].name_rows
