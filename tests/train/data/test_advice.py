"""Faults of data, what the message says to do, and that it helps and does no harm."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.train.data.test_prepare import config, jsonl, stories, texts_of
from tests.train.data.test_vocabulary_notes import words
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import WIKI_PACKAGE
from train.data.prepare import prepare
from train.errors import BadInput

Change = dict[str, Any]


def rows(path: Path, *lines: str, key: str = "text") -> SourceConfig:
    told = [json.dumps({key: story, "n": 1}) for story in stories(100)]
    path.write_text("\n".join([*told, *lines]) + "\n")
    return SourceConfig(kind="files", weight=1.0, paths=(str(path),))


FAULTS: dict[str, tuple[Callable[[Path], SourceConfig], Change, str, Callable[[re.Match[str]], Change]]] = {
    "surrogate": (
        lambda path: rows(path, '{"text": "a\\ud800"}'),
        {},
        r'set (invalid_utf8) = "(replace)"',
        lambda found: {found[1]: found[2]},
    ),
    "a few wrong bytes": (
        lambda path: rows(path, '{"text": "a\xff"}'),
        {"bytes": "latin-1"},
        r'(invalid_utf8) = "(replace)" writes',
        lambda found: {found[1]: found[2]},
    ),
    "another key": (
        lambda path: rows(path, key="body"),
        {},
        r"set (field) to the key that holds the text \(text is in '(body)'\)",
        lambda found: {"source": {found[1]: found[2]}},
    ),
    "more held out": (rows, {"eval_share": 0.8}, "set (allow_more_held_out) = (true)", lambda found: {found[1]: True}),
    "more held out, the other way": (
        rows,
        {"eval_share": 0.8},
        "give a smaller (eval_share)",
        lambda found: {found[1]: 0.3},
    ),
    "too little text": (rows, {"n_ctx": 100_000}, "a smaller (n_ctx)", lambda found: {found[1]: 8}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_advice_of_a_refusal_helps_and_does_no_harm(tmp_path: Path, fault: str) -> None:
    make, keys, advice, follow = FAULTS[fault]
    path = tmp_path / "a.jsonl"
    source = make(path)
    keys = dict(keys)
    if "bytes" in keys:
        path.write_bytes(path.read_text().encode(keys.pop("bytes")))
    with pytest.raises(BadInput, match=advice) as failure:
        prepare(config(source, **keys), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found = re.search(advice, str(failure.value))
    assert found is not None
    change = follow(found)
    source = SourceConfig.model_validate(source.model_dump() | change.pop("source", {}))
    texts = texts_of(prepare(config(source, **(keys | change)), tmp_path / "out"))
    held = {*texts["fit"], *texts["eval"]}
    assert held >= set(stories(100))
    assert "\0" not in "".join(held)
    assert sum("\ufffd" in text for text in held) == ("replace" in change.values())


def test_a_changed_config_is_refused_and_another_out_helps(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", stories(100))
    first = prepare(config(source), tmp_path / "out")
    with pytest.raises(BadInput, match="choose another --out"):
        prepare(config(source, d_vocab=260), tmp_path / "out")
    assert prepare(config(source, d_vocab=260), tmp_path / "other").facts["d_vocab"] == 260
    assert prepare(config(source), tmp_path / "out").facts == first.facts


@pytest.mark.parametrize("change", [{"d_vocab": 300}, {"min_frequency": 1000}])
def test_each_advice_of_the_warning_of_rare_ids_quiets_it(tmp_path: Path, change: Change) -> None:
    source = jsonl(tmp_path / "a.jsonl", words(60))
    before: DataConfig = config(source, d_vocab=5000, min_frequency=1)
    assert re.search("smaller d_vocab or a larger min_frequency", prepare(before, tmp_path / "out").warnings()[0])
    assert not prepare(config(source, **({"d_vocab": 5000, "min_frequency": 1} | change)), tmp_path / "new").warnings()


def test_the_package_that_messages_name_is_the_one_that_the_project_asks_for() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(f"{WIKI_PACKAGE}==0.0.7" in line for line in project["optional-dependencies"]["corpus"])
