"""Every tokenizer's tokens stand for the text they were made of: byte-level, WordPiece, SentencePiece."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from analyze.text.stream import Stream, stream_of, vocabulary_of
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.data.text_places import FILE, spells_text
from train.data.tokens import TokenFile

TEXTS = [f"The Cat, number {n}, sat\n  on  a MAT (naïve, ½ price). “Quoted” <b>s</b> end{n}." for n in range(60)]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<pad>", "<s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, limit_alphabet=40)
    tokenizer.train_from_iterator([text.replace("½", "") for text in TEXTS], trainer)
    return tokenizer


def sentence_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    parts = [normalizers.NFKC(), normalizers.Replace(" {2,}", " ")]
    tokenizer.normalizer = normalizers.Sequence(parts)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    special = ["<unk>", "</s>", "<s>"]
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


MAKERS = {"byte_level": byte_level, "word_piece": word_piece, "sentence_piece": sentence_piece}


def prepared(kind: str, place: Path) -> Path:
    MAKERS[kind]().save(str(place / "tokenizer.json"))
    (place / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    source = SourceConfig(kind="files", weight=1, paths=(str(place / "text.jsonl"),))
    config = DataConfig(name="d", sources=(source,), tokenizer=str(place / "tokenizer.json"), n_ctx=16, eval_share=0.3)
    return prepare(config, place / "data").directory


def read(kind: str, place: Path) -> tuple[Path, Stream]:
    directory = prepared(kind, place)
    return directory, stream_of(TokenFile.open(directory, split="eval"))


@pytest.mark.parametrize("kind", MAKERS)
def test_rules_read_the_documents_as_they_were_written(kind, tmp_path):
    _, stream = read(kind, tmp_path)
    assert len(stream.passages) > 5
    for passage in stream.passages:
        assert passage.text in TEXTS
        assert len(passage.last_character) == stream.lengths[passage.index]
        assert (passage.last_character[1:] >= passage.last_character[:-1]).all()
        # The pieces lose nothing, whatever the tokenizer dropped between them.
        assert b"".join(stream.pieces_of(passage.index)).decode() == passage.text


@pytest.mark.parametrize("kind", MAKERS)
def test_a_rule_finds_the_tokens_of_a_word_by_its_place_in_the_text(kind, tmp_path):
    _, stream = read(kind, tmp_path)
    for passage in stream.passages:
        start = passage.text.index("MAT")
        tokens = passage.tokens_of(start, start + 3)
        pieces = stream.pieces_of(passage.index)
        assert b"".join(pieces[token] for token in tokens).decode().strip() == "MAT"


def test_only_tokens_that_do_not_spell_the_text_need_it_kept(tmp_path):
    kept = {}
    for kind in MAKERS:
        (tmp_path / kind).mkdir()
        kept[kind] = (prepared(kind, tmp_path / kind) / FILE).is_file()
    assert kept == {"byte_level": False, "word_piece": True, "sentence_piece": True}
    assert {kind: spells_text(make()) for kind, make in MAKERS.items()} == {k: not v for k, v in kept.items()}


def test_a_token_is_called_what_it_mostly_stands_for_in_the_text(tmp_path):
    directory, stream = read("word_piece", tmp_path)
    vocabulary, tokenizer = vocabulary_of(directory), Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert vocabulary.pieces[tokenizer.token_to_id("cat")] == b" Cat"  # lower case in the tokenizer, not in the text
    assert vocabulary == stream.vocabulary
    unknown = [
        piece for passage in stream.passages for piece in stream.pieces_of(passage.index) if "½".encode() in piece
    ]
    assert unknown  # an unknown token stands for its own characters
