"""How documents of several sources lie, and what becomes of those that cannot be used: counted, told, never silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.data.test_prepare import config, files, jsonl, stories, texts_of
from train.configfile import validate
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import Limits
from train.data.prepare import Prepared, prepare
from train.data.tokens import TokenFile
from train.errors import BadInput


@pytest.fixture
def two(tmp_path: Path) -> tuple[SourceConfig, SourceConfig]:
    """A source that gives all of its text, and one that gives a twentieth."""
    few, many = jsonl(tmp_path / "a.jsonl", stories(300)), jsonl(tmp_path / "b.jsonl", stories(1500, "tale"))
    return few.model_copy(update={"weight": 0.8}), many.model_copy(update={"weight": 0.2})


def sources_of_stream(made: Prepared) -> np.ndarray:
    """Of each training token, in order, whether it is of the second source."""
    documents = TokenFile.open(made.directory, "fit").documents()
    return np.repeat((documents["source"] == "files-2").to_numpy(), documents["length"].to_numpy() + 1)


def test_in_hash_order_a_source_that_gives_a_part_lies_in_front_and_prepare_says_so(
    two: tuple[SourceConfig, ...], tmp_path: Path
) -> None:
    made = prepare(config(*two), tmp_path / "out")
    half = len(second := sources_of_stream(made)) // 2
    assert second[:half].mean() > 0.3
    assert second[half:].mean() == 0
    (line,) = [line for line in made.notes() if "of the stream" in line]
    assert "all of files-2 lies in the first" in line
    assert 'order = "shares" mixes it in evenly' in line
    assert prepare(config(*two), tmp_path / "out").notes() == made.notes()


def test_at_shares_every_beginning_of_the_stream_holds_the_mixture(
    two: tuple[SourceConfig, ...], tmp_path: Path
) -> None:
    made = prepare(config(*two, order="shares"), tmp_path / "out")
    second = sources_of_stream(made)
    whole = second.mean()
    for start in np.linspace(0, len(second), 6)[:-1].astype(int):
        assert second[start : start + len(second) // 5].mean() == pytest.approx(whole, abs=0.05)
    assert not [line for line in made.notes() if "of the stream" in line]
    plain = prepare(config(*two), tmp_path / "plain")
    assert texts_of(plain)["fit"] != texts_of(made)["fit"]
    assert {split: sorted(texts) for split, texts in texts_of(plain).items()} == {
        split: sorted(texts) for split, texts in texts_of(made).items()
    }


def test_the_keys_that_came_later_do_not_move_the_hash_of_earlier_data() -> None:
    values = {"name": "t", "sources": [{"kind": "wiki", "weight": 1}]}
    before = validate(DataConfig, values, "test").model_dump(mode="json")
    assert {"order", "unusable"}.isdisjoint(before)
    said = validate(DataConfig, values | {"order": "shares", "unusable": "skip"}, "test").model_dump(mode="json")
    assert {key: said[key] for key in ("order", "unusable")} == {"order": "shares", "unusable": "skip"}


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), 1e300])
def test_a_mixture_that_sums_to_nothing_or_to_no_number_is_one_line_that_names_the_key(weight: float) -> None:
    source = {"kind": "wiki", "weight": weight}
    with pytest.raises(BadInput, match=r"sources\[?\.?0.*weight"):
        validate(DataConfig, {"name": "t", "sources": [source, source]}, "data.toml")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """JSON lines of every kind that cannot be used, among 200 that can."""
    good = [json.dumps({"text": text}).encode() for text in stories(200)]
    bad = [
        b'{"text": 7}',
        b'{"text": ["a", "b"]}',
        b'{"words": "none"}',
        b'{"text": "bad \xff\xfe bytes"}',
        b'{"text": "half a line',
        b"[1, 2]",
        b'{"text": "a", "text": "b"}',
        b'{"text": "' + b"x" * 5000 + b'"}',
        b'{"text": "\\ud800"}',
        b'{"text": null}',
        b'{"text": "  "}',
        b"   ",
    ]
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\n".join([*good[:100], *bad, *good[100:], b'{"text": "' + b"y" * 9000 + b'"}']))
    return path


@pytest.mark.parametrize("block_bytes", [100, 1000, 2**20])
def test_lines_that_cannot_be_used_are_counted_by_reason_and_told(odd: Path, tmp_path: Path, block_bytes: int) -> None:
    wanted = config(files(odd), unusable="skip")
    made = prepare(wanted, tmp_path / "out", limits=Limits(json_line_bytes=4000, block_bytes=block_bytes))
    assert made.record["left_out"] == {
        "a lone surrogate": 1,
        "invalid UTF-8": 1,
        "no JSON object": 3,
        "no key 'text'": 1,
        "not a string": 2,
        "over length": 2,
    }
    assert (made.record["n_null"], made.facts["n_empty"], sum(made.facts["n_documents"].values())) == (1, 1, 200)
    said = "\n".join(made.notes())
    for line in (
        "2 documents were left out: over length",
        "1 documents were left out: invalid UTF-8",
        "1 blank documents",
    ):
        assert line in said
    found = texts_of(made)
    assert sorted(found["fit"] + found["eval"]) == sorted(stories(200))


def test_by_default_the_first_such_line_is_refused_with_its_place(odd: Path, tmp_path: Path) -> None:
    lines, places = odd.read_bytes().split(b"\n"), []
    for number in range(100, 109):
        (tmp_path / "one.jsonl").write_bytes(b"\n".join([*lines[:100], lines[number]]))
        with pytest.raises(BadInput) as raised:
            prepare(config(files(tmp_path / "one.jsonl")), tmp_path / "out", limits=Limits(json_line_bytes=4000))
        places.append(str(raised.value))
    assert all("one.jsonl" in place and (":101" in place or "at byte" in place) for place in places), places


def test_with_nothing_left_the_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"words": "a"}\n{"words": "b"}\n\n{"text": ""}\n')
    with pytest.raises(BadInput, match=r"no text in them \(1 blank documents, 2 left out: no key 'text'\)"):
        prepare(config(files(tmp_path / "a.jsonl"), unusable="skip"), tmp_path / "out")


def test_rows_of_csv_with_too_many_cells_are_counted(tmp_path: Path) -> None:
    rows = "".join(f'"{text}",1\n' for text in stories(200))
    (tmp_path / "a.csv").write_text(f"text,n\n{rows}a,b,c\nd,e,f\n")
    with pytest.raises(BadInput, match="3 cells where there are 2 columns"):
        prepare(config(files(tmp_path / "a.csv")), tmp_path / "out")
    made = prepare(config(files(tmp_path / "a.csv"), unusable="skip"), tmp_path / "out")
    assert made.record["left_out"] == {"more cells than columns": 2}


def test_utf16_is_read_as_ever_where_lines_may_be_skipped(tmp_path: Path) -> None:
    text = "".join(json.dumps({"text": story}) + "\n" for story in stories(200))
    (tmp_path / "a.jsonl").write_bytes(text.encode("utf-16"))
    made = prepare(config(files(tmp_path / "a.jsonl"), unusable="skip"), tmp_path / "out")
    assert sum(made.facts["n_documents"].values()) == 200


@pytest.mark.parametrize(("digits", "together"), [("auto", False), ("split", False), ("keep", True)])
def test_a_fitted_tokenizer_splits_digits_unless_told_to_keep_them(tmp_path: Path, digits: str, together: bool) -> None:
    texts: Any = [f"{text} in the year 1984, 1984 and 1984" for text in stories(300)]
    made = prepare(config(jsonl(tmp_path / "a.jsonl", texts), d_vocab=400, digits=digits), tmp_path / "out")
    from train.data.tokenizer import load_tokenizer

    tokens = load_tokenizer(made.directory / "tokenizer.json").encode(" 1984").tokens
    assert (max(sum(char.isdigit() for char in token) for token in tokens) > 1) == together
