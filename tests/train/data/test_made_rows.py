"""Made-up training rows: repeated segments and sentences that give names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.train.fixtures import small_run
from tests.train.test_exact import cut
from train.checkpoint import load
from train.config import TrainConfig
from train.data.made_rows import MadeRows, frequent_tokens, repeated_row, short_repeated_row
from train.data.name_sentences import COUNTRIES, LEAST_NAMES, PLACES, TEMPLATES, THINGS, NameSentences
from train.data.tokens import TokenFile
from train.dry_run import dry_run
from train.errors import BadInput
from train.provenance import config_hash
from train.training_run import run

TEXT = torch.cat([torch.zeros((200, 1), dtype=torch.int64), torch.randint(1, 90, (200, 32))], 1)


def words_tokenizer(names: int = 12) -> Tokenizer:
    """Every word one token."""
    words = " ".join([*COUNTRIES[:names], *TEMPLATES, *PLACES, *THINGS]).replace("{", " ").replace("}", " ")
    splitter = pre_tokenizers.Whitespace()
    vocabulary = dict.fromkeys(word for word, _ in splitter.pre_tokenize_str(words))
    tokenizer = Tokenizer(models.WordLevel({word: i + 1 for i, word in enumerate(vocabulary)}, unk_token="the"))
    tokenizer.pre_tokenizer = splitter
    return tokenizer


def test_about_the_share_asked_for_is_made_up_and_the_rest_is_text() -> None:
    rows = MadeRows(0.25, 0.0).put_into(TEXT, seed=3, first=0)
    changed = (rows != TEXT).any(1)
    assert 30 <= int(changed.sum()) <= 70
    assert (rows[:, 0] == 0).all()
    assert torch.equal(TEXT, MadeRows(0.0, 0.0).put_into(TEXT, 3, 0))


def test_a_repeated_row_is_one_segment_of_its_own_distinct_tokens_again_and_again() -> None:
    row = repeated_row(TEXT[0], np.random.default_rng(0), length=5)
    segment = row[1:6]
    assert len(set(segment.tolist())) == 5
    assert set(segment.tolist()) <= set(TEXT[0, 1:].tolist())
    assert torch.equal(row[1:], segment.repeat(7)[:32])
    lengths = {len(set(repeated_row(TEXT[0], np.random.default_rng(i)).tolist())) - 1 for i in range(60)}
    assert min(lengths) >= 4
    assert max(lengths) <= 16
    assert len(lengths) > 8


def test_short_segments_are_of_the_alphabet_or_of_the_row_and_short_ones_as_frequent_as_long_ones() -> None:
    alphabet = np.arange(100, 164)
    rows = [short_repeated_row(TEXT[0], alphabet, np.random.default_rng(i))[1:] for i in range(400)]
    lengths = np.array([len(set(row.tolist())) for row in rows])
    for row, length in zip(rows, lengths, strict=True):
        assert torch.equal(row, row[:length].repeat(16)[:32])
    assert (lengths.min(), lengths.max()) == (2, 16)  # half a row of 32
    assert abs(float((lengths < 6).mean()) - np.log(6 / 2) / np.log(17 / 2)) < 0.1
    of_alphabet = [row for row in rows if row[0] >= 100]
    assert 0.3 < len(of_alphabet) / len(rows) < 0.5
    assert set(torch.cat(of_alphabet).tolist()) == set(alphabet.tolist())
    assert all(set(row.tolist()) <= set(TEXT[0, 1:].tolist()) for row in rows if row[0] < 100)


def test_the_alphabet_is_what_stands_most_often_in_the_text_but_for_bos(data: Path) -> None:
    fit = TokenFile.open(data, n_ctx=16)
    rows = fit.plain_rows(0, fit.n_rows)
    counts = np.bincount(rows[:, 1:].flatten().numpy(), minlength=fit.d_vocab)
    found = frequent_tokens(fit, 30)
    assert len(set(found.tolist())) == 30
    assert int(rows[0, 0]) not in found
    others = np.delete(counts, [*found, int(rows[0, 0])])
    assert counts[found].min() >= others.max()
    with pytest.raises(BadInput, match=r"train\.repeated_alphabet: 100000 tokens where"):
        frequent_tokens(fit, 100_000)


def test_rows_follow_from_seed_and_number_alone() -> None:
    made = MadeRows(0.5, 0.0)
    whole = made.put_into(TEXT, 1, 0)
    assert torch.equal(whole[50:], made.put_into(TEXT[50:], 1, 50))
    assert not torch.equal(whole, made.put_into(TEXT, 2, 0))


def test_sentences_name_two_and_end_with_the_one_that_was_not_named_again() -> None:
    tokenizer = words_tokenizer()
    sentences = NameSentences.of(tokenizer)
    prompts = sentences.prompts(40, np.random.default_rng(0))
    rows = np.arange(40)
    a, b = prompts.tokens[rows, prompts.first], prompts.tokens[rows, prompts.second]
    assert (prompts.tokens[:, prompts.again] == prompts.subject).all()
    assert ((a == prompts.subject) == prompts.subject_first).all()
    assert (np.where(prompts.subject_first, b, a) == prompts.indirect).all()
    assert 5 < int(prompts.subject_first.sum()) < 35
    text = tokenizer.decode(sentences.fill(30, np.random.default_rng(1)).tolist())
    named = [word for word in text.split() if word in COUNTRIES]
    assert len(set(named[:4])) == 2
    assert sorted(named[:2]) == sorted(named[2:4])


def test_rows_of_sentences_fill_the_row() -> None:
    sentences = NameSentences.of(words_tokenizer())
    rows = MadeRows(0.0, 1.0, sentences).put_into(TEXT, 0, 0)
    assert not (rows == TEXT).all(1).any()
    assert (rows[:, 1:] > 0).all()


def test_a_vocabulary_without_the_names_is_one_line() -> None:
    with pytest.raises(BadInput, match=rf"train\.name_rows needs {LEAST_NAMES}"):
        NameSentences.of(words_tokenizer(names=LEAST_NAMES - 1))


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="more than all rows"):
        TrainConfig(tokens=1, repeated_rows=0.6, name_rows=0.6)


def test_an_alphabet_without_repeated_rows_or_of_a_few_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="repeated_alphabet: there are no such rows"):
        TrainConfig(tokens=1, repeated_alphabet=64)
    with pytest.raises(ValueError, match="repeated_alphabet: 8 must be 0 or at least 24"):
        TrainConfig(tokens=1, repeated_rows=0.5, repeated_alphabet=8)


def test_a_run_reads_them_and_one_without_them_is_the_run_it_was(data: Path, tmp_path: Path) -> None:
    plain, mixed = small_run(data), small_run(data, train__repeated_rows=0.5)
    assert "repeated_rows" not in plain.model_dump(mode="json")["train"]
    assert config_hash(plain) != config_hash(mixed)
    run(plain, tmp_path / "plain")
    run(mixed, tmp_path / "mixed")
    first, second = load(tmp_path / "plain"), load(tmp_path / "mixed")
    assert first.state["data"] == second.state["data"]
    assert not torch.equal(first.model().head.weight, second.model().head.weight)
    assert "repeated_rows" in (tmp_path / "mixed/README.md").read_text()
    short = small_run(data, train__repeated_rows=0.5, train__repeated_alphabet=24)
    run(short, tmp_path / "short")
    assert not torch.equal(second.model().head.weight, load(tmp_path / "short").model().head.weight)
    assert config_hash(short) != config_hash(mixed)
    with pytest.raises(BadInput, match=r"train\.name_rows needs"):
        run(small_run(data, train__name_rows=0.5), tmp_path / "names")


def test_an_alphabet_that_the_text_has_not_leaves_nothing_that_a_smaller_one_would_meet(
    data: Path, tmp_path: Path
) -> None:
    large = small_run(data, train__repeated_rows=0.5, train__repeated_alphabet=100_000)
    for ask in (run, dry_run):
        with pytest.raises(
            BadInput, match=r"train\.repeated_alphabet: 100000 tokens where .*; give a smaller alphabet"
        ):
            ask(large, tmp_path / "run")
    assert not (tmp_path / "run/run.toml").exists()
    assert not run(small_run(data, train__repeated_rows=0.5, train__repeated_alphabet=24), tmp_path / "run").found


def test_a_run_of_short_segments_and_sentences_that_was_cut_goes_on_to_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NameSentences, "of_data", lambda directory: NameSentences.of(words_tokenizer()))
    given = {"train__repeated_rows": 0.5, "train__repeated_alphabet": 24, "train__name_rows": 0.5}
    config = small_run(data, **given)
    run(config, tmp_path / "run")
    whole = load(tmp_path / "run").model().state_dict()
    cut(tmp_path / "run", 5)
    with pytest.raises(BadInput, match=r"holds a run with train\.repeated_alphabet = 24, now 30"):
        run(small_run(data, **{**given, "train__repeated_alphabet": 30}), tmp_path / "run")
    run(config, tmp_path / "run")
    again = load(tmp_path / "run").model().state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_stopped_run_goes_on_with_the_same_rows(data: Path) -> None:
    fit = TokenFile.open(data, n_ctx=16)
    made = MadeRows(0.5, 0.0)
    rows = fit.rows_at(0, 0, 12)
    assert torch.equal(made.put_into(rows, 0, 0)[8:], made.put_into(fit.rows_at(0, 8, 4), 0, 8))
