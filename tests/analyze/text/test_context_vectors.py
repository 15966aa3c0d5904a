"""Views of contexts: what makes two tokens alike in each, and what is nothing alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from analyze.text.context_vectors import WINDOW, Contexts, build_contexts, contexts_of
from analyze.text.embeddings import document_vectors, unit_rows
from analyze.text.stream import BOS, Stream
from analyze.text.vocabulary import Vocabulary
from tests.analyze.activations.synthetic import sampled_tokens
from tests.analyze.scores.scoring import activations_of, made_up_data
from train.errors import BadInput

N_CTX = 16
STARTS, LENGTHS = np.array([0, 21]), np.array([20, 30])


@pytest.fixture(scope="module")
def stream() -> tuple[np.ndarray, np.ndarray]:
    """Two documents of ids 1..11, separators after them, and vectors of the ids (11 has none)."""
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.integers(1, 8, 21), rng.integers(5, 11, 31)])
    ids[[20, 51]] = BOS
    ids[3] = 11
    vectors = unit_rows(rng.standard_normal((12, 6)))
    vectors[[BOS, 11]] = 0
    return ids, vectors


@pytest.fixture(scope="module")
def contexts(stream: tuple[np.ndarray, np.ndarray]) -> Contexts:
    ids, vectors = stream
    vocabulary = Vocabulary(tuple(b"<|bos|>" if i == 0 else b" w%d" % i for i in range(12)))
    return build_contexts(Stream(ids, STARTS, LENGTHS, vocabulary, N_CTX, paths=[None, None]), vectors)


def view(contexts: Contexts, name: str) -> np.ndarray:
    """[s d] of one view."""
    return contexts.views[contexts.names.index(name)].vectors(np.arange(len(contexts.fingerprint)))


def by_loops(ids: np.ndarray, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """The token views from their definition, one position at a time."""
    table = np.hstack([vectors, np.zeros((12, 1))])
    table[BOS, -1] = 1
    raw = {name: np.zeros((52, 7)) for name in ("current", "previous", "window")}
    for start, length in zip(STARTS, LENGTHS):
        for p in range(start, start + length):
            first = max(start, p // N_CTX * N_CTX)
            before = [ids[q] for q in range(p - WINDOW, p) if q >= first]
            known = [token for token in before if token != 11]
            raw["current"][p] = table[ids[p]]
            raw["previous"][p] = table[before[-1]] if before else table[BOS]
            raw["window"][p] = np.mean([table[token] for token in known], axis=0) if known else 0
            if not before:
                raw["window"][p] = table[BOS]
    for name, vector in raw.items():
        seen = np.asarray(vector.any(axis=1))
        raw[name] = unit_rows(np.where(seen[:, None], vector - vector[seen].mean(axis=0), 0))
    return raw


@pytest.mark.parametrize("name", ["current", "previous", "window"])
def test_a_view_is_what_its_definition_says_position_by_position(stream: tuple, contexts: Contexts, name: str):
    np.testing.assert_allclose(view(contexts, name), by_loops(*stream)[name], atol=1e-9)


def test_vectors_have_unit_length_and_separators_and_unseen_tokens_are_zero(stream: tuple, contexts: Contexts):
    ids, _ = stream
    for name in contexts.names:
        length = np.linalg.norm(view(contexts, name), axis=1)
        assert not length[[20, 51]].any()
        known = (ids != BOS) & ((ids != 11) | (name in ("document", "form")))
        if name in ("previous", "window"):
            known[[0, 3, 4]] = [True, True, name == "window"]
        np.testing.assert_allclose(length[known], 1)
    assert not view(contexts, "current")[ids == 11].any()


def test_tokens_of_one_document_share_its_vector_and_two_documents_are_opposite_once_centred(contexts: Contexts):
    vectors = view(contexts, "document")
    np.testing.assert_allclose(vectors[0], vectors[19])
    assert vectors[0] @ vectors[30] == pytest.approx(-1)


def test_a_document_is_the_mean_of_its_tokens_weighed_by_rarity():
    vectors = np.eye(3)
    found = document_vectors(np.array([0, 1, 1, 0, 2]), np.array([0, 0, 0, 1, 1]), vectors, 2)
    everywhere, once = np.log(3 / 3), np.log(3 / 2)
    np.testing.assert_allclose(found, unit_rows(np.array([[everywhere, 2 * once, 0], [everywhere, 0, once]])))


def test_fingerprints_are_equal_where_the_last_tokens_are_the_same():
    ids = np.array([*range(1, 11), 99, *range(1, 11), BOS])
    vocabulary = Vocabulary(tuple(b"%d" % i for i in range(100)))
    made = build_contexts(Stream(ids, np.array([0]), np.array([21]), vocabulary, 64, paths=[None]), np.eye(100))
    # Ids 9 and 10 follow the same eight tokens both times; id 8 has seven before it the first time.
    same = [ids[p] for p in range(10) if made.fingerprint[p] == made.fingerprint[p + 11]]
    assert same == [9, 10]
    assert len(np.unique(made.fingerprint[:11])) == 11


def test_contexts_of_activations_are_those_of_their_data_and_others_are_refused(tmp_path: Path):
    data = made_up_data(tmp_path)
    tokens = sampled_tokens(data)
    acts = activations_of(np.ones((len(tokens), 1)), data, tokens)
    found = contexts_of(acts)
    assert found.names == ("current", "previous", "window", "document", "form")
    vocabulary = Vocabulary.of(Tokenizer.from_file(str(data / "tokenizer.json")))
    river = vocabulary.pieces.index(b" river")
    current = found.views[0].vectors(np.asarray(tokens.stream_position)[tokens.ids == river])
    np.testing.assert_allclose(current @ current[0], 1)
    with pytest.raises(BadInput, match="not those of the sample"):
        contexts_of(replace(acts, tokens=replace(tokens, ids=np.roll(tokens.ids, 1))))
    with pytest.raises(BadInput, match="not the data"):
        contexts_of(replace(acts, meta=replace(acts.meta, data_hash="another")))
