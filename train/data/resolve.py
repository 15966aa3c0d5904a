"""The data of a run: a prepared directory, or a DATA.toml, which is prepared on first use."""

import sys
from pathlib import Path

from filelock import FileLock

from train.configfile import load_config
from train.data.config import DataConfig
from train.data.prepare import prepare
from train.errors import BadInput, EnvironmentProblem
from train.filesystem import require_features


def ensure_data(data: str, root: str | Path = "data") -> Path:
    """The prepared directory of `data`. Where several processes ask at once, one of them prepares.

    Args:
        data: a directory that `train prepare` wrote, or a DATA.toml, whose result lies in `root`/<its name>.

    Raises:
        BadInput: neither, or a result there that belongs to other inputs.
        EnvironmentProblem: `root` cannot be written or locked.
    """
    path = Path(data)
    if path.is_dir():
        return path
    if path.suffix != ".toml":
        raise BadInput(f"data: {data!r} is neither a prepared directory nor a DATA.toml")
    config = load_config(DataConfig, path)
    out = Path(root) / config.name
    require_features(out.parent)
    lock = FileLock(out.parent / f".{config.name}.lock", fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as failure:
        raise EnvironmentProblem(f"{out.parent}: cannot be locked ({failure.strerror})") from None
    try:
        prepared = prepare(config, out)
    finally:
        lock.release()
    for warning in [] if prepared.found else prepared.warnings():
        print(warning, file=sys.stderr)
    return prepared.directory
