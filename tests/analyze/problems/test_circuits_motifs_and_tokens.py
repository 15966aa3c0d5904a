"""Programs of 4.32 to 4.36 and 4.45 measure what was planted."""

import numpy as np
import pytest
import torch

from analyze.interventions import losses
from analyze.interventions.carriers import carriers, rise_without
from analyze.problems import adversarial_tokens, asymmetric_motif, feature_circuit, simple_probes, superposition_test
from analyze.problems.label_probes import Curve, Probes, shifted_ceiling
from analyze.problems.probes_and_use import like
from tests.analyze.interventions.planted_circuit import CARRIERS, planted_circuit, rows, where
from train.errors import BadInput
from train.model import Transformer

ROWS = rows()


def test_the_loss_without_neurons_rises_by_what_the_carriers_say() -> None:
    model = planted_circuit()
    found = carriers(model, ROWS, where(ROWS), layer=0, most=3, orders=0)
    rise = rise_without(model, ROWS, where(ROWS), layer=0)
    assert rise([]) == 0
    assert [rise([neuron]) for neuron in range(40)] == pytest.approx(found.alone.tolist())
    assert rise(CARRIERS) == pytest.approx(found.rise[2])
    attention_only = Transformer(model.config.model_copy(update={"act": "none"}), 0)
    with pytest.raises(BadInput, match="no MLPs"):
        rise_without(attention_only, ROWS, where(ROWS), layer=0)


def test_a_circuit_writes_two_values_where_and_where_not_and_through_batches_of_rows() -> None:
    subject = feature_circuit.planted(0)
    assert subject.rows is not None
    marks = subject.labels["feature 2"]
    circuit = feature_circuit.Circuit(torch.tensor([2]), torch.tensor([5.0]), torch.tensor([-1.0]))
    seen = []
    change = feature_circuit.written(0, circuit, marks)
    for chunk in subject.rows[:, :-1].split(16):
        seen.append(change.edit(subject.model.mlp_activations(chunk, 0, "post")))
    values = torch.cat(seen)
    assert set(values[marks][:, 2].tolist()) == {5.0}
    assert set(values[~marks][:, 2].tolist()) == {-1.0}
    plain = subject.model.mlp_activations(subject.rows[:, :-1], 0, "post")
    others = torch.arange(48) != 2
    torch.testing.assert_close(values[..., others], plain[..., others])
    assert len(losses(subject.model, subject.rows, [feature_circuit.written(0, circuit, marks)])) == len(subject.rows)


def test_the_circuit_of_a_planted_feature_is_its_neuron() -> None:
    found = feature_circuit.measure(feature_circuit.planted(3))
    table = found.tables["circuit"]
    assert table["neuron"].to_list() == [int(table["label"][0].removeprefix("feature "))]
    assert found.statistic > 0.95
    assert found.null.max() < 0.1


def test_a_motif_is_counted_once_and_only_with_its_inhibitor() -> None:
    driven, written = np.zeros((3, 5)), np.zeros((3, 5))
    driven[0, 2], driven[1, 2] = 2.0, 0.8  # neuron 2: strong in for feature 0, weak in for feature 1
    written[0, 2], written[1, 2] = 0.8, 2.0  # and the other way out
    assert asymmetric_motif.n_motifs(driven, written) == 0
    assert asymmetric_motif.shared(driven, written) == 1
    driven[0, 4], written[1, 4] = 2.0, -2.0  # the inhibitor
    assert asymmetric_motif.n_motifs(driven, written) == 1
    assert np.argwhere(asymmetric_motif.motifs(driven, written)).tolist() == [[0, 1, 2]]
    written[0, 2] = 2.0  # strong out for both: symmetric
    assert asymmetric_motif.n_motifs(driven, written) == 0


def test_counting_motifs_gives_as_many_as_holding_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        driven, written = rng.standard_normal((12, 400)), rng.standard_normal((12, 400))
        assert asymmetric_motif.n_motifs(driven, written) == asymmetric_motif.motifs(driven, written).sum() > 0


def test_planted_motifs_are_found_with_their_neurons() -> None:
    found = asymmetric_motif.measure(asymmetric_motif.planted(1))
    assert sorted(found.tables["motifs"]["neuron"].to_list()) == list(range(12))
    first = found.tables["motifs"].filter(neuron=3)
    assert (first["strong in"][0], first["strong out"][0]) == ("feature 3", "feature 8")


def test_neurons_change_places_only_within_bins_of_length() -> None:
    lengths = np.arange(40.0)
    place = asymmetric_motif._within_bins(lengths, np.random.default_rng(0))
    assert sorted(place) == list(range(40))
    assert (place // 10 == np.arange(40) // 10).all()
    assert (place != np.arange(40)).any()


def test_exchanged_tokens_are_never_of_the_main_feature_and_fool_neurons_of_two_groups() -> None:
    subject = adversarial_tokens.planted(0)
    assert subject.rows is not None
    known = {each.neuron: each for each in adversarial_tokens.known_of(subject.model, subject.rows)}
    few, many = known[0], known[1]
    assert few.kinds < many.kinds
    assert int(few.main.sum()) == 4  # one group of like tokens
    for each, fooled in ((few, 0.0), (many, 1.0)):
        attack = adversarial_tokens.Attack(subject.model, each, subject.rows[:8, :24])
        assert not each.main[attack.contexts[:, -3:]].any()
        assert attack.along_the_gradient() == fooled
        assert attack.at_random(np.random.default_rng(0)) <= fooled


def test_pairs_have_weights_of_like_length_and_other_kinds() -> None:
    subject = adversarial_tokens.planted(0)
    assert subject.rows is not None
    pairs = adversarial_tokens.paired(subject.model, adversarial_tokens.known_of(subject.model, subject.rows))
    assert len({each.neuron for pair in pairs for each in pair}) == 2 * len(pairs)
    assert all(few.kinds <= many.kinds for few, many in pairs)


def test_probes_of_few_columns_are_those_that_hold_the_label() -> None:
    generator = torch.Generator().manual_seed(0)
    where = torch.rand((2, 4000), generator=generator) < 0.1
    values = torch.randn((4000, 20), generator=generator)
    values[:, 7] += 8 * where[0]
    values[:, [3, 12]] += 2.5 * where[1][:, None]
    probes = Probes(values, where, torch.arange(4000) % 2 == 0)
    one, two = probes.curves()
    assert one.neurons[0] == 7
    assert one.needed == 1
    assert set(two.neurons[:2]) == {3, 12}
    assert two.needed == 2
    assert two.sparse[1] > two.best_neuron + 0.05
    assert one.base == pytest.approx(0.1, abs=0.02)
    ceiling = shifted_ceiling(values, where, torch.arange(4000) % 2 == 0)
    assert max(ceiling) < 0.3 < min(one.dense, two.dense)


def test_a_wide_layer_keeps_the_numbers_of_its_neurons() -> None:
    values = torch.randn((600, 2100), generator=torch.Generator().manual_seed(0))
    where = torch.rand((1, 600), generator=torch.Generator().manual_seed(1)) < 0.2
    values[:, 2099] += 9 * where[0]
    assert Probes(values, where, torch.arange(600) % 2 == 0).curves()[0].neurons[0] == 2099


def test_the_smallest_probe_is_counted_above_the_base_rate() -> None:
    assert Curve(0.5, (0.60, 0.94, 0.95), 0.6, 1.0, ()).needed == 4
    assert Curve(0.0, (0.60, 0.94, 0.95), 0.6, 1.0, ()).needed == 2
    assert Curve(0.0, (0.1, 0.2), 0.1, 1.0, ()).needed is None


def test_random_neurons_are_others_of_like_variance() -> None:
    spreads = np.arange(40.0)
    drawn = like([1, 2, 35], spreads, np.random.default_rng(0))
    assert not {1, 2, 35} & set(drawn)
    assert len(set(drawn)) == 3
    assert [neuron // 10 for neuron in drawn] == [0, 0, 3]


def test_labels_with_neurons_of_their_own_need_one_and_turned_ones_several() -> None:
    assert simple_probes.measure(simple_probes.planted(0)).details["median k"] == 1
    assert simple_probes.measure(simple_probes.null(0)).details["median k"] >= 4


def test_psi_that_is_the_truth_accounts_for_all_and_one_that_is_far_off_for_nothing() -> None:
    truth = np.array([1.0, 1.5, 2.0, 4.0])
    assert superposition_test.accounted(truth, truth) == 1
    assert superposition_test.accounted(3 * truth, truth) == 0
    assert 0.9 < superposition_test.accounted(1.1 * truth, truth) < 1


def test_the_truth_of_a_mixture_is_its_even_features_over_dimensions() -> None:
    neurons = torch.eye(64).repeat(20, 1)
    mixture = superposition_test.mixed(neurons, torch.arange(64), 32, seed=0)
    assert mixture.truth == pytest.approx(2.0)
    assert mixture.values.shape == (1280, 16)


def test_dense_and_dead_neurons_are_no_features() -> None:
    neurons = torch.zeros((100, 3))
    neurons[:5, 0] = 1.0
    neurons[:, 1] = 1.0
    assert superposition_test.living(neurons).tolist() == [0]
