"""Embeddings of the training text and clusters of documents."""

import numpy as np

from analyze.text.embeddings import k_means, ppmi_svd, unit_rows


def two_topics(n: int = 4000) -> np.ndarray:
    """Documents of 20 tokens, either of ids 1..10 or of ids 11..20, each ended by a separator (0)."""
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 2, n // 20)
    documents = [np.append(rng.integers(1, 11, 20) + 10 * t, 0) for t in topic]
    return np.concatenate(documents)


def test_tokens_of_the_same_contexts_lie_together_and_others_apart():
    vectors = ppmi_svd(two_topics(), 25, d_embed=4)
    near, far = vectors[1:11] @ vectors[1:11].T, vectors[1:11] @ vectors[11:21].T
    assert near.mean() > 0.8
    assert far.mean() < 0.2


def test_embeddings_have_unit_length_and_unseen_tokens_are_zero():
    vectors = ppmi_svd(two_topics(), 25, d_embed=4)
    np.testing.assert_allclose(np.linalg.norm(vectors[1:21], axis=1), 1.0)
    assert not vectors[21:].any()
    assert not vectors[0].any(), "the separator has no neighbours"


def test_the_same_stream_gives_the_same_embeddings():
    np.testing.assert_array_equal(ppmi_svd(two_topics(), 25), ppmi_svd(two_topics(), 25))


def test_pairs_never_reach_across_documents():
    alternating = np.array([1, 2, 0, 3, 4, 0] * 50)
    vectors = ppmi_svd(alternating, 5, d_embed=4)
    assert abs(vectors[2] @ vectors[3]) < 1e-6


def test_k_means_finds_groups_that_are_there_and_is_deterministic():
    rng = np.random.default_rng(1)
    centres = np.eye(3, 8)
    truth = np.repeat(np.arange(3), 40)
    points = unit_rows(centres[truth] + 0.1 * rng.standard_normal((120, 8)))
    found = k_means(points, 3)
    assert len({(t, f) for t, f in zip(truth, found)}) == 3
    np.testing.assert_array_equal(found, k_means(points, 3))


def test_k_means_of_fewer_distinct_points_than_clusters_still_ends():
    assert set(k_means(np.repeat(np.eye(2), 5, axis=0), 4)) == {0, 1}
