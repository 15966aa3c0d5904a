"""Small data and small runs that tests train in a second."""

import socket
from pathlib import Path

from train.config import RunConfig
from train.configfile import validate
from train.data.config import DataConfig
from train.data.prepare import prepare

WORDS = "the cat sat on a mat and saw one red bird in an old tree by our house while it rained all day"


def write_text(path: Path, n_documents: int = 400) -> Path:
    """Deterministic prose-like text with structure that a bigram can learn."""
    lines, words = [], WORDS.split()
    for document in range(n_documents):
        chosen = [words[(document * 7 + i * i + (i * document) % 5) % len(words)] for i in range(40)]
        lines.append(f"Story {document}. {' '.join(chosen)}.")
    path.write_text("\n\n".join(lines))
    return path


def small_data(directory: Path, **over: object) -> Path:
    """A prepared data directory of a few thousand tokens, rows of 16; keywords change keys, None leaves one out."""
    source = directory / "texts"
    source.mkdir(parents=True)
    for index in range(60):
        write_text(source / f"{index:02}.txt", 1 + index % 3)
        text = (source / f"{index:02}.txt").read_text()
        (source / f"{index:02}.txt").write_text(f"Number {index}. {text}")
    values = {
        "name": "small",
        "d_vocab": 300,
        "n_ctx": 16,
        "eval_share": 0.3,
        "sources": [{"kind": "files", "weight": 1, "paths": [str(source / "*.txt")]}],
    }
    values = {key: value for key, value in (values | over).items() if value is not None}
    return prepare(validate(DataConfig, values, "test"), directory / "data").directory


def small_run(data: Path, **over: object) -> RunConfig:
    """A run of 20 steps on small_data; keyword `train__tokens=...` reaches into a table."""
    values: dict = {
        "data": str(data),
        "model": {"act": "gelu_new", "d_model": 8, "n_heads": 2, "n_ctx": 16, "mlp_ratio": 2},
        "optim": {"lr": 1e-2, "warmup_tokens": 256},
        "train": {
            "tokens": 20 * 64,
            "rows_per_step": 4,
            "eval_every": 5,
            "log_every": 1,
            "checkpoint_every": 5,
            "device": "cpu",
        },
    }
    for key, value in over.items():
        table = values
        *parents, last = key.split("__")
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    if "start" in values:
        values.pop("model")
    return validate(RunConfig, values, "test")


def free_port() -> int:
    """A port of this machine that nobody listens on: another worker's test asks for another one."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]
