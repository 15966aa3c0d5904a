"""Rules found for a neuron: what a conjunction covers, how it reads, and which one is found."""

import numpy as np
import pytest

from analyze.activations.store import TokenSample
from analyze.rules.conjunctions import (
    FEWEST_DOCUMENTS,
    LEAST_GAIN,
    MOST_BASE_RATE,
    Atoms,
    Conjunctions,
    induce,
    induce_from_examples,
)
from analyze.rules.grammar import FEWEST_TOKENS, Grammar
from tests.analyze.text.hand_text import LENGTH, N_DOCUMENTS, hand_text, places


@pytest.fixture(scope="module")
def by_hand() -> Conjunctions:
    return Conjunctions(hand_text())


def atoms_of(grammar: Grammar, *phrases: str) -> Atoms:
    return tuple(sorted(grammar.phrases.index(phrase) for phrase in phrases))


THE = "` the` as the current token"
AFTER_NEWLINE, AFTER_BRACKET = "after a newline", "after ` (`"
LISTED: list[tuple[tuple[str, ...], str, dict[str, tuple[int, ...]]]] = [
    ((THE,), THE, {"prose": (3, 5, 8), "code": (2, 4, 6, 9, 12)}),
    ((THE, "in code"), "` the` in code", {"code": (2, 4, 6, 9, 12)}),
    ((THE, AFTER_NEWLINE), "` the` after a newline", {"prose": (5,), "code": (4, 9)}),
    ((THE, AFTER_NEWLINE, "in code"), "` the` after a newline, in code", {"code": (4, 9)}),
    ((THE, "after `\\n`", "in code"), "` the` after `\\n`, in code", {"code": (4,)}),
    ((AFTER_NEWLINE, "in prose"), "after a newline, in prose", {"prose": (5,)}),
    ((AFTER_BRACKET, "a lower-case word, inside brackets"), "a lower-case word after ` (`, inside brackets",
     {"prose": (8,), "code": (6,)}),
    ((THE, "at the start of a line"), "` the` at the start of a line", {"prose": (5,), "code": (4, 9)}),
    (("`the` in any case or spacing as the current token", "in prose"), "`the` in any case or spacing in prose",
     {"prose": (0, 3, 5, 8)}),
]  # fmt: skip


@pytest.mark.parametrize(("phrases", "sentence", "where"), LISTED)
def test_a_conjunction_covers_the_tokens_listed_by_hand_and_says_so(
    by_hand: Conjunctions, phrases: tuple[str, ...], sentence: str, where: dict[str, tuple[int, ...]]
):
    atoms = atoms_of(by_hand.grammar, *phrases)
    assert by_hand.sentence(atoms) == sentence
    for half in ("fit", "eval"):
        listed = places(where, by_hand.grammar, half)
        assert np.flatnonzero(by_hand.covered(half, atoms)).tolist() == listed
        # 10 documents of each kind a half, of 13 tokens
        assert by_hand.base_rate(half, atoms) == 10 * sum(map(len, where.values())) / (20 * LENGTH)


@pytest.mark.parametrize(("phrases", "sentence", "where"), [one for one in LISTED if len(one[0]) > 1])
def test_a_neuron_that_fires_where_a_conjunction_holds_gets_a_rule_with_its_tokens(
    by_hand: Conjunctions, phrases: tuple[str, ...], sentence: str, where: dict[str, tuple[int, ...]]
):
    y = np.zeros(len(by_hand.grammar.fit))
    y[places(where, by_hand.grammar, "fit")] = 1
    found = induce(y, by_hand)
    assert found is not None
    assert np.flatnonzero(by_hand.covered("eval", found)).tolist() == places(where, by_hand.grammar, "eval")


def test_the_sentence_of_the_neuron_is_the_one_a_reader_would_say(by_hand: Conjunctions):
    y = np.zeros(len(by_hand.grammar.fit))
    y[places({"code": (4, 9)}, by_hand.grammar, "fit")] = 1
    found = induce(y, by_hand)
    assert found is not None
    assert by_hand.sentence(found) == "` the` after a newline, in code"
    y[places({"prose": (5,)}, by_hand.grammar, "fit")] = 0.95
    found = induce(y, by_hand)
    assert found is not None
    assert by_hand.sentence(found) == "` the` after a newline", (
        "not `after white space`: of equals the narrower is said"
    )


def test_two_rules_that_say_something_of_the_same_token_are_not_joined(by_hand: Conjunctions):
    grammar = by_hand.grammar
    the = by_hand.may_join(atoms_of(grammar, THE))
    assert not the[grammar.phrases.index("letters only")]
    assert not the[grammar.phrases.index("a lower-case word, in code")]
    assert the[grammar.phrases.index("in code")]
    assert the[grammar.phrases.index(AFTER_NEWLINE)]
    lower = by_hand.may_join(atoms_of(grammar, "a lower-case word, in code"))
    assert not lower[grammar.phrases.index(THE)]
    assert not lower[grammar.phrases.index("inside brackets")]
    assert lower[grammar.phrases.index(AFTER_NEWLINE)]


def membership(grammar: Grammar, tokens: TokenSample) -> np.ndarray:
    return grammar.holds(np.asarray(tokens.stream_position)) > 0


def test_a_conjunction_covers_the_intersection_of_its_atoms_and_base_rates_are_counted(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions, covers = Conjunctions(grammar), membership(grammar, tokens)
    rng = np.random.default_rng(0)
    for _ in range(60):
        atoms: Atoms = ()
        while len(atoms) < 3:
            rule = int(rng.choice(np.flatnonzero(conjunctions.may_join(atoms) & (grammar.n_fit > 40))))
            atoms = tuple(sorted((*atoms, rule)))
            inside = covers[:, list(atoms)].all(axis=1)
            for half, of in (("fit", tokens.is_fit), ("eval", ~tokens.is_fit)):
                np.testing.assert_array_equal(conjunctions.covered(half, atoms), inside[of])
                assert conjunctions.base_rate(half, atoms) == inside[of].mean()
            np.testing.assert_array_equal(grammar.n_within(atoms), covers[inside & tokens.is_fit].sum(axis=0))
            documents = len(np.unique(tokens.document[inside & tokens.is_fit]))
            assert grammar.n_documents(atoms) == documents
            sentence = conjunctions.sentence(atoms)
            assert len(atoms) == 1 or all(grammar.places[atom] in sentence for atom in atoms)
            if not conjunctions.may_join(atoms).any():
                break


def test_rules_that_hold_at_a_position_are_those_that_cover_it(made_up: tuple):
    grammar, tokens, _ = made_up
    some = np.asarray(tokens.stream_position)[::17]
    np.testing.assert_array_equal(grammar.holds(some), grammar.holds(some) > 0)


def test_sums_of_some_views_are_zero_elsewhere(made_up: tuple):
    grammar, *_ = made_up
    values = np.random.default_rng(0).random(len(grammar.fit))
    inside = np.isin(grammar.view_of, (1, 3))
    np.testing.assert_array_equal(grammar.sums(values, None, (1, 3)), np.where(inside, grammar.sums(values), 0))


def random_pair(conjunctions: Conjunctions, rng: np.random.Generator) -> tuple[int, int]:
    """A rule and another that halves it at least and leaves 25 fit tokens."""
    n_fit = conjunctions.grammar.n_fit
    while True:
        first = int(rng.choice(np.flatnonzero(n_fit > 60)))
        within = conjunctions.grammar.n_within((first,))
        others = np.flatnonzero(conjunctions.may_join((first,)) & (within >= 25) & (within <= n_fit[first] / 2.2))
        if len(others):
            return first, int(rng.choice(others))


def random_neurons(conjunctions: Conjunctions, n: int) -> list[np.ndarray]:
    """Each answers to one rule where another holds, less to the rule alone, and to a second pair, over noise."""
    rng = np.random.default_rng(3)
    grammar = conjunctions.grammar
    neurons = []
    for _ in range(n):
        y = 0.3 * rng.random(len(grammar.fit))
        for height in (1.0, 0.4):
            pair = random_pair(conjunctions, rng)
            y[grammar.tokens("fit", pair[:1])] += 0.2 * height
            y[grammar.tokens("fit", pair)] += height
        neurons.append(np.maximum(y - np.median(y), 0))
    return neurons


def test_the_rule_does_not_depend_on_the_scale_of_the_neuron(made_up: tuple):
    grammar, *_ = made_up
    conjunctions = Conjunctions(grammar)
    for y in random_neurons(conjunctions, 12):
        found = induce(y, conjunctions)
        assert found is not None
        assert all(induce(scale * y, conjunctions) == found for scale in (1e-5, 0.3, 7.0, 1e6))


def test_the_rule_does_not_depend_on_the_order_of_the_tokens(by_hand: Conjunctions):
    rng = np.random.default_rng(1)
    order = rng.permutation(N_DOCUMENTS * LENGTH)
    shuffled = Conjunctions(hand_text(order))
    for _ in range(20):
        total = rng.random(N_DOCUMENTS * LENGTH) * (rng.random(N_DOCUMENTS * LENGTH) < 0.3)
        own = induce(total[by_hand.grammar.fit], by_hand)
        other = induce(total[order][shuffled.grammar.fit], shuffled)
        assert own is not None
        assert other == own


def test_a_further_atom_is_taken_only_where_it_explains_more_by_the_stated_factor(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions = Conjunctions(grammar)

    document = tokens.document[tokens.is_fit]

    def even(y: np.ndarray) -> np.ndarray:
        loud = {one: float((y[document == one] ** 2).sum()) for one in np.unique(document).tolist()}
        fifth = sorted(loud.values())[-FEWEST_DOCUMENTS]
        return y * np.array([min(1.0, fifth / loud[one]) ** 0.5 for one in document.tolist()])

    def worth(y: np.ndarray, atoms: Atoms) -> float:
        inside = conjunctions.covered("fit", atoms)
        n, s = int(inside.sum()), float((y - y.mean())[inside].sum())
        return s**2 / n * (1 - 1 / np.sqrt(n)) / LEAST_GAIN ** (len(atoms) - 1) if s > 0 else 0.0

    sizes = set()
    for y in random_neurons(conjunctions, 30):
        found = induce(y, conjunctions)
        y = even(y)
        assert found is not None
        sizes.add(len(found))
        for left_out in range(len(found)):
            shorter = found[:left_out] + found[left_out + 1 :]
            assert not shorter or worth(y, found) > worth(y, shorter)
        alone = max(worth(y, (rule,)) for rule in range(len(grammar)))
        assert worth(y, found) >= alone * (1 - 1e-9)
    assert sizes >= {1, 2}


def test_one_repetitive_document_does_not_make_a_rule(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions = Conjunctions(grammar)
    river = conjunctions.covered("fit", atoms_of(grammar, "` river` as the current token"))
    document = tokens.document[tokens.is_fit]
    one = document == np.unique(document)[7]
    y = 0.2 * river + 5.0 * one
    y -= np.median(y)
    found = induce(y, conjunctions)
    assert found is not None
    assert conjunctions.sentence(found) == "` river` as the current token"


def test_a_neuron_at_rest_has_no_rule(by_hand: Conjunctions):
    assert induce(np.zeros(len(by_hand.grammar.fit)), by_hand) is None
    assert induce(np.ones(len(by_hand.grammar.fit)), by_hand) is None


def examples(grammar: Grammar, tokens: TokenSample, inside: np.ndarray, n: int = 20, seed: int = 0) -> np.ndarray:
    """Which rules hold at n tokens drawn from a set of fit tokens."""
    rng = np.random.default_rng(seed)
    at = rng.choice(np.flatnonzero(inside & tokens.is_fit), n, replace=False)
    return grammar.holds(np.asarray(tokens.stream_position)[at])


def test_examples_of_a_conjunction_give_its_rule_and_their_order_does_not_matter(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions, covers = Conjunctions(grammar), membership(grammar, tokens)
    atoms = random_pair(conjunctions, np.random.default_rng(0))
    held = examples(grammar, tokens, covers[:, list(atoms)].all(axis=1))
    found = induce_from_examples(held, conjunctions)
    assert found is not None
    assert held[:, list(found)].all()
    own, given = (conjunctions.base_rate("fit", one) * 2 ** len(one) for one in (found, atoms))
    assert own <= given, "every atom is charged a factor of two"
    for seed in range(5):
        turned = np.random.default_rng(seed).permutation(len(held))
        assert induce_from_examples(held[turned], conjunctions) == found


def test_from_examples_no_rule_is_too_broad_thin_or_of_few_documents_and_none_covers_more(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions = Conjunctions(grammar)
    for seed in range(30):
        held = examples(grammar, tokens, np.ones(len(tokens), bool), seed=seed)
        found = induce_from_examples(held, conjunctions)
        assert found is not None
        assert conjunctions.base_rate("fit", found) <= MOST_BASE_RATE
        assert conjunctions.n("fit", found) >= FEWEST_TOKENS
        assert grammar.n_documents(found) >= FEWEST_DOCUMENTS
        narrow = held[:, conjunctions.supported & (grammar.base_rate_fit <= MOST_BASE_RATE)]
        assert held[:, list(found)].all(axis=1).sum() >= narrow.sum(axis=0).max()


def test_from_examples_a_further_atom_halves_the_base_rate_or_makes_the_rule_narrow_enough(made_up: tuple):
    grammar, tokens, _ = made_up
    conjunctions = Conjunctions(grammar)
    covers = membership(grammar, tokens)
    sizes = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rules = rng.choice(np.flatnonzero(grammar.n_fit > 400), 2, replace=False)
        inside = covers[:, rules].all(axis=1)
        if (inside & tokens.is_fit).sum() < 20:
            continue
        held = examples(grammar, tokens, inside, seed=seed)
        found = induce_from_examples(held, conjunctions)
        assert found is not None
        sizes.add(len(found))
        covered = held[:, list(found)].all(axis=1).sum()
        for left_out in range(len(found)):
            shorter = found[:left_out] + found[left_out + 1 :]
            if shorter and held[:, list(shorter)].all(axis=1).sum() == covered:
                base_rate = conjunctions.base_rate("fit", shorter)
                assert base_rate > MOST_BASE_RATE or conjunctions.base_rate("fit", found) < base_rate / 2 + 1e-12
    assert max(sizes) > 1


def test_a_class_after_a_space_reads_without_a_second_after(made_up: tuple):
    grammar, *_ = made_up
    conjunctions = Conjunctions(grammar)
    atoms = atoms_of(grammar, "a lower-case word after a space", "after letters only")
    assert conjunctions.sentence(atoms) == "a lower-case word with its leading space after letters only"


def test_without_examples_there_is_no_rule(by_hand: Conjunctions):
    assert induce_from_examples(np.zeros((20, len(by_hand.grammar)), bool), by_hand) is None
