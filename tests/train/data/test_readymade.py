"""Tokenizers that others made: the same tokens as by the `tokenizers` library alone, BOS as id 0, clear refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from tests.train.data.test_prepare import config, jsonl, stories, texts_of
from tests.train.fixtures import small_run
from train.checkpoint import load
from train.configfile import load_config, to_toml, validate
from train.data.config import DataConfig
from train.data.prepare import prepare
from train.data.readymade import ready_made
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.training_run import run

TEXTS = [f"Story number {i} of {i * i}: the cat's 12345 mats, <|endoftext|> and caf\u00e9s." for i in range(400)]


def gpt2_like(path: Path, special: str = "<|endoftext|>", first: bool = False) -> Path:
    """Byte-level BPE with its one special token at the end, as GPT-2's, or at the beginning, as GPT-NeoX's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[special] if first else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if not first:
        tokenizer.add_special_tokens([special])
    else:
        tokenizer.add_tokens([AddedToken("    ", normalized=True)])
    tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single=f"{special} $A {special}", special_tokens=[(special, tokenizer.token_to_id(special))]
    )
    tokenizer.enable_truncation(8)
    tokenizer.save(str(path))
    return path


def unigram(path: Path, specials: list[str]) -> Path:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.normalizer = normalizers.Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=specials, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(path))
    return path


def made(path: Path, **keys: Any) -> tuple[Tokenizer, dict[str, Any]]:
    source = {"kind": "wiki", "weight": 1}
    values = {"name": "t", "sources": [source], "tokenizer": str(path), **keys}
    ready = ready_made(validate(DataConfig, values, "test"))
    return ready.tokenizer, ready.facts


@pytest.mark.parametrize("first", [False, True])
def test_a_text_has_the_tokens_that_the_library_gives_it_but_for_the_exchanged_ids(tmp_path: Path, first: bool) -> None:
    path = gpt2_like(tmp_path / "tokenizer.json", first=first)
    own, facts = made(tmp_path)  # the folder does as well
    plain = Tokenizer.from_file(str(path))
    plain.no_truncation()
    plain.encode_special_tokens = True
    before = plain.token_to_id("<|endoftext|>")
    assert facts["exchanged"] == [0, before]
    assert (before == 0) == first
    assert own.get_vocab_size() == plain.get_vocab_size()
    swap = {0: before, before: 0}
    for text in [*TEXTS[:50], "    if x:\n        y = 100"]:
        ids = own.encode(text, add_special_tokens=False).ids
        assert ids == [swap.get(index, index) for index in plain.encode(text, add_special_tokens=False).ids]
        assert own.encode(text).ids == ids, "nothing is put around a text"
        assert own.decode(ids) == text
        assert 0 not in ids


def test_a_bos_can_be_added_or_named(tmp_path: Path) -> None:
    path = gpt2_like(tmp_path / "a.json", special="<odd>")
    own, facts = made(path, bos="<odd>")
    assert (own.id_to_token(0), facts["bos"]) == ("<odd>", "<odd>")
    plain = Tokenizer.from_file(str(path))
    own, facts = made(path, bos="add")
    assert (own.id_to_token(0), own.get_vocab_size()) == ("<|bos|>", plain.get_vocab_size() + 1)
    assert own.decode(own.encode(TEXTS[3]).ids) == TEXTS[3]


def test_unigram_pieces_are_kept_and_no_text_becomes_its_bos(tmp_path: Path) -> None:
    path = unigram(tmp_path / "a.json", ["<unk>", "<s>"])
    own, facts = made(path)
    plain = Tokenizer.from_file(str(path))
    assert facts["normalizes"]
    assert own.id_to_token(0) == "<s>"
    for text in TEXTS[:50]:
        assert own.encode(text).tokens == plain.encode(text).tokens
    assert 0 not in own.encode("say <s> here").ids


@pytest.mark.parametrize("digits", ["split", "keep"])
def test_digits_are_split_or_as_they_are(tmp_path: Path, digits: str) -> None:
    own, _ = made(gpt2_like(tmp_path / "a.json"), digits=digits)
    tokens = own.encode("the 12345 mats").tokens
    assert ("".join(tokens), sum(token.isdigit() for token in tokens) == 5) == (
        "the\u012012345\u0120mats",
        digits == "split",
    )


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = gpt2_like(tmp_path / "a.json", special="<odd>")
    size = Tokenizer.from_file(str(path)).get_vocab_size()
    for keys, said in (
        (
            {},
            r"bos: .*a\.json has no BOS of a known name; set bos to one of its special tokens \('<odd>'\), or \"add\"",
        ),
        ({"bos": "<s>"}, r"bos: .*a\.json has no token '<s>'; set bos to"),
        ({"bos": "add", "d_vocab": 300}, rf"d_vocab: .*a\.json has ids beyond the vocabulary: {size + 1} with its BOS"),
        ({"bos": "add", "d_vocab": 5000}, "d_vocab: .*has fewer ids"),
    ):
        with pytest.raises(BadInput, match=said):
            made(path, **keys)
    with pytest.raises(BadInput, match=r"tokenizer: gpt2: no such file; write hf:gpt2"):
        made(Path("gpt2"))
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer: .*b\.json: not a tokenizer"):
        made(tmp_path / "b.json")
    gappy = json.loads(path.read_text())
    gappy["model"]["vocab"][max(gappy["model"]["vocab"], key=gappy["model"]["vocab"].__getitem__)] = 5000
    (tmp_path / "c.json").write_text(json.dumps(gappy))
    with pytest.raises(BadInput, match=r"tokenizer: .*c\.json: ids up to 5\d\d\d for \d+ tokens"):
        made(tmp_path / "c.json", bos="<odd>")
    with pytest.raises(BadInput, match=r"digits: .*puts a blank before every piece"):
        made(unigram(tmp_path / "d.json", ["<unk>", "<s>"]), digits="split")


def test_a_tokenizer_of_the_hub_comes_from_the_cache_or_says_that_it_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    name = "hf:openai-community/gpt2"
    said = r"tokenizer: the hub cannot be reached for 'openai-community/gpt2'.*tokenizer\.json is not in the cache"
    with pytest.raises(EnvironmentProblem, match=said):
        made(Path(name))
    commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    place = tmp_path / "cache" / "models--openai-community--gpt2"
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    gpt2_like(place / "snapshots" / commit / "tokenizer.json")
    _, facts = made(Path(name))
    assert (facts["revision"], facts["name"]) == (commit, name)


def test_prepare_train_and_lens_take_a_tokenizer_from_elsewhere(tmp_path: Path) -> None:
    path = gpt2_like(tmp_path / "a.json")
    originals = [*stories(400), *TEXTS]
    source = jsonl(tmp_path / "a.jsonl", originals)
    wanted = DataConfig(name="t", n_ctx=16, eval_share=0.3, tokenizer=str(path), sources=(source,))
    result = prepare(wanted, tmp_path / "out")
    found = texts_of(result)
    assert sorted(found["fit"] + found["eval"]) == sorted(originals)
    size = Tokenizer.from_file(str(path)).get_vocab_size()
    assert (result.facts["d_vocab"], "d_vocab" in result.facts["config"]) == (size, False)
    assert any(f"a.json: {size} ids, <|endoftext|> is BOS and id 0" in line for line in result.notes())
    assert load_config(DataConfig, result.directory / "data.toml") == wanted
    assert "d_vocab" not in to_toml(wanted)
    assert prepare(wanted, tmp_path / "out").found
    finished = run(small_run(result.directory), tmp_path / "run")
    checkpoint = load(finished.directory)
    bridge = checkpoint.bridge()
    assert bridge.tokenizer.bos_token == "<|endoftext|>"  # pyright: ignore[reportOptionalMemberAccess]
    assert bridge.to_tokens("the cat")[0, 0] == 0
    shutil.copy(gpt2_like(tmp_path / "b.json", special="<|bos|>"), path)
    with pytest.raises(BadInput, match=r"was prepared otherwise: the tokenizer .*a\.json has changed"):
        prepare(wanted, tmp_path / "out")


def test_a_budget_of_tokens_is_kept_to_the_document_and_keeps_the_mixture(tmp_path: Path) -> None:
    one, two = jsonl(tmp_path / "a.jsonl", stories(900)), jsonl(tmp_path / "b.jsonl", stories(900, "report"))
    keys: dict[str, Any] = {"weight": 0.75}
    wanted = config(one.model_copy(update=keys), two.model_copy(update={"weight": 0.25}), tokens=6_000)
    result = prepare(wanted, tmp_path / "out")
    tokens = TokenFile.open(result.directory, "fit", n_ctx=1)
    last = tokens.documents()["length"][-1] + 1
    assert 6_000 <= tokens.n_tokens < 6_000 + last
    assert result.facts["sources"][0]["share"] == pytest.approx(0.75, abs=0.01)
    short = prepare(wanted.model_copy(update={"tokens": 10**7}), tmp_path / "short")
    assert any("of the 10,000,000 training tokens asked for" in line for line in short.notes())
