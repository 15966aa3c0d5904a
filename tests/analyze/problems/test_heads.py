"""Heads are found by what they attend to, and what they pass on by what is lost without it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from analyze.interventions import head_ablation
from analyze.problems.components import Components, first_with, overlap, rotations
from analyze.problems.heads import Head, Heads, attention_weights, gain_of, heads_of, repeated_rows
from analyze.problems.induction_copying import measure as measure_copying
from analyze.problems.induction_copying import readers_of, values_of
from analyze.problems.planted_induction import FEW, induction_model, induction_subject
from analyze.problems.previous_token_key import Pair
from analyze.problems.previous_token_key import measure as measure_key
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer


@pytest.fixture(scope="module")
def subject() -> Subject:
    return induction_subject("planted", 0)


def rows_of(subject: Subject) -> Tensor:
    assert subject.rows is not None
    return subject.rows


def test_repeated_rows_hold_one_segment_twice_in_two_lengths(subject: Subject) -> None:
    longer, shorter = repeated_rows(rows_of(subject))
    assert longer.length > shorter.length
    for each in (longer, shorter):
        first, again = each.rows[:, each.first], each.rows[:, each.again]
        assert torch.equal(first, again)
        assert all(len(set(row.tolist())) == each.length for row in first)


def test_rows_with_too_few_tokens_repeat_nothing() -> None:
    assert repeated_rows(torch.ones((64, 41), dtype=torch.int64)) == []


def test_hand_built_heads_are_found_where_they_stand(subject: Subject) -> None:
    heads = heads_of(subject.model, repeated_rows(rows_of(subject)))
    assert heads.best_induction.name == "1.0"
    assert heads.best_previous.name == "0.0"
    assert heads.why_no_induction() == heads.why_no_previous() == ""
    assert heads.gain > 5


def test_heads_that_change_places_are_found_at_their_new_place() -> None:
    model = induction_model(0)
    for layer in (0, 1):
        attention = model.block(layer).attn
        for part in (attention.q, attention.k, attention.v):
            part.weight.copy_(part.weight.roll(32, 0))
        attention.o.weight.copy_(attention.o.weight.roll(32, 1))
    heads = heads_of(model, repeated_rows(rows_of(induction_subject("x", 0))))
    assert (heads.best_induction.name, heads.best_previous.name) == ("1.2", "0.2")


def test_an_untrained_model_has_no_induction_head(subject: Subject) -> None:
    untrained = Transformer(subject.model.config, 3).requires_grad_(False)
    heads = heads_of(untrained, repeated_rows(rows_of(subject)))
    assert "no induction head" in heads.why_no_induction()
    assert measure_copying(Subject("u", "u", 0, untrained, rows=rows_of(subject))).why_not
    assert measure_key(Subject("u", "u", 0, untrained, rows=rows_of(subject))).why_not


def test_a_head_that_looks_back_by_a_fixed_distance_is_no_induction_head(subject: Subject) -> None:
    longer, shorter = repeated_rows(rows_of(subject))
    model = induction_model(0, distance=longer.length - 1)
    assert heads_of(model, [longer]).induction[1, 0] > 0.8
    assert heads_of(model, [longer, shorter]).induction[1, 0] < 0.1


def test_attention_weights_are_those_of_the_model(subject: Subject) -> None:
    tokens = rows_of(subject)[:2, :10]
    weights = attention_weights(subject.model, tokens, 0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 10))
    attention = subject.model.block(0).attn
    read = subject.model.block(0).ln1(subject.model.embed(tokens))
    v = attention.v(read).view(2, 10, 4, 16).transpose(1, 2)
    z = (weights @ v).transpose(1, 2).reshape(2, 10, 64)
    torch.testing.assert_close(attention.o(z), attention(read), atol=1e-5, rtol=1e-4)


def test_without_its_heads_a_repetition_is_no_easier(subject: Subject) -> None:
    repeated = repeated_rows(rows_of(subject))
    without = gain_of(subject.model, repeated, [head_ablation(1, [0])])
    assert without < 0.2 * gain_of(subject.model, repeated)


def test_scores_below_the_thresholds_are_no_heads() -> None:
    low, high = np.full((2, 2), 0.1), np.full((2, 2), 0.9)
    assert "no induction head" in Heads(low, high, 3.0).why_no_induction()
    assert "nats a token easier" in Heads(np.array([[0, 0], [0, 0.9]]), high, 0.1).why_no_induction()
    assert "no previous-token head" in Heads(np.array([[0, 0], [0, 0.9]]), low, 3.0).why_no_previous()
    assert "no induction head" in Heads(np.array([[0.9, 0], [0, 0]]), high, 3.0).why_no_induction()  # of layer 0


def test_components_give_the_best_approximation_of_each_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn((200, 6), generator=generator, dtype=torch.float64)
    readers = torch.randn((90, 6), generator=generator, dtype=torch.float64) * torch.tensor([5, 3, 2, 1, 1, 0.1])
    values, readers = values - values.mean(0), readers - readers.mean(0)
    components = Components.of(values, readers)
    u, s, v = torch.linalg.svd(values @ readers.T, full_matrices=False)
    torch.testing.assert_close(components.sizes, s[:6])
    for k in (1, 3, 6):
        best = u[:, :k] * s[:k] @ v[:k]
        torch.testing.assert_close(values @ components.keeping(k) @ readers.T, best)


def test_random_directions_are_projections_of_the_same_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    values, readers = (torch.randn((50, 5), generator=generator, dtype=torch.float64) for _ in range(2))
    components = Components.of(values, readers)
    for turn in rotations(5, 3):
        torch.testing.assert_close(turn @ turn.T, torch.eye(5, dtype=torch.float64))
        matrix = components.keeping(2, turn)
        torch.testing.assert_close(matrix @ matrix, matrix)
        assert int(torch.linalg.matrix_rank(matrix)) == 2
    assert len({round(float(turn[0, 0]), 6) for turn in rotations(5, 3)}) == 3


def test_overlap_is_one_within_a_span_and_the_share_of_dimensions_by_chance() -> None:
    eye = torch.eye(40, dtype=torch.float64)
    assert overlap(eye[:, :4], eye[:, :8]) == pytest.approx(1)
    assert overlap(eye[:, :4], eye[:, 4:8]) == pytest.approx(0)
    chance = [overlap(turn[:, :4], eye[:, :10]) for turn in rotations(40, 100)]
    assert np.mean(chance) == pytest.approx(0.25, abs=0.02)


def test_a_curve_reaches_its_share_where_it_first_does() -> None:
    assert first_with(np.array([0.1, 0.5, 0.89, 0.9, 1.0]), 0.9) == 4
    assert first_with(np.array([1.0, 1.0]), 0.9) == 1


def test_the_dimensions_of_a_planted_copy_are_counted() -> None:
    measured = measure_copying(induction_subject("planted", 1, copied=FEW))
    assert measured.details["dimensions for 90 %"] == pytest.approx(FEW, abs=1)
    assert measured.details["copying eigenvalues, positive share"] > 0.9
    assert measured.details["gain kept with these"] > 0.7
    assert measured.null.mean() > 0.7


def test_the_head_tells_the_token_it_gathers_and_not_another(subject: Subject) -> None:
    longer = repeated_rows(rows_of(subject))[0]
    head = Head(1, 0, 1.0)
    scores = values_of(subject.model, longer, head) @ readers_of(subject.model, head)[longer.rows[:, longer.first]].mT
    assert float((scores.argmax(-1) == torch.arange(longer.length)).double().mean()) > 0.95


def test_only_what_the_key_loses_costs_the_gain() -> None:
    subject = induction_subject("planted", 0, matched=FEW)
    repeated = repeated_rows(rows_of(subject))
    heads = heads_of(subject.model, repeated)
    pair = Pair(subject.model, heads.best_previous, heads.best_induction)
    none = torch.zeros((16, 16), dtype=torch.float64)
    assert pair.gain_without(repeated, none) == pytest.approx(heads.gain, rel=1e-4)
    components = pair.components(repeated[0])
    kept = torch.eye(16, dtype=torch.float64) - components.keeping(FEW)
    assert pair.gain_without(repeated, components.keeping(FEW)) < 0.3 * heads.gain
    assert pair.gain_without(repeated, kept) > 0.7 * heads.gain


def test_a_model_of_one_layer_is_not_asked() -> None:
    from analyze.problems import PROBLEMS

    config = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_ctx=16, d_vocab=20, act="none")
    one = Subject("one", "one", 0, Transformer(config), rows=torch.randint(0, 20, (16, 17)))
    for name in ("4.21", "4.22", "4.23", "4.30"):
        assert "needs 2 layers" in PROBLEMS[name].needs.why_not(one)
