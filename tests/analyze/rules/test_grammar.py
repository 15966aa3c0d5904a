"""The grammar: which tokens each rule covers, read from text alone."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models

from analyze.activations.store import TokenSample
from analyze.rules.grammar import FEWEST_TOKENS, Grammar
from analyze.rules.views import token_views
from analyze.text.context_states import context_states
from analyze.text.stream import Stream
from analyze.text.vocabulary import Vocabulary, byte_of_character, in_backticks
from tests.analyze.scores.scoring import activations_of, covered
from train.errors import BadInput


@pytest.fixture(scope="module")
def made_up(made_up: tuple) -> tuple[Grammar, TokenSample, Vocabulary, Path]:
    grammar, tokens, data = made_up
    vocabulary = Vocabulary.of(Tokenizer.from_file(str(data / "tokenizer.json")))
    return grammar, tokens, vocabulary, data


def states_of(pieces: list[bytes], code: bool) -> dict[str, list[bool]]:
    """Context states of one document whose tokens are `pieces`."""
    vocabulary = Vocabulary((b"<|bos|>", *pieces))
    ids = np.append(np.arange(1, len(pieces) + 1), 0)
    stream = Stream(ids, np.array([0]), np.array([len(pieces)]), vocabulary, 256, paths=[None])
    return {name: state[:-1].tolist() for name, state in context_states(stream, ["code" if code else "prose"]).items()}


def test_byte_level_tokens_stand_for_their_bytes():
    spelled = {byte: character for character, byte in byte_of_character().items()}
    assert len(spelled) == 256
    entries = {"".join(spelled[b] for b in piece): i for i, piece in enumerate([b" the", b"\n", b"\xe2\x80"])}
    tokenizer = Tokenizer(models.BPE(vocab=entries, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.pieces == (b" the", b"\n", b"\xe2\x80")
    assert vocabulary.texts == (" the", "\n", None)
    assert vocabulary.classes["a byte piece"].tolist() == [False, False, True]


def test_tokens_are_shown_so_that_a_reader_can_tell_them_apart():
    pieces = [b" the", b"\n", b"\xe2\x80", b" ", b"\t   x"]
    assert [in_backticks(p) for p in pieces] == ["` the`", "`\\n`", "`\\xe2\\x80`", "`␣`", "`\\t␣␣␣x`"]


def test_brackets_quotes_and_comments_are_known_before_the_token_and_not_after():
    pieces = [b"f", b"(", b"'", b"#", b"'", b")", b" # ", b"note", b"\n", b"x"]
    states = states_of(pieces, code=True)
    inside = {name: [p for p, on in zip(pieces, state) if on] for name, state in states.items()}
    assert inside["inside brackets"] == [b"'", b"#", b"'", b")"]
    assert inside["inside quotation marks"] == [b"#", b"'"]
    assert inside["in a comment"] == [b"note", b"\n"]
    assert inside["at the start of a line"] == [b"f", b"x"]


def test_an_apostrophe_or_hash_in_prose_opens_nothing():
    states = states_of([b"It", b"'", b"s", b" #", b"1", b' "', b"so", b'"', b"."], code=False)
    assert not any(states["in a comment"])
    assert states["inside quotation marks"] == [False] * 6 + [True, True, False]


def test_a_triple_quoted_string_spans_lines_and_may_hold_quotes():
    states = states_of([b'""', b'"', b"say ", b'"', b"\n", b"more", b'"""', b"x"], code=True)
    assert states["inside quotation marks"] == [False, False, True, True, True, True, True, False]


def test_a_sentence_starts_after_a_full_stop_and_a_space_not_within_a_number():
    states = states_of([b"Pi", b" is", b" 3", b".", b"1", b".", b" It", b" is"], code=False)
    assert states["at the start of a sentence"] == [True] + [False] * 5 + [True, False]


def test_a_context_state_does_not_look_ahead():
    pieces = [b"a", b"(", b"b", b")", b" c.", b" D", b'"', b"e"]
    for code in (True, False):
        whole = states_of(pieces, code)
        for n in range(1, len(pieces)):
            part = states_of(pieces[:n], code)
            assert all(part[name] == whole[name][:n] for name in whole)


def test_rules_of_tokens_cover_exactly_their_tokens(made_up: tuple):
    grammar, tokens, vocabulary, _ = made_up
    the = vocabulary.pieces.index(b" the")
    np.testing.assert_array_equal(covered(grammar, tokens, "` the` as the current token"), tokens.ids == the)
    np.testing.assert_array_equal(covered(grammar, tokens, "after ` the`"), tokens.previous == the)
    either = np.isin(tokens.ids, [the, vocabulary.pieces.index(b"The")])
    form = "`the` in any case or spacing as the current token"
    np.testing.assert_array_equal(covered(grammar, tokens, form), either)


def test_no_sentence_breaks_a_line():
    vocabulary = Vocabulary((b"<|bos|>", b"\n", b" \n", b"a", b" A"))
    current, previous, two_before = token_views(np.arange(5), np.arange(5), vocabulary, np.zeros((5, 2)))
    assert "`\\n` in any case or spacing as the current token" in current.phrases
    assert "after `a` in any case or spacing" in previous.phrases
    assert "two tokens after `a` in any case or spacing" in two_before.phrases
    assert not any(
        "\n" in phrase for view in (current, previous, two_before) for phrase in (*view.phrases, *view.nouns)
    )


def test_every_rule_has_enough_fit_tokens_and_tokens_of_its_own_within_its_view(made_up: tuple):
    grammar, tokens, _, _ = made_up
    covers = grammar.holds(np.asarray(tokens.stream_position))
    np.testing.assert_array_equal(covers[tokens.is_fit].sum(axis=0), grammar.n_fit)
    np.testing.assert_array_equal(covers[~tokens.is_fit].sum(axis=0), grammar.n_eval)
    assert grammar.n_fit.min() >= FEWEST_TOKENS
    sets = [(view, column.tobytes()) for view, column in zip(grammar.view_of.tolist(), covers.T)]
    assert len(set(sets)) == len(sets)
    assert len(set(grammar.phrases)) == len(grammar)


def test_sums_over_rules_are_sums_over_their_tokens(made_up: tuple):
    grammar, tokens, _, _ = made_up
    values = np.random.default_rng(0).random(len(grammar.fit))
    covers = grammar.holds(np.asarray(tokens.stream_position))[tokens.is_fit]
    np.testing.assert_allclose(grammar.sums(values), values @ covers)
    some = np.arange(0, len(values), 3)
    np.testing.assert_allclose(grammar.sums(values[some], some), values[some] @ covers[some])


@pytest.mark.parametrize("few", [True, False])
def test_sums_of_few_tokens_are_theirs(made_up: tuple, few: bool, monkeypatch: pytest.MonkeyPatch):
    grammar, tokens, _, _ = made_up
    monkeypatch.setattr("analyze.rules.grammar._MANY_TOKENS", 4000 if few else 0)
    covers = grammar.holds(np.asarray(tokens.stream_position))[tokens.is_fit]
    some = np.arange(0, len(grammar.fit), 7)
    values = np.random.default_rng(0).random(len(some)) * (np.arange(len(some)) % 3 > 0)
    np.testing.assert_allclose(grammar.few_sums(values, some), values @ covers[some])
    np.testing.assert_array_equal(grammar.few_sums(np.zeros(2), some[:2]), np.zeros(len(grammar)))
    chosen = np.arange(0, len(grammar), 3)
    of_chosen = grammar.candidates(chosen).sums(values, some)
    np.testing.assert_array_equal(of_chosen, grammar.few_sums(values, some)[chosen])  # to the bit
    for rule in (0, 7, len(grammar) - 1):
        np.testing.assert_array_equal(grammar.n_among(rule), covers[covers[:, rule] > 0].sum(axis=0))


def test_the_token_two_before_is_not_taken_across_the_start_of_a_row_or_document():
    vocabulary = Vocabulary((b"<|bos|>", b"a", b"b", b"c"))
    ids = np.array([0, 1, 2, 3, 0, 2, 1, 3])
    previous = np.array([0, 0, 1, 2, 3, 0, 0, 1])  # the second document begins at 5, a row at 6
    _, _, two_before = token_views(ids, previous, vocabulary, np.zeros((4, 2)))
    assert two_before.keys.tolist() == [0, 0, 0, 1, 2, 0, 0, 0]


def test_rules_are_alike_only_within_a_token_view_and_among_words(made_up: tuple):
    grammar = made_up[0]
    rules = [
        grammar.phrases.index(phrase)
        for phrase in ("` river` as the current token", "after ` river`", "`(` as the current token")
    ]
    z = grammar.similarity(np.array(rules))
    np.testing.assert_array_equal(z, np.eye(3))
    everything = grammar.similarity(np.arange(len(grammar)))
    assert (everything >= 0).all()
    assert (everything <= 1).all()
    np.testing.assert_allclose(everything, everything.T)
    assert (everything > 0).sum() > len(grammar), "no two rules are alike"


def test_a_sample_of_other_text_is_refused(made_up: tuple):
    _, tokens, _, data = made_up
    other = TokenSample(**(vars(tokens) | {"ids": tokens.ids[::-1].copy()}))
    from analyze.rules.build import grammar_of

    with pytest.raises(BadInput, match="current tokens are not those of the sample"):
        grammar_of(activations_of(np.zeros((len(other), 1)), data, other))
