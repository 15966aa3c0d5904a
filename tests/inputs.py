"""What a user writes before the first command, small: texts and TOML files that name one another, labels."""

import json
from pathlib import Path

import polars as pl

from tests.train.fixtures import write_text
from train.parquet import write_parquet


def quoted(path: object) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def write_inputs(place: Path) -> None:
    """Texts, a DATA.toml, a RUN.toml and a STUDY.toml that name one another."""
    (place / "texts").mkdir(parents=True)
    for index in range(120):
        path = write_text(place / "texts" / f"{index:03}.txt", 2)
        path.write_text(f"Number {index}. {path.read_text()}")
    (place / "data.toml").write_text(
        'name = "d"\nd_vocab = 300\nn_ctx = 16\neval_share = 0.6\nallow_more_held_out = true\n'
        '[[sources]]\nkind = "files"\nweight = 1\n'
        f"paths = [{quoted(place / 'texts' / '*.txt')}]\n",
        encoding="utf-8",
    )
    model = 'act = "gelu_new"\nd_model = 8\nn_heads = 2\nn_ctx = 16\nmlp_ratio = 2\n[optim]\nlr = 1e-2\n'
    train = '[train]\ntokens = 640\nrows_per_step = 4\neval_every = 5\ncheckpoint_every = 10\ndevice = "cpu"\n'
    (place / "run.toml").write_text(
        f"data = {quoted(place / 'data.toml')}\n[model]\n{model}warmup_tokens = 64\n{train}", encoding="utf-8"
    )
    (place / "study.toml").write_text(
        f'base = {quoted(place / "run.toml")}\nseeds = [0]\nprimaries = ["k_eff"]\n[variants.gelu]\n'
        '[arms.wide]\nstart = "gelu"\nwiden = { layers = [0], factor = 2, noise = "zero_sum", sigma = 0.1 }\n'
        '[analysis]\nscores = ["k_eff"]\nnulls = ["rotated"]\n',
        encoding="utf-8",
    )
    (place / "own.csv").write_text("label,document,start,stop\nmine,0,0,2\n")
    write_parquet(pl.DataFrame({"label": ["yours"], "document": [0], "start": [0], "stop": [2]}), place / "own.parquet")
