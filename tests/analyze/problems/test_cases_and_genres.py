"""Which neurons tell two meanings apart, which dimensions genres keep, and where names are held."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.problems import genre_subspaces
from analyze.problems.cases_one_layer import measure as measure_one_layer
from analyze.problems.cases_two_layers import measure as measure_two_layers
from analyze.problems.feature_directions import Features, activations_at, features_of
from analyze.problems.genre_subspaces import Genres, genres_of, overlaps_of
from analyze.problems.genre_subspaces import measure as measure_genres
from analyze.problems.genre_subspaces import planted as planted_genres
from analyze.problems.name_dimensions import measure as measure_names
from analyze.problems.name_dimensions import planted as planted_names
from analyze.problems.name_dimensions import sentences_of
from analyze.problems.name_task import Offsets, OwnModel, Pairs, Site, Size
from analyze.problems.name_task import measure_names as measure_names_of
from analyze.problems.neuron_cases import Teller, cases_of, planted_cases
from analyze.problems.subject import Subject, of_checkpoint
from train.checkpoint import load
from train.model import Transformer


def test_a_neuron_has_two_cases_where_two_labels_share_its_firings() -> None:
    generator = torch.Generator().manual_seed(0)
    where = torch.rand((3, 20_000), generator=generator) < 0.02
    values = 0.1 * torch.rand((20_000, 3), generator=generator)
    values[where[0], 0] += 1
    values[where[1], 0] += 1  # neuron 0 answers to labels 0 and 1
    values[where[2], 1] += 1  # neuron 1 to one label; neuron 2 to none
    values[:, 0] += 0.01 * torch.rand(20_000, generator=generator)
    (found,) = cases_of(values, Features(("a", "b", "c"), where))
    assert found.neuron == 0
    assert set(found.labels) == {"a", "b"}
    first, second = found.positions
    assert not set(first.tolist()) & set(second.tolist())
    by_name: dict[str, torch.Tensor] = {"a": where[0], "b": where[1], "c": where[2]}
    assert by_name[found.labels[0]][first].all()
    assert not by_name[found.labels[1]][first].any()


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_planted_tellers_are_found(n_layers: int) -> None:
    subject = planted_cases("planted", 0, n_layers, own_tellers=True)
    assert subject.rows is not None
    teller = Teller.of(subject.model, subject.rows)
    cases = cases_of(activations_at(subject.model, subject.rows, 0, "post"), features_of(subject))
    of_pair = next(each for each in cases if each.neuron < 8)
    found = teller.telling(of_pair, of_pair.neuron if n_layers == 1 else None)
    assert found is not None
    assert found.k90 == 4
    assert found.by_mlp > 0.9
    assert np.median(found.k90_random) > 16
    assert found.fall[-1] == pytest.approx(1, abs=1e-4)


def test_what_the_direct_path_tells_is_not_asked_of_the_mlp() -> None:
    subject = planted_cases("planted", 0, 1, own_tellers=True)
    assert subject.rows is not None
    last = subject.model.mlp(0)
    last.fc_out.weight.mul_(1e-3)
    subject.model.head.weight.add_(subject.model.tok_embed.weight)
    measured = measure_one_layer(subject)
    assert "the last MLP tells those of 0 apart" in measured.why_not


def test_contributions_add_up_to_the_whole_fall() -> None:
    subject = planted_cases("planted", 1, 1, own_tellers=True)
    assert subject.rows is not None
    teller = Teller.of(subject.model, subject.rows)
    cases = cases_of(teller.neurons, features_of(subject))[0]
    positions = [torch.from_numpy(each[:60]) for each in cases.positions]
    others = np.arange(64)
    whole = teller._divergence(positions, []) - teller._divergence(positions, others)
    assert teller._contributions(positions, others).sum() == pytest.approx(whole, rel=0.15)


def test_a_rotated_circuit_needs_no_fewer_neurons_than_chance() -> None:
    for measure, n_layers in ((measure_one_layer, 1), (measure_two_layers, 2)):
        measured = measure(planted_cases("rotated", 2, n_layers, own_tellers=False))
        assert measured.null.mean() - measured.statistic < 2


def test_genres_that_have_dimensions_of_their_own_do_not_overlap() -> None:
    subject = planted_genres(0)
    assert subject.rows is not None
    genres = genres_of(subject)
    assert len(genres.names) == 4
    half = np.arange(len(genres.genre)) // 4 % 2
    values = activations_at(subject.model, subject.rows, 1, "resid_final").double()
    overlaps = overlaps_of(values, genres, half)
    assert np.diag(overlaps).min() > 0.8
    assert overlaps[~np.eye(4, dtype=bool)].max() < 0.1


def test_overlaps_do_not_depend_on_how_many_tokens_a_genre_has() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn((9000, 16), generator=generator, dtype=torch.float64) * torch.linspace(0.5, 2, 16)
    document = np.repeat(np.arange(90), 100)
    genre = np.r_[np.zeros(60, int), np.ones(30, int)]
    overlaps = overlaps_of(values, Genres(("large", "small"), document, genre), np.arange(90) % 2)
    assert np.ptp(overlaps) < 0.25


def test_text_without_topics_has_no_genres(runs: list[Path]) -> None:
    subject = of_checkpoint(load(runs[0]))
    assert "the held-out rows have 0 genres" in measure_genres(subject).why_not
    planted = planted_genres(0)
    bare = Subject("bare", "bare", 0, planted.model, rows=planted.rows, planted_labels={})
    assert "the held-out rows have 0 genres" in measure_genres(bare).why_not


def test_topics_of_the_data_are_its_genres(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = of_checkpoint(load(runs[0]))
    assert subject.text_source is not None
    assert subject.rows is not None
    table = subject.text_source.documents()
    topics = ["Uncategorized" if i % 3 == 0 else ("art", "law")[i % 2] for i in range(len(table))]
    table = table.with_columns(topic=pl.Series(topics))
    monkeypatch.setattr(type(subject.text_source), "documents", lambda self: table)
    monkeypatch.setattr(genre_subspaces, "LEAST_TOKENS", 10)
    genres = genres_of(subject)
    assert genres.names == ("art", "law")
    assert len(genres.document) == subject.rows[:, 1:].numel()
    inside = genres.document >= 0
    assert set(np.array(topics)[genres.document[inside]]) == {"art", "law", "Uncategorized"}
    assert (genres.genre[np.array(topics) == "Uncategorized"] == -1).all()


def test_a_model_without_the_circuit_cannot_be_asked_for_names() -> None:
    subject = planted_names(0)
    untrained = Transformer(subject.model.config, 5).eval().requires_grad_(False)
    measured = measure_names(Subject("untrained", "untrained", 0, untrained, planted_strings=tuple(subject.strings)))
    assert "the circuit is lacking" in measured.why_not


def test_a_vocabulary_without_names_cannot_be_asked_for_them() -> None:
    subject = planted_names(0)
    strings = tuple(f"word{i}" for i in range(subject.model.config.d_vocab - 1))
    measured = measure_names(Subject("x", "x", 0, subject.model, planted_strings=("?", *strings)))
    assert "names are one token" in measured.why_not


def test_the_other_sentence_turns_the_answer_where_the_head_brings_the_name() -> None:
    model, rng = OwnModel(planted_names(0).model), np.random.default_rng(0)
    wordings = [Pairs.of(sentences_of(planted_names(0)).prompts(64, rng)) for _ in range(2)]
    clean = [each.difference(model) for each in wordings]
    again, end = Offsets.before(model, wordings, clean, 1, Size())
    assert end.turned_by(None) == pytest.approx(1, abs=0.05)
    assert again.turned_by(None) == pytest.approx(0, abs=0.05)
    assert end.turned_by(torch.zeros((64, 64), dtype=torch.float64)) == pytest.approx(0, abs=1e-6)
    assert Site.of(end).curve(np.array([4]), None)[0] > 0.85
    assert end.turned_by_order() < 0.2


def test_too_few_sentences_for_the_names_give_no_answer() -> None:
    size = Size(wordings=1, prompts=8, draws=1)
    measured = measure_names_of(OwnModel(planted_names(0).model), sentences_of(planted_names(0)), [1], size)
    assert "too few sentences" in measured.why_not


def test_before_the_name_was_moved_the_answer_is_turned_where_it_stands() -> None:
    model, rng = OwnModel(planted_names(0).model), np.random.default_rng(0)
    wordings = [Pairs.of(sentences_of(planted_names(0)).prompts(64, rng))]
    clean = [each.difference(model) for each in wordings]
    again, end = Offsets.before(model, wordings, clean, 0, Size())
    assert again.turned_by(None) == pytest.approx(1, abs=0.05)
    assert end.turned_by(None) == pytest.approx(0, abs=0.05)
