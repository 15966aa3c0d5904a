"""Each program's network and task against what they are said to be."""

from itertools import product

import numpy as np
import pytest
import torch

from train.toys.programs import attention, bases, bumps, collisions, compressed, gru, overlap, parity, shrinking
from train.toys.programs.base import generator, initial


def test_parities_are_those_of_whole_numbers() -> None:
    settings = parity.ParitySettings(task="xor", bits=4)
    assert [list(group) for group in parity.groups(4)] == [[0, 1], [2, 3], [0, 1, 2, 3]]
    bits = (parity.inputs(4) < 0).int()
    assert len({tuple(row.tolist()) for row in bits}) == 16
    for row, answer in zip(bits, parity.answers(settings)):
        expected = [sum(row[list(group)].tolist()) % 2 for group in parity.groups(4)]
        assert (answer < 0).int().tolist() == expected


def test_the_twin_of_parities_is_a_sum_of_variance_one() -> None:
    answers = parity.answers(parity.ParitySettings(task="sum", bits=4))
    assert torch.allclose(answers.var(0, correction=0), torch.ones(3))
    assert torch.allclose(answers[:, 2], (answers[:, 0] + answers[:, 1]) / 2**0.5)


def test_bits_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="bits: 6 cannot be paired"):
        parity.ParitySettings(task="xor", bits=6)


@pytest.mark.parametrize(("reads", "writes", "start"), [([1.0, -1.0], 0.5, 0.0), ([1.0, 1.0], -0.5, 1.0)])
def test_either_basis_alone_solves_the_xor(reads: list[float], writes: float, start: float) -> None:
    parameters = {
        "W1": torch.tensor([[reads, [-each for each in reads]]]),
        "b1": torch.zeros(1, 2),
        "W2": torch.tensor([[writes, writes]]),
        "b2": torch.tensor([start]),
    }
    loss = bases.PROGRAM.losses(bases.BasesSettings(width=2), parameters, 0, generator(0))
    assert loss.tolist() == [0.0]


def test_the_circle_and_its_points_have_equal_mean_and_covariance() -> None:
    circle = bumps.BumpsSettings(angles="circle", latents=1, noise=0.0)
    points = bumps.BumpsSettings(angles="points", latents=1, noise=0.0)
    whole = bumps.code(circle, torch.arange(4800) * (2 * np.pi / 4800)).double()
    few = bumps.code(points, torch.arange(20) * (2 * np.pi / 20)).double()
    assert torch.allclose(whole.mean(0), few.mean(0), atol=1e-3)
    assert torch.allclose(whole.T @ whole / 4800, few.T @ few / 20, atol=1e-3)
    drawn = bumps.samples(points, 4000, generator(0))
    assert len(torch.unique((drawn / drawn.norm(dim=1, keepdim=True)).round(decimals=3), dim=0)) == 20


def test_only_the_highest_latents_answer() -> None:
    settings = bumps.BumpsSettings(angles="circle", latents=6, active=2)
    parameters = initial(bumps.PROGRAM, settings, 0, 3)
    x = bumps.samples(settings, 50, generator(1))
    values, which = bumps.latents(settings, parameters, x)
    dense = torch.relu(x @ parameters["encoder"].mT + parameters["bias"][:, None])
    assert values.shape == (3, 50, 2)
    assert torch.allclose(values[..., 0], dense.amax(2))
    assert torch.equal(dense.gather(2, which), values)


def test_a_trigram_s_source_decides_whether_its_answer_follows() -> None:
    for sources in ("shared", "own"):
        settings = attention.AttentionSettings(sources=sources, trigrams=4)
        tokens, trigram, there = attention.rows(settings, 4000, generator(0))
        source = 4 if sources == "shared" else 4 + trigram
        source = torch.as_tensor(source).expand(4000)
        stands = (tokens[:, :-1] == source[:, None]).any(1)
        assert torch.equal(stands, there > 0)
        assert torch.equal(tokens[:, -1], trigram)
        assert 0.45 < there.mean() < 0.55
        assert int(tokens.max()) < attention.n_tokens(settings)


def test_heads_are_softmax_attention_over_the_row() -> None:
    settings = attention.AttentionSettings(sources="own", trigrams=3, heads=2, length=4)
    parameters = initial(attention.PROGRAM, settings, 0, 2)
    tokens, *_ = attention.rows(settings, 5, generator(0))
    written = attention.written(parameters, tokens)
    for r, h, n in product(range(2), range(2), range(5)):
        QK, OV = parameters["QK"][r, h], parameters["OV"][r, h]
        pattern = torch.softmax(QK[tokens[n, -1], tokens[n]], 0)
        assert torch.allclose(written[r, n, h], pattern @ OV[tokens[n]], atol=1e-6)


def test_the_right_answer_has_no_excess_and_knowing_nothing_costs_half_the_logarithm() -> None:
    settings = attention.AttentionSettings(sources="shared", trigrams=8)
    _, trigram, there = attention.rows(settings, 4000, generator(0))
    right = 50.0 * there[:, None] * torch.nn.functional.one_hot(trigram, 8)
    assert attention.excess(settings, right[None], trigram, there).abs().max() < 1e-5
    nothing = attention.excess(settings, torch.zeros(1, 4000, 8), trigram, there).mean()
    assert abs(float(nothing) - 0.5 * np.log(8)) < 0.05


def test_the_gru_is_torch_s() -> None:
    settings = gru.GruSettings(tokens=4, length=3, hidden=5)
    parameters = initial(gru.PROGRAM, settings, 0, 2)
    parameters["bias"] = torch.randn(2, 15, generator=generator(3))
    cell = torch.nn.GRUCell(5, 5)
    state, token = torch.randn(2, 6, 5, generator=generator(1)), torch.randint(4, (6,), generator=generator(2))
    after = gru.step(parameters, state, token)
    for r in range(2):
        # Torch orders the gates reset, update, new, and its update gate keeps the old state as ours does.
        order = torch.cat([torch.arange(5, 10), torch.arange(5), torch.arange(10, 15)])
        with torch.no_grad():
            cell.weight_hh.copy_(parameters["keep"][r].T[order])
            cell.bias_hh.copy_(parameters["bias"][r][order])
            cell.weight_ih.copy_(torch.eye(15)[order][:, :5] * 0)
            cell.bias_ih.zero_()
            read = parameters["read"][r, token]
        for n in range(6):
            with torch.no_grad():
                cell.bias_ih.copy_(read[n][order])
                assert torch.allclose(cell(torch.zeros(1, 5), state[r, n][None])[0], after[r, n], atol=1e-6)


def test_heads_on_embeddings_are_tables_of_low_rank_and_write_what_those_write() -> None:
    settings = attention.AttentionSettings(sources="shared", trigrams=6, heads=2, embedding=5, rank=2)
    parameters = initial(attention.PROGRAM, settings, 0, 3)
    tables = attention.circuits(parameters)
    assert tables["QK"].shape == (3, 2, 7, 7)
    assert tables["OV"].shape == (3, 2, 7, 6)
    assert torch.linalg.matrix_rank(tables["QK"]).max() == torch.linalg.matrix_rank(tables["OV"]).max() == 2
    E, Q, K = (parameters[name][1] for name in ("E", "Q", "K"))
    assert torch.allclose(tables["QK"][1, 0], E @ Q[0] @ K[0].T @ E.T, atol=1e-6)
    tokens, _, _ = attention.rows(settings, 16, generator(0))
    assert torch.equal(attention.written(parameters, tokens), attention.written(tables, tokens))


def test_a_collision_is_free_where_two_features_oppose() -> None:
    settings = collisions.CollisionsSettings(features=2, neurons=3, l1=0.0)
    shared = torch.tensor([[[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    assert collisions.PROGRAM.losses(settings, {"W": shared}, 0, generator(0)).tolist() == [0.0]
    same = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    assert collisions.PROGRAM.losses(settings, {"W": same}, 0, generator(0)).tolist() == [2.0]
    with_l1 = collisions.CollisionsSettings(features=2, neurons=3, l1=0.5)
    assert collisions.PROGRAM.losses(with_l1, {"W": shared}, 0, generator(0)).tolist() == [1.0]


@pytest.mark.parametrize("power", [2.0, 4.0])
def test_the_exact_loss_is_the_mean_over_sampled_values(power: float) -> None:
    settings = compressed.CompressedSettings(features=6, neurons=3, mixing=0.1, power=power, init=0.5)
    parameters = initial(compressed.PROGRAM, settings, 0, 2)
    n = 60_000
    drawn = generator(1)
    which, value = torch.randint(6, (n,), generator=drawn), 2 * torch.rand(n, generator=drawn) - 1
    x = torch.zeros(n, 6)
    x[torch.arange(n), which] = value
    exact = compressed.PROGRAM.losses(settings, parameters, 0, generator(0))
    for r in range(2):
        wanted = torch.relu(x) + x @ parameters["M"][r].T
        answer = torch.relu(x @ parameters["W1"][r].T) @ parameters["W2"][r].T
        sampled = (answer - wanted).abs().pow(power).sum(1).mean()
        assert float(sampled) == pytest.approx(float(exact[r]), rel=0.03)


def test_the_naive_network_has_the_naive_loss() -> None:
    settings = compressed.CompressedSettings(features=6, neurons=3)
    W1, W2 = torch.eye(3, 6), torch.eye(6, 3)
    loss = compressed.PROGRAM.losses(
        settings, {"W1": W1[None], "W2": W2[None], "M": torch.zeros(1, 6, 6)}, 0, generator(0)
    )
    assert float(loss) == pytest.approx(compressed.naive_loss(settings))
    assert compressed.naive_loss(compressed.CompressedSettings()) == pytest.approx(1 / 12)


def test_one_feature_at_a_time_cannot_tell_shared_neurons_from_dedicated_ones_and_several_can() -> None:
    dedicated = {"W1": torch.eye(3, 6), "W2": torch.eye(6, 3)}
    pairs = torch.eye(3).repeat_interleave(2, 1) / 2**0.5
    shared = {"W1": pairs, "W2": pairs.T}
    stacked = {name: torch.stack([dedicated[name], shared[name]]) for name in dedicated} | {"M": torch.zeros(2, 6, 6)}
    alone = compressed.CompressedSettings(features=6, neurons=3)
    losses = compressed.PROGRAM.losses(alone, stacked, 0, generator(0))
    assert losses.tolist() == pytest.approx([compressed.naive_loss(alone)] * 2)
    often = compressed.CompressedSettings(features=6, neurons=3, probability=0.5)
    found = compressed.PROGRAM.losses(often, stacked, 20_000, generator(0))
    assert float(found[0]) == pytest.approx(3 * 0.5 / 6, rel=0.05), "the three that are given up"
    assert abs(float(found[1] / found[0]) - 1) > 0.03
    rarely = compressed.CompressedSettings(features=6, neurons=3, probability=0.01)
    assert compressed.PROGRAM.losses(rarely, stacked, 200_000, generator(0)).tolist() == pytest.approx(
        [6 * 0.01 * compressed.naive_loss(alone)] * 2, rel=0.1
    )


def test_a_replica_s_mixing_is_not_trained_and_is_its_own() -> None:
    settings = compressed.CompressedSettings(features=6, neurons=3, mixing=0.1)
    M = initial(compressed.PROGRAM, settings, 0, 2)["M"]
    assert torch.equal(M, M.mT)
    assert not torch.equal(M[0], M[1])
    assert compressed.PROGRAM.fixed == {"M"}


def test_overlap_pulls_norms_to_one() -> None:
    settings = overlap.OverlapSettings(features=8, dimensions=8, pull=1.0)
    W = torch.eye(8)[None]
    zero = overlap.PROGRAM.losses(settings, {"W": W, "b": torch.zeros(1, 8)}, 64, generator(0))
    assert float(zero) == pytest.approx(0.0, abs=1e-6)
    double = overlap.PROGRAM.losses(settings, {"W": 2 * W, "b": torch.zeros(1, 8)}, 64, generator(0))
    assert float(double) >= 1.0


def test_dropout_keeps_the_mean_of_what_neurons_pass_on() -> None:
    settings = shrinking.ShrinkingSettings(features=1, neurons=1, probability=1.0, dropout=0.5)
    parameters = {"W1": torch.ones(1, 1, 1), "W2": torch.ones(1, 1, 1), "b": torch.zeros(1, 1)}
    # Half of the samples answer 0 to x, the others 2 x: the error is x^2 for all of them.
    loss = shrinking.PROGRAM.losses(settings, parameters, 50_000, generator(0))
    assert float(loss) == pytest.approx(1 / 3, rel=0.02)
