"""What a fingerprint of code covers."""

from pathlib import Path

import pytest

from analyze.labels import families
from analyze.scores.fingerprint import fingerprint


@pytest.mark.parametrize("name", ["new_family.py", "speech.toml"])
def test_a_deep_fingerprint_covers_what_a_registry_finds_and_the_data_beside_a_module(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = [fingerprint(f"analyze.scores.{score}", deep=True) for score in ("labelled", "ms")]
    if name.endswith(".py"):
        (tmp_path / name).write_text("FAMILY = None\n")
        places = [*families.__path__, str(tmp_path)]
        monkeypatch.setattr(families, "__path__", places)
        monkeypatch.setattr(families.__spec__, "submodule_search_locations", places)
    else:
        real = Path.is_file, Path.read_bytes
        monkeypatch.setattr(Path, "is_file", lambda path: path.name == name or real[0](path))
        monkeypatch.setattr(Path, "read_bytes", lambda path: b"new" if path.name == name else real[1](path))
    labelled, ms = (fingerprint(f"analyze.scores.{score}", deep=True) for score in ("labelled", "ms"))
    assert labelled != before[0]
    assert ms == before[1]
