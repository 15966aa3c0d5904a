"""TOML files and command-line overrides as configs, and back; a wrong key is named with the nearest right one."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from train.errors import BadInput, did_you_mean, is_text
from train.shipped import here_or_shipped
from train.textfiles import read_text

T = TypeVar("T", bound=BaseModel)

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHOWN = 200
"""Characters of a wrong value that a message shows."""


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The kind of table that a key holds, alone, in a list or as one of several alternatives."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at `location` of a config may hold."""
    table: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, str) and table is not None:
            if part not in table.model_fields:
                break
            table = _table_of(table.model_fields[part].annotation)
    return [] if table is None else list(table.model_fields)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Every key that a file of this kind may hold, dotted, in order."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        table = _table_of(field.annotation)
        keys += [name] if table is None else [f"{name}.{key}" for key in keys_of(table)]
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
        location = _location(model, first["loc"], values)
        for other in failure.errors():
            # Of a union's alternatives, the user meant the one that was read furthest.
            deeper = _location(model, other["loc"], values)
            if len(deeper) > len(location) and deeper[: len(location)] == location:
                first, location = other, deeper
        key = ".".join(str(part) for part in location)
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))
            raise BadInput(f"{origin}: unknown key '{key}'{hint}") from None
        if first["type"] == "missing":
            raise BadInput(f"{origin}: key '{key}' is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(first["input"], dict | BaseModel) else f", got {_short(first['input'])}"
        raise BadInput(f"{origin}: {f'{key}: ' if key else ''}{message}{shown}{_nearest(first)}") from None


def _location(model: type[BaseModel], given: tuple[int | str, ...], values: Any) -> tuple[int | str, ...]:
    """Where an error lies in `values`, without pydantic's names for the alternatives of a union."""
    kept: list[int | str] = []
    for part in given:
        if isinstance(values, dict) and (part in values or part in _known_keys(model, tuple(kept))):
            kept.append(part)
            values = values.get(part)
        elif isinstance(part, int) and isinstance(values, list | tuple):
            kept.append(part)
            values = values[part] if part < len(values) else None
    return tuple(kept)


def _nearest(error: Any) -> str:
    """`; did you mean 'x'?` for a wrong word that resembles one of those that the message lists."""
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    hint = did_you_mean(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    return hint if hint.startswith("; did") else ""


def _short(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return "a very large number"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as plain values; `configs/<kind>/<name>.toml` that is not there is the one that comes with polysem.

    Raises:
        BadInput: not there, not readable, not UTF-8 or not TOML (with the line).
    """
    text = read_text(here_or_shipped(Path(path)))
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as failure:  # overlong numbers and deep arrays raise no TOMLDecodeError
        raise BadInput(f"{path}: not valid TOML: {failure}") from None


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`--optim.lr 6e-4 --train.wandb offline` as nested values; a value is read as TOML, else as a string.

    Raises:
        BadInput: a word without `--`, a key without a value, a table where a value was given, not UTF-8.
    """
    values: dict[str, Any] = {}
    rest = list(words)
    for word in rest:
        if not is_text(word):
            raise BadInput(f"command line: {word!r} is not UTF-8 text")
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise BadInput(f"command line: {word!r} is not an override; write --key.in.the.file VALUE")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise BadInput(f"command line: {word} needs a value")
            text = rest.pop(0)
        table = values
        *parents, last = key.split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise BadInput(f"command line: --{key} reaches into {parent!r}, which was given a value before")
        table[last] = _override_value(text)
    return values


def _override_value(text: str) -> Any:
    """The TOML value that `text` spells, else `text` itself."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # Several lines can spell several values: then it is text.
    return values["value"] if len(values) == 1 else text


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base`, overridden by `over` key by key, in tables within tables too."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two dumped configs: dotted key to the old and the new value."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {} if old == new else {prefix: (old, new)}
    changed: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*old, *new}):
        changed |= differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    return changed


def load_config(model: type[T], path: str | Path, overrides: list[str] | None = None) -> T:
    """Read a TOML file, apply command-line overrides and validate.

    Raises:
        BadInput: see `read_toml`, `parse_overrides`, `validate`.
    """
    values = merge(read_toml(path), parse_overrides(overrides or []))
    return validate(model, values, str(path))


def to_toml(config: BaseModel) -> str:
    """A resolved config as TOML that `load_config` reads back to the same value.

    Not by the library tomli_w: it writes lists a line an item, which would change the hashes of data and runs.
    """
    lines: list[str] = []
    _write_table(config.model_dump(mode="json", exclude_none=True), (), lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(values: dict[str, Any], prefix: tuple[str, ...], lines: list[str]) -> None:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in values.items():
        if key not in tables:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    for key, value in tables.items():
        lines += ["", f"[{'.'.join(map(_toml_key, (*prefix, key)))}]"]
        _write_table(value, (*prefix, key), lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, str):
        return _toml_string(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_string(key)


def _toml_string(text: str) -> str:
    # Not as JSON, which writes characters beyond the basic plane as two escapes and leaves DEL as it is.
    return f'"{"".join(_ESCAPES.get(each, each if each.isprintable() else _escape(each)) for each in text)}"'


def _escape(letter: str) -> str:
    return f"\\U{ord(letter):08X}"
