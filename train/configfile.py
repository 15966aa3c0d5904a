"""TOML files and command-line overrides as configs, and back; every wrong key named with the nearest right one."""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from train.errors import BadInput, did_you_mean

T = TypeVar("T", bound=BaseModel)


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at `location` of a config may hold."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            break
        field = current.model_fields.get(part)
        if field is None:
            break
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def keys_of(model: type[BaseModel]) -> list[str]:
    """Every key that a file of this kind may hold, dotted, in order."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        below = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        keys += [f"{name}.{key}" for key in keys_of(below)] if below else [name]
    return keys


def validate(model: type[T], values: Any, origin: str) -> T:
    """Build a config from plain values.

    Raises:
        BadInput: naming `origin`, the first wrong key and, where it can, what to write instead.
    """
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        # An unknown key first: it is the likeliest cause of whatever else is wrong.
        first = min(failure.errors(), key=lambda error: error["type"] != "extra_forbidden")
        location = first["loc"]
        key = ".".join(str(part) for part in location)
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))
            raise BadInput(f"{origin}: unknown key '{key}'{hint}") from None
        if first["type"] == "missing":
            raise BadInput(f"{origin}: key '{key}' is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(first["input"], dict | BaseModel) else f", got {first['input']!r}"
        raise BadInput(f"{origin}: {f'{key}: ' if key else ''}{message}{shown}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as plain values.

    Raises:
        BadInput: not there, not readable, not UTF-8 or not TOML (with the line).
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as failure:
        raise BadInput(f"{path}: not valid TOML: {failure}") from None


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`--optim.lr 6e-4 --train.wandb offline` as nested values; a value is read as TOML, else as a string.

    Raises:
        BadInput: a word without `--`, or a key without a value.
    """
    values: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise BadInput(f"command line: {word!r} is not an override; write --key.in.the.file VALUE")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not rest:
                raise BadInput(f"command line: {word} needs a value")
            text = rest.pop(0)
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table = values
        *parents, last = key.replace("-", "_").split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid upon it, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def load_config(model: type[T], path: str | Path, overrides: list[str] | None = None) -> T:
    """Read a TOML file, lay command-line overrides upon it and validate.

    Raises:
        BadInput: see `read_toml`, `parse_overrides`, `validate`.
    """
    values = merge(read_toml(path), parse_overrides(overrides or []))
    return validate(model, values, str(path))


def to_toml(config: BaseModel) -> str:
    """A resolved config as TOML that `load_config` reads back to the same value."""
    lines: list[str] = []
    _write_table(config.model_dump(mode="json", exclude_none=True), (), lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(values: dict[str, Any], prefix: tuple[str, ...], lines: list[str]) -> None:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in values.items():
        if key not in tables:
            lines.append(f"{key} = {_toml_value(value)}")
    for key, value in tables.items():
        lines += ["", f"[{'.'.join((*prefix, key))}]"]
        _write_table(value, (*prefix, key), lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
    # JSON's spelling of strings, numbers and booleans is TOML's as well.
    return json.dumps(value, ensure_ascii=True)
