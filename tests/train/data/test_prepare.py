"""Preparing text: what lands on disk, mixtures, splits, duplicates, a second call, useless text."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from train.configfile import load_config
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import Limits
from train.data.prepare import Prepared, prepare
from train.data.tokenizer import load_tokenizer
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import verify


def jsonl(path: Path, texts: list[str]) -> SourceConfig:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return files(path)


def files(path: Path, weight: float = 1.0) -> SourceConfig:
    return SourceConfig(kind="files", weight=weight, paths=(str(path),))


def config(*sources: SourceConfig, **keywords: Any) -> DataConfig:
    return DataConfig(name="t", sources=sources, **({"d_vocab": 300, "n_ctx": 8, "eval_share": 0.3} | keywords))


def stories(n: int, word: str = "story") -> list[str]:
    return [f"{word} number {i}: " + f"{word} {i % 7} " * (1 + i % 20) for i in range(n)]


def texts_of(result: Prepared) -> dict[str, list[str]]:
    """What a reader gets back from the streams, split by split."""
    tokenizer = load_tokenizer(result.directory / "tokenizer.json")
    found = {}
    for split in ("fit", "eval"):
        tokens = TokenFile.open(result.directory, split, check_hashes=True)
        table = tokens.documents()
        extents = zip(table["start"], table["length"])
        found[split] = [tokenizer.decode(tokens.stream(*extent).tolist()) for extent in extents]
        stops = (table["start"] + table["length"]).to_numpy()
        assert all(tokens.stream(int(stop), 1)[0] == 0 for stop in stops), "BOS follows every document"
        assert int(stops[-1]) + 1 == tokens.n_tokens == result.facts["n_tokens"][split]
        assert table["index"].to_list() == list(range(result.facts["n_documents"][split]))
        for text, digest, n_chars in zip(found[split], table["sha256"], table["n_chars"]):
            assert (hashlib.sha256(text.encode()).hexdigest(), len(text)) == (digest, n_chars)
    return found


def test_every_document_comes_back_whole_on_one_side_of_the_split(tmp_path: Path) -> None:
    originals = [*stories(300), "<|bos|> is plain text", "caf\N{LATIN SMALL LETTER E WITH ACUTE}\x00", " edges "]
    result = prepare(config(jsonl(tmp_path / "a.jsonl", originals)), tmp_path / "out")
    found = texts_of(result)
    assert sorted(found["fit"] + found["eval"]) == sorted(originals)
    assert len(found["eval"]) == pytest.approx(0.3 * len(originals), rel=0.3)
    assert not result.found
    assert {path.name for path in result.directory.iterdir()} == {
        "tokens-fit.bin",
        "record.json",
        "tokens-eval.bin",
        "documents.parquet",
        "tokenizer.json",
        "data.toml",
        "MANIFEST.json",
    }
    assert load_config(DataConfig, result.directory / "data.toml") == config(files(tmp_path / "a.jsonl"))


def test_preparing_twice_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", stories(200)))
    first = prepare(wanted, tmp_path / "one")
    second = prepare(wanted, tmp_path / "two", limits=Limits(batch_chars=100))
    assert (first.directory / "MANIFEST.json").read_bytes() == (second.directory / "MANIFEST.json").read_bytes()


def test_the_held_out_half_does_not_follow_the_documents_own_hash(tmp_path: Path) -> None:
    result = prepare(config(jsonl(tmp_path / "a.jsonl", stories(600))), tmp_path / "out")
    digests = TokenFile.open(result.directory, "eval").documents()["sha256"].to_list()
    low_half = np.mean([digest[0] < "8" for digest in digests])
    assert low_half == pytest.approx(0.5, abs=0.15)


def test_the_split_of_a_document_does_not_depend_on_the_rest_of_the_corpus(tmp_path: Path) -> None:
    both = stories(200) + stories(200, "tale")
    less = texts_of(prepare(config(jsonl(tmp_path / "a.jsonl", stories(200))), tmp_path / "less"))
    more = texts_of(prepare(config(jsonl(tmp_path / "b.jsonl", both)), tmp_path / "more"))
    assert set(less["eval"]) < set(more["eval"])
    assert set(less["fit"]) < set(more["fit"])


def test_duplicates_are_counted_and_dropped_or_kept_on_one_side(tmp_path: Path) -> None:
    originals = stories(100)
    copies = [*originals, *[f"\n{text}  " for text in originals[:40]], "", "  \n"]
    source = jsonl(tmp_path / "a.jsonl", copies)
    dropped = prepare(config(source), tmp_path / "dropped")
    assert (dropped.facts["n_duplicates"], dropped.facts["n_empty"]) == (40, 2)
    assert sum(dropped.facts["n_documents"].values()) == 100
    kept = prepare(config(source, drop_duplicates=False), tmp_path / "kept")
    assert kept.facts["n_duplicates"] == 40
    found = texts_of(kept)
    assert len(found["fit"] + found["eval"]) == 140
    assert not {t.strip() for t in found["fit"]} & {t.strip() for t in found["eval"]}


def test_weights_are_shares_of_characters_and_the_scarcer_source_gives_all(tmp_path: Path) -> None:
    many, few = jsonl(tmp_path / "a.jsonl", stories(400)), jsonl(tmp_path / "b.jsonl", stories(90, "tale"))
    weighed = [many.model_copy(update={"weight": 6.0}), few.model_copy(update={"weight": 4.0})]
    result = prepare(config(*weighed), tmp_path / "out")
    by_name = {source["name"]: source for source in result.facts["sources"]}
    assert by_name["files-2"]["n_documents"] == 90
    assert by_name["files-1"]["n_documents"] < 200
    assert by_name["files-1"]["share"] == pytest.approx(0.6, abs=0.01)
    table = pl.read_parquet(result.directory / "documents.parquet")
    # Sources lie mixed, so that any stretch of the stream is a fair sample.
    first = table.filter(split="fit").head(40)
    assert 5 < (first["source"] == "files-1").sum() < 35


def test_all_pieces_of_a_python_file_fall_on_one_side(tmp_path: Path) -> None:
    source = SourceConfig(kind="python", weight=1.0, packages=("networkx",))
    result = prepare(config(source, n_ctx=64), tmp_path / "out")
    table = pl.read_parquet(result.directory / "documents.parquet")
    by_file = table.with_columns(file=pl.col("path_or_title").str.replace(r":\d+$", "")).group_by("file")
    assert by_file.agg(pl.col("split").n_unique())["split"].max() == 1
    assert (by_file.agg(pl.len())["len"] > 5).any()
    assert result.facts["n_documents"]["eval"] > 50


def test_a_second_call_finds_the_result_and_a_changed_input_is_named(tmp_path: Path) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", stories(200)))
    first = prepare(wanted, tmp_path / "out")
    before = (tmp_path / "out" / "MANIFEST.json").read_bytes()
    second = prepare(wanted, tmp_path / "out")
    assert (second.found, second.facts) == (True, first.facts)
    with pytest.raises(BadInput, match="key 'd_vocab' was 300 and is now 290"):
        prepare(wanted.model_copy(update={"d_vocab": 290}), tmp_path / "out")
    with pytest.raises(BadInput, match=r"key 'sources\[0\]\.weight' was 1\.0 and is now 2\.0"):
        prepare(config(files(tmp_path / "a.jsonl", weight=2.0)), tmp_path / "out")
    (tmp_path / "a.jsonl").write_text('{"text": "new"}')
    with pytest.raises(BadInput, match=r"source file .*a\.jsonl has changed"):
        prepare(wanted, tmp_path / "out")
    assert (tmp_path / "out" / "MANIFEST.json").read_bytes() == before
    verify(tmp_path / "out")


def test_a_new_file_behind_the_same_pattern_is_a_changed_input(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", stories(200))
    wanted = config(files(tmp_path / "*.jsonl"))
    prepare(wanted, tmp_path / "out")
    jsonl(tmp_path / "b.jsonl", stories(3))
    with pytest.raises(BadInput, match=r"source file .*b\.jsonl is new"):
        prepare(wanted, tmp_path / "out")


def test_a_result_that_was_damaged_or_is_of_another_version_is_not_found(tmp_path: Path) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", stories(200)))
    prepare(wanted, tmp_path / "out")
    (tmp_path / "out" / "tokens-fit.bin").write_bytes(b"")
    with pytest.raises(BadInput, match=r"tokens-fit\.bin: 0 bytes where"):
        prepare(wanted, tmp_path / "out")
    path = tmp_path / "out" / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 0}))
    with pytest.raises(BadInput, match="format version 0 where this program reads 1 and 2"):
        prepare(wanted, tmp_path / "out")


@pytest.mark.parametrize(
    ("texts", "keywords", "message"),
    [
        ([], {}, r"no text in them \(0 blank documents\)"),
        (["", " \n"], {}, r"no text in them \(2 blank documents\)"),
        (["one document"], {"eval_share": 1e-9}, "no eval documents: all 1 fall on the other side"),
        (["one document"], {"eval_share": 1 - 1e-9}, "no fit documents: all 1 fall on the other side"),
        (
            stories(9),
            {"n_ctx": 100_000, "allow_more_held_out": True},
            r"\d+ fit tokens are fewer than one row of n_ctx = 100000",
        ),
    ],
)
def test_unusable_text_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, texts: list[str], keywords: dict[str, Any], message: str
) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", texts), **keywords)
    with pytest.raises(BadInput, match=message):
        prepare(wanted, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_evaluation_text_shorter_than_a_row_is_refused(tmp_path: Path) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", stories(300)), eval_share=0.05, n_ctx=4096)
    with pytest.raises(BadInput, match=r"\d+ eval tokens are fewer than one row of n_ctx = 4096"):
        prepare(wanted, tmp_path / "out")


def test_a_source_without_text_is_named_even_next_to_one_with_text(tmp_path: Path) -> None:
    some, none = jsonl(tmp_path / "a.jsonl", stories(20)), jsonl(tmp_path / "b.jsonl", [""])
    with pytest.raises(BadInput, match="number 2 has no text of its own"):
        prepare(config(some, none), tmp_path / "out")


def test_replaced_bytes_are_counted(tmp_path: Path) -> None:
    text = "\n".join(json.dumps({"text": story}) for story in stories(100)).encode()
    (tmp_path / "a.jsonl").write_bytes(text + b'\n{"text": "bad \xff\xfe bytes"}\n')
    source = files(tmp_path / "a.jsonl")
    with pytest.raises(BadInput, match=f"not UTF-8 at byte {len(text) + 15} "):
        prepare(config(source), tmp_path / "out")
    result = prepare(config(source, invalid_utf8="replace"), tmp_path / "out")
    assert result.facts["n_replaced"] == 2
    assert "bad \ufffd\ufffd bytes" in texts_of(result)["fit"] + texts_of(result)["eval"]


def test_a_text_too_small_for_the_vocabulary_gets_a_smaller_one(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", stories(200))
    assert prepare(config(source, d_vocab=262), tmp_path / "small").facts["d_vocab"] == 262
    large = prepare(config(source, d_vocab=2**20), tmp_path / "large")
    assert 262 < large.facts["d_vocab"] < 1000
    assert TokenFile.open(large.directory).d_vocab == large.facts["d_vocab"]


def test_the_tokenizer_sees_no_held_out_text(tmp_path: Path) -> None:
    originals = stories(300)
    first = prepare(config(jsonl(tmp_path / "a.jsonl", originals)), tmp_path / "one")
    held_out = set(texts_of(first)["eval"])
    only_fit = [text for text in originals if text not in held_out]
    # One held-out document must stay for the split to exist: it alone cannot have been read.
    second = prepare(config(jsonl(tmp_path / "b.jsonl", [*only_fit, max(held_out)])), tmp_path / "two")
    assert first.facts["tokenizer_sha256"] == second.facts["tokenizer_sha256"]


def test_a_bar_is_shown_when_asked_for_and_not_off_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", stories(50)))
    prepare(wanted, tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    prepare(wanted, tmp_path / "loud", progress=True)
    assert "packing" in capsys.readouterr().err
