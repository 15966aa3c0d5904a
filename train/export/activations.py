"""Shuffled shards of one hook's activations, as `datasets` opens them and autoencoder trainers read them.

The layout is that of `Dataset.save_to_disk`: Arrow files, dataset_info.json, state.json. A row of the table holds
BLOCK tokens, `<hook>` [BLOCK width] fp32 beside `token_ids`, `row` and `position` [BLOCK]. The tokens of all texts
are shuffled, not the texts: neighbours in a block have nothing to do with each other.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from train.checkpoint import Checkpoint
from train.data.tokens import TokenFile, permuted
from train.errors import BadInput
from train.export.hooks import values_at, width_at
from train.filesystem import require_space

BLOCK = 64
"""Tokens a row of the table."""
SHARD_BYTES = 256_000_000
MICRO_BATCH_BYTES = 64_000_000


@dataclass(frozen=True)
class ActivationSettings:
    """What is written, and how much of it."""

    hook: str
    n_tokens: int
    """At most; whole rows of text and whole blocks are written."""
    seed: int
    split: str = "fit"


@dataclass(frozen=True)
class ActivationPlan:
    """Counts of an export, known before it runs."""

    width: int
    n_rows: int
    """Rows of text that are read."""
    n_tokens: int
    """Tokens written: whole blocks, BOS left out."""
    blocks_per_shard: int

    @property
    def shards(self) -> list[int]:
        """Blocks in each shard."""
        whole, rest = divmod(self.n_tokens // BLOCK, self.blocks_per_shard)
        return [self.blocks_per_shard] * whole + ([rest] if rest else [])

    @property
    def n_bytes(self) -> int:
        """On disk while it is written: the shards, and one of them once more."""
        per_token = 4 * self.width + 12
        return per_token * (self.n_tokens + self.blocks_per_shard * BLOCK) + 1_000_000


def plan_activations(checkpoint: Checkpoint, tokens: TokenFile, settings: ActivationSettings) -> ActivationPlan:
    """Count.

    Raises:
        BadInput: a hook that is not there, more tokens than there are, too few for a block.
    """
    width = width_at(checkpoint.config, settings.hook)
    per_row = tokens.n_ctx - 1  # the model reads BOS and n_ctx - 1 tokens
    if settings.n_tokens > tokens.n_rows * per_row:
        there = tokens.n_rows * per_row
        raise BadInput(
            f"--tokens {settings.n_tokens}: the {settings.split} split of {tokens.directory} has {there} (without BOS)"
        )
    n_rows = -(-settings.n_tokens // per_row)
    n_tokens = settings.n_tokens // BLOCK * BLOCK
    if not n_tokens:
        raise BadInput(f"--tokens {settings.n_tokens}: at least {BLOCK} are needed, one row of the table")
    return ActivationPlan(width, n_rows, n_tokens, max(1, SHARD_BYTES // (4 * width * BLOCK)))


def write_activations(
    checkpoint: Checkpoint, tokens: TokenFile, settings: ActivationSettings, directory: Path
) -> dict[str, Any]:
    """Write the shards; return counts for the manifest.

    A token's place is a function of the seed and its number alone (`permuted`), so the shuffle is over all tokens and
    needs no memory: the values go to their places in files on disk, which then become Arrow files one at a time.

    Raises:
        BadInput: see `plan_activations`.
        EnvironmentProblem: too little free disk.
    """
    plan = plan_activations(checkpoint, tokens, settings)
    require_space(directory, plan.n_bytes)
    shards = [_Shard(directory / f".shard-{number}", count * BLOCK, plan.width) for number, count in _numbered(plan)]
    _scatter(checkpoint, tokens, settings, plan, shards)
    names = [f"data-{number:05d}-of-{len(shards):05d}.arrow" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        _write_arrow(shard, settings.hook, directory / name)
        shard.remove()
    _features(settings.hook, plan.width, directory)
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": checkpoint.hash[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (directory / "state.json").write_text(json.dumps(state, indent=2) + "\n")
    return {"n_tokens": plan.n_tokens, "width": plan.width, "n_rows": plan.n_rows, "block": BLOCK}


def _numbered(plan: ActivationPlan) -> list[tuple[int, int]]:
    return list(enumerate(plan.shards))


class _Shard:
    """Values and origins of a shard's tokens on disk, written at any place."""

    def __init__(self, path: Path, n_tokens: int, width: int):
        self._paths = path.with_name(f"{path.name}.values"), path.with_name(f"{path.name}.origins")
        self.values = np.memmap(self._paths[0], np.float32, "w+", shape=(n_tokens, width))
        self.origins = np.memmap(self._paths[1], np.int32, "w+", shape=(n_tokens, 3))
        """Of each token its id, the row of text and the position in it."""

    def remove(self) -> None:
        """Delete the files."""
        del self.values, self.origins
        for path in self._paths:
            path.unlink()


def _scatter(
    checkpoint: Checkpoint, tokens: TokenFile, settings: ActivationSettings, plan: ActivationPlan, shards: list[_Shard]
) -> None:
    """Put every token's values at its place."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.model().to(device)
    per_row, per_shard = tokens.n_ctx - 1, plan.blocks_per_shard * BLOCK
    widest = max(plan.width, *checkpoint.config.widths)
    batch = max(1, MICRO_BATCH_BYTES // (4 * widest * tokens.n_ctx))
    total = plan.n_rows * per_row
    for first in tqdm(range(0, plan.n_rows, batch), desc=settings.hook, unit="batch", disable=None):
        count = min(batch, plan.n_rows - first)
        rows = tokens.rows_at(settings.seed, first, count)[:, :-1]
        values = values_at(model, rows.to(device), settings.hook)[:, 1:].float().cpu().numpy().reshape(-1, plan.width)
        numbers = np.arange(first * per_row, (first + count) * per_row)
        origins = np.stack((rows[:, 1:].reshape(-1).numpy(), numbers // per_row, numbers % per_row + 1), 1)
        places = permuted(numbers.astype(np.uint64), total, settings.seed, 0).astype(np.int64)
        for number in np.unique(places // per_shard).tolist():
            if number < len(shards):
                of_shard = (places // per_shard == number) & (places < plan.n_tokens)
                shards[number].values[places[of_shard] % per_shard] = values[of_shard]
                shards[number].origins[places[of_shard] % per_shard] = origins[of_shard]


def _features(hook: str, width: int, directory: Path | None = None) -> Any:
    """The table's columns; also written as dataset_info.json where a directory is given."""
    from datasets import Array2D, DatasetInfo, Features, Sequence, Value

    integers = {name: Sequence(Value("int32"), length=BLOCK) for name in ("token_ids", "row", "position")}
    features = Features({hook: Array2D(shape=(BLOCK, width), dtype="float32"), **integers})
    if directory is not None:
        DatasetInfo(features=features).write_to_directory(str(directory))
    return features


def _write_arrow(shard: _Shard, hook: str, path: Path) -> None:
    from datasets.arrow_writer import ArrowWriter

    n_blocks, width = len(shard.values) // BLOCK, shard.values.shape[1]
    step = max(1, MICRO_BATCH_BYTES // (4 * width * BLOCK))
    with ArrowWriter(features=_features(hook, width), path=str(path)) as writer:
        for first in range(0, n_blocks, step):
            last = min(first + step, n_blocks)
            origins = np.array(shard.origins[first * BLOCK : last * BLOCK]).reshape(last - first, BLOCK, 3)
            values = np.array(shard.values[first * BLOCK : last * BLOCK]).reshape(last - first, BLOCK, width)
            ids, rows, positions = (list(origins[:, :, column]) for column in range(3))
            writer.write_batch({hook: list(values), "token_ids": ids, "row": rows, "position": positions})
        writer.finalize()
