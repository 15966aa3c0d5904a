"""A study of every kind of stage that takes a minute where a shipped one takes longer, and what two of them share."""

import hashlib
from pathlib import Path

import polars as pl

from tests.train.fixtures import write_text
from train.checkpoint import step_directory, steps
from train.configfile import validate
from train.data.config import DataConfig
from train.data.prepare import prepare

RUN = """
data = "{data}"
model = {{ act = "gelu_new", d_model = 8, n_heads = 2, n_ctx = 16, mlp_ratio = 2 }}
optim = {{ lr = 1e-2, warmup_tokens = 256 }}
[train]
tokens = {tokens}
rows_per_step = 4
eval_every = {every}
checkpoint_every = {every}
device = "cpu"
"""

STUDY = """
base = "{base}"
seeds = [0]
[variants.narrow]
{arm}
[analysis]
sample_tokens = 4000
scores = ["k_eff"]
nulls = ["rotated"]
"""


ARM = """
[arms.wide]
start = "narrow"
widen = { layers = [0], factor = 2, noise = "zero_sum", sigma = 0.1 }
"""


def minute_study(directory: Path, tokens: int = 20 * 64, checkpoint_every: int = 10, widens: bool = True) -> Path:
    """Its TOML, beside its base run and its data: four tasks, and three more where it `widens`."""
    if not (directory / "data").exists():
        _prepare(directory)
    (directory / "run.toml").write_text(RUN.format(data=directory / "data", tokens=tokens, every=checkpoint_every))
    (directory / "minute.toml").write_text(STUDY.format(base=directory / "run.toml", arm=ARM if widens else ""))
    return directory / "minute.toml"


def _prepare(directory: Path) -> None:
    """Documents enough for neurons to be scored: a rare one, which fires in fewer than 30, is not."""
    (directory / "texts").mkdir()
    for index in range(200):
        path = write_text(directory / "texts" / f"{index:03}.txt", 1 + index % 3)
        path.write_text(f"Number {index}. {path.read_text()}")
    values = {
        "name": "minute",
        "d_vocab": 300,
        "n_ctx": 16,
        "eval_share": 0.4,
        "sources": [{"kind": "files", "weight": 1, "paths": [str(directory / "texts" / "*.txt")]}],
    }
    prepare(validate(DataConfig, values, "test"), directory / "data")


def numbers_of(out: Path) -> dict[str, object]:
    """Weights of every step, scores of every neuron, and the comparison, without what names files or times."""
    numbers: dict[str, object] = {}
    for run in sorted((out / "checkpoints/minute").iterdir()):
        for step in steps(run):
            weights = step_directory(run, step) / "model.safetensors"
            numbers[f"{run.name} {step}"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    results = out / "results/minute"
    for path in sorted(results.glob("*/step-*/*/scores.parquet")):
        numbers[str(path.relative_to(results))] = pl.read_parquet(path).to_dict(as_series=False)
    named = ("score_manifests", "checkpoint_hash", "run_hash")
    table = pl.read_parquet(results / "comparison.parquet")
    numbers["comparison"] = table.drop([name for name in named if name in table.columns]).to_dict(as_series=False)
    return numbers
