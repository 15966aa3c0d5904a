"""Which features are admitted: by sets that score read, laid out by hand."""

import numpy as np
from numpy import ndarray

from analyze.rules.build import grammar_on
from analyze.validation.admission import FEWEST_DOCUMENTS, FEWEST_TOKENS, Admitted, LabelSets, RuleSets, admit
from analyze.validation.features import FEATURES, Feature
from analyze.validation.parsed_text import ParsedText
from tests.analyze.validation.made_up import corpus_on

N = 20_000


class FirstTokens(Feature):
    """A feature of the first `size` tokens of a stream."""

    def tokens(self, text: ParsedText) -> ndarray:
        return np.arange(N) < int(self.given[0])


class Sets:
    """Sets that begin and end where the test says."""

    kind = "rule"

    def __init__(self, **spans: tuple[int, int]) -> None:
        self.names = tuple(spans)
        self.held = np.stack([(np.arange(N) >= a) & (np.arange(N) < b) for a, b in spans.values()])
        self.sizes = self.held.sum(axis=1).astype(float)

    def shared(self, inside: ndarray) -> ndarray:
        return self.held.astype(float) @ inside


class Page(ParsedText):
    """N tokens, spread over 150 documents."""

    def __init__(self) -> None:
        self.document = np.arange(N) % 150


def judged(size: int, **spans: tuple[int, int]) -> Admitted:
    feature = FirstTokens("a feature", "a root", "word", (size,))
    return admit(Page(), np.arange(N), (Sets(**spans),), (feature,))


def reason(size: int, **spans: tuple[int, int]) -> tuple[str, str]:
    found = judged(size, **spans)
    return (found.refused[0].why, found.refused[0].by) if found.refused else ("", "")


def test_a_feature_that_no_set_comes_near_is_admitted_with_its_tokens():
    found = judged(300, far=(5000, 6000))
    assert [one.name for one in found.features] == ["a feature"]
    assert found.tokens.sum() == 300
    assert found.share.tolist() == [300 / N]


def test_a_set_that_shares_half_of_either_keeps_a_feature_out():
    assert reason(300, half=(0, 150)) == ("same", "rule: half")
    assert reason(300, less=(0, 148)) == ("", "")
    assert reason(300, shifted=(100, 400)) == ("same", "rule: shifted")


def test_a_set_that_holds_the_feature_has_to_be_four_times_as_large():
    assert reason(300, near=(0, 1199)) == ("held by", "rule: near")
    assert reason(300, broad=(0, 1200)) == ("", "")
    assert reason(300, part=(31, 1000)) == ("", "")


def test_features_that_are_too_rare_too_common_or_in_few_documents_are_not_planted():
    assert reason(FEWEST_TOKENS - 1, far=(5000, 6000))[0] == "few"
    assert reason(1001, far=(5000, 6000))[0] == "many"
    page = Page()
    page.document = np.arange(N) // 10  # 300 tokens in 30 documents
    feature = FirstTokens("a feature", "a root", "word", (10 * (FEWEST_DOCUMENTS - 1),))
    found = admit(page, np.arange(N), (), (feature,))
    assert found.refused[0].why == "few"


def test_parts_and_reasons_are_counted_and_the_hash_tells_what_was_admit():
    found = judged(300, near=(0, 1199))
    assert found.lines()[{"tuning": 0, "held": 1}[found.refused[0].feature.part]].endswith("1 refused (held by 1)")
    assert judged(300, far=(5000, 6000)).hash != judged(301, far=(5000, 6000)).hash


def test_rules_and_labels_share_with_a_feature_the_tokens_they_do(tmp_path):
    from analyze.labels.bank import bank_on

    corpus = corpus_on(tmp_path)
    positions = np.asarray(corpus.tokens.stream_position, np.int64)
    grammar = grammar_on(corpus.data, positions, np.asarray(corpus.tokens.is_fit))
    inside = np.random.default_rng(0).random((len(positions), 3)) < 0.1
    rules, bank = RuleSets(grammar, positions), bank_on(corpus.data)
    covers = grammar.holds(positions) > 0
    np.testing.assert_array_equal(rules.shared(inside), covers.T.astype(float) @ inside)
    np.testing.assert_array_equal(rules.sizes, covers.sum(axis=0))
    labels = LabelSets(bank, positions)
    dense = bank.dense(positions)
    np.testing.assert_array_equal(labels.shared(inside), dense.T.astype(float) @ inside)
    np.testing.assert_array_equal(labels.sizes, dense.sum(axis=0))


def test_a_class_of_the_grammar_planted_as_a_feature_is_found_out(tmp_path):
    corpus = corpus_on(tmp_path)
    positions = np.asarray(corpus.tokens.stream_position, np.int64)
    grammar = grammar_on(corpus.data, positions, np.asarray(corpus.tokens.is_fit))
    found = admit(ParsedText.of(corpus.data), positions, (RuleSets(grammar, positions),), FEATURES)
    covers = grammar.holds(positions) > 0
    for column in found.tokens.T:
        both, either = covers[column].sum(axis=0), (covers | column[:, None]).sum(axis=0)
        assert (both / either).max() < 0.5
