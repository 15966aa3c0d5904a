"""What a registry says of a file that does not fit, naming it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyze.registry import Registry
from train.errors import BadInput

MADE = "from tests.analyze.test_registry import Thing\nTHING = Thing('x')"


@dataclass(frozen=True)
class Thing:
    name: str


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a": "import nonexistent_thing"},
            "things/a.py: cannot be imported .ModuleNotFoundError: .*nonexistent_thing",
        ),
        ({"a": "THING = 3"}, "things/a.py: THING has no name"),
        ({"a": MADE, "b": MADE}, "things/b.py: name 'x' is taken by things/a.py"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    files: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "things"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("things", "things.a", "things.b"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(BadInput, match=message):
        len(Registry("things", "THING", order=lambda thing: thing.name))
