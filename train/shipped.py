"""The configs that come with polysem, found by name from any directory, in a clone and where it is installed."""

from pathlib import Path

from train.errors import BadInput, did_you_mean

_INSTALLED, _CLONED = Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs"

CONFIGS = _INSTALLED if _INSTALLED.is_dir() else _CLONED
"""Holds a folder for each kind: data, run, study, toy."""


def shipped_names(kind: str) -> list[str]:
    """The names of the shipped configs of a kind, such as "smoke" of "study"."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.toml"))


def named_config(kind: str, given: Path) -> Path:
    """The file that a user means: a path, or the name of a shipped config of this kind.

    Args:
        kind: data, run, study or toy.
        given: what the user wrote. A file of this very name wins over a shipped config.

    Raises:
        BadInput: a bare name that no shipped config has.
    """
    if len(given.parts) != 1 or given.suffix or given.is_file():
        return given
    if given.name in (names := shipped_names(kind)):
        return CONFIGS / kind / f"{given.name}.toml"
    raise BadInput(
        f"{given}: no such file, and no {kind} config that comes with polysem{did_you_mean(given.name, names)}"
    )


def here_or_shipped(path: Path) -> Path:
    """`path`, or the shipped file where `path` reads `configs/<kind>/<name>.toml` and is not there.

    So configs that name one another work from any directory.
    """
    if path.parts[:1] == ("configs",) and not path.exists() and (shipped := CONFIGS.parent / path).is_file():
        return shipped
    return path
