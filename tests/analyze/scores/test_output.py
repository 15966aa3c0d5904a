"""Output: figures of rows by hand and against scipy, agreement on a constructed row, rows of the right neurons."""

import shutil
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kurtosis, rankdata

from analyze.activations.collect import collect
from analyze.activations.provenance import origin_of
from analyze.activations.store import Activations, open_activations
from analyze.nulls.rotation import haar, rotated
from analyze.nulls.shifted import shifted
from analyze.scores.output import (
    SCORE,
    OutputRows,
    agreement,
    concentration,
    ends,
    excess_kurtosis,
    followers,
    participation,
)
from analyze.text.vocabulary import Vocabulary
from tests.analyze.scores.scoring import activations_of
from tests.train.fixtures import small_data, small_run
from train.checkpoint import load, save_checkpoint
from train.data.tokens import TokenFile
from train.training_run import run


def as_scored(acts: Activations) -> Activations:
    """Every neuron taken for one that may be scored: the small data make few fire in 30 documents."""
    return replace(acts, moments=replace(acts.moments, status=np.zeros(acts.n_neurons, dtype=np.int8)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("output")
    data = small_data(root)
    run(small_run(data), root / "gelu-s0")
    run(small_run(data, model__act="solu_ln"), root / "solu-s0")
    return root


def collected(place: Path, name: str, hook: str = "mid", **words: int) -> Activations:
    out = place / f"results-{'-'.join(map(str, words.values())) or 'all'}"
    collect(place / name, place / "data", out, say=lambda _: None, **words)  # pyright: ignore[reportArgumentType]
    return as_scored(open_activations(next((out / name).rglob(f"L0.{hook}"))))


def rows_by_hand(place: Path, name: str) -> torch.Tensor:
    """W_out's row, less its mean, times ln_out's weight, on W_U less its mean token; no mid LayerNorm."""
    state = load(place / name).model().state_dict()
    written = state["layers.0.mlp.fc_out.weight"].T.double()
    written = (written - written.mean(dim=1, keepdim=True)) * state["ln_out.weight"].double()
    unembedding = state["head.weight"].double()
    return written @ (unembedding - unembedding.mean(dim=0)).T


def test_kurtosis_and_participation_of_rows_known_by_hand():
    one = np.array([[0.0, 0.0, 0.0, 5.0]])
    even = np.array([[1.0, -1.0, 1.0, -1.0]])
    assert participation(one)[0] == pytest.approx(1)
    assert participation(even)[0] == pytest.approx(4)
    # Values 3, 1, -1, -3: sum of squares 20, of fourth powers 164; 400 / 164, and 4 x 164 / 400 - 3.
    row = np.array([[3.0, 1.0, -1.0, -3.0]])
    assert participation(row)[0] == pytest.approx(400 / 164)
    assert excess_kurtosis(row)[0] == pytest.approx(-1.36)
    assert concentration(row)[0] == pytest.approx(log(4 * 164 / 400 / 3))
    assert np.isnan(participation(np.zeros((1, 4)))[0])


def test_kurtosis_is_scipys():
    row = np.random.default_rng(0).standard_t(4, (5, 300))
    np.testing.assert_allclose(excess_kurtosis(row), kurtosis(row, axis=1), rtol=1e-10)


def test_the_score_of_a_random_row_is_near_0_at_any_vocabulary_and_kurtosis_orders_rows_alike():
    rng = np.random.default_rng(0)
    for size in (1000, 20_000):
        assert concentration(rng.standard_normal((20, size))).mean() == pytest.approx(0, abs=0.03)
    rows = rng.standard_normal((50, 500)) ** np.linspace(1, 4, 50)[:, None].round()
    rows -= rows.mean(axis=1, keepdims=True)
    np.testing.assert_array_equal(rankdata(concentration(rows)), rankdata(excess_kurtosis(rows)))


@given(st.floats(1e-6, 1e6), st.integers(0, 2**31))
def test_a_rows_scale_and_sign_change_no_figure(scale: float, seed: int):
    row = np.random.default_rng(seed).standard_normal((1, 64))
    for figure in (participation, excess_kurtosis, concentration):
        np.testing.assert_allclose(figure(-scale * row), figure(row), rtol=1e-9)


def test_agreement_by_hand():
    row = np.array([0.0, 1.0, 2.0, 2.0])
    # After firing: tokens 1 and 2. After others: 0, 1, 3. Pairs won 1 + 0.5 of three, then 2 + 0.5 of three.
    found = agreement(row, np.array([0, 1, 1, 0]), np.array([1, 1, 0, 1]))
    assert found == pytest.approx((1.5 + 2.5) / 6)
    assert agreement(row, np.array([0, 0, 1, 1]), np.array([3, 4, 0, 0])) == 1
    assert agreement(row, np.array([3, 0, 0, 0]), np.array([0, 4, 1, 1])) == 0
    assert agreement(np.zeros(4), np.array([3, 0, 0, 0]), np.array([0, 4, 1, 1])) == 0.5
    assert np.isnan(agreement(row, np.array([1, 0, 0, 0]), np.array([0, 0, 0, 0])))


def test_the_ends_of_a_row_are_shown_strongest_first():
    vocabulary = Vocabulary(tuple(bytes([ord("a") + i]) for i in range(12)))
    promotes, suppresses = ends(np.arange(12.0), vocabulary)
    assert promotes == "`l`, `k`, `j`, `i`, `h`"
    assert suppresses == "`a`, `b`, `c`, `d`, `e`"


def test_rows_are_those_of_the_checkpoints_weights(place: Path):
    acts = collected(place, "gelu-s0")
    rows = OutputRows.of(acts)
    assert rows is not None
    np.testing.assert_allclose(rows[0 : acts.n_neurons], rows_by_hand(place, "gelu-s0").numpy(), atol=1e-12)
    np.testing.assert_allclose(rows[3:5], rows[0 : acts.n_neurons][3:5], atol=1e-12)


def test_a_unit_of_activation_moves_logits_by_the_row_over_the_final_layernorms_scale(place: Path):
    acts = collected(place, "gelu-s0")
    rows, model = OutputRows.of(acts), load(place / "gelu-s0").model()
    assert rows is not None
    state = model.state_dict()
    torch.manual_seed(0)
    x = torch.randn(1, 8, dtype=torch.float64)
    model = model.double()

    def logits(residual: torch.Tensor) -> torch.Tensor:
        found = model.head(model.ln_out(residual))
        return found - found.mean()

    for neuron in (0, 7):
        written = state["layers.0.mlp.fc_out.weight"][:, neuron].double()
        # Perpendicular to the residual stream the scale stands still to first order.
        centred = x - x.mean()
        step = written - written.mean()
        step = step - centred[0] * (step @ centred[0]) / (centred @ centred.T)[0, 0]
        scale = (x.var(unbiased=False) + model.ln_out.eps).sqrt()
        change = (logits(x + 1e-5 * step) - logits(x)) / 1e-5 * scale
        only = replace_written(rows, step * state["ln_out.weight"].double())
        np.testing.assert_allclose(change[0].detach().numpy(), only, rtol=1e-3, atol=1e-4)


def replace_written(rows: OutputRows, written: torch.Tensor) -> np.ndarray:
    return OutputRows(written[None], rows.unembedding)[0:1][0]


def test_behind_a_mid_layernorm_post_takes_w_out_and_mid_the_layernorms_weight_too(place: Path):
    mid, post = OutputRows.of(collected(place, "solu-s0")), OutputRows.of(collected(place, "solu-s0", "post"))
    assert mid is not None
    assert post is not None
    by_hand = rows_by_hand(place, "solu-s0")
    np.testing.assert_allclose(post[0:16], by_hand.numpy(), atol=1e-12)
    weighted = by_hand * load(place / "solu-s0").model().state_dict()["layers.0.mlp.ln.weight"].double()[:, None]
    np.testing.assert_allclose(mid[0:16], (weighted - weighted.mean(dim=0)).numpy(), atol=1e-12)


def test_a_random_choice_of_neurons_gets_its_own_rows(place: Path):
    some, every = collected(place, "gelu-s0", max_neurons=5), collected(place, "gelu-s0")
    origin = origin_of(some)
    assert origin is not None
    # The very same activations tell which neurons were taken, whatever the mapping says.
    columns = every.block(0, every.n_neurons).T
    taken = [int((columns == neuron).all(dim=1).nonzero()[0, 0]) for neuron in some.block(0, 5).T]
    assert origin.neurons.tolist() == taken
    rows = OutputRows.of(some)
    assert rows is not None
    np.testing.assert_allclose(rows[0:5], rows_by_hand(place, "gelu-s0").numpy()[taken], atol=1e-12)
    np.testing.assert_allclose(SCORE(some), SCORE(every)[taken])


def test_rotated_directions_write_what_the_neurons_wrote_together(place: Path):
    acts = collected(place, "gelu-s0", max_neurons=6)
    turned = rotated(acts, seed=3)
    before, after = OutputRows.of(acts), OutputRows.of(turned)
    assert before is not None
    assert after is not None
    alive = np.array(turned.meta.settings["neurons"])
    logits = acts.block(0, 6).double().numpy()[:, alive] @ before[0:6][alive]
    # In exact numbers: the sample of the rotation is rounded to bf16.
    exact = acts.block(0, 6).double()[:, torch.from_numpy(alive)] @ haar(len(alive), 3)
    np.testing.assert_allclose(exact.numpy() @ after[0 : turned.n_neurons], logits, atol=1e-9)


def test_followers_are_the_tokens_that_the_model_is_to_predict(place: Path):
    acts = collected(place, "gelu-s0")
    held, after = followers(acts)
    assert not acts.tokens.is_fit[held].any()
    data = TokenFile.open(place / "data", split="eval")
    rows = data.plain_rows(0, data.n_rows).numpy()
    where = acts.tokens.stream_position[held] // data.n_ctx, acts.tokens.position[held]
    assert rows[where].tolist() == acts.tokens.ids[held].tolist()
    assert rows[where[0], where[1] + 1].tolist() == after.tolist()


def test_agreement_tells_a_neuron_that_promotes_what_follows_from_one_that_suppresses_it(place: Path, tmp_path: Path):
    acts = collected(place, "gelu-s0")
    held, after = followers(acts)
    token = int(np.bincount(after).argmax())
    # Neuron 0 writes the commonest next token, 1 suppresses it, 2 writes nothing; all fire before it alone.
    checkpoint = load(place / "gelu-s0")
    model = checkpoint.model()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[token, 0] = 1
        model.mlp(0).fc_out.weight.zero_()
        model.mlp(0).fc_out.weight[0, :2] = torch.tensor([1.0, -1.0])
        model.ln_out.weight.fill_(2)
    tokenizer = (checkpoint.directory / "tokenizer.json").read_bytes()
    built = load(save_checkpoint(tmp_path / "built", model, {}, checkpoint.state, tokenizer, None))
    values = np.zeros((len(acts.tokens), acts.n_neurons))
    values[held[after == token], :3] = 1
    values[np.flatnonzero(acts.tokens.is_fit)[:50], :3] = 1  # so that the fit half has a threshold
    one = activations_of(values, place / "data", acts.tokens)
    facts = {"checkpoint_dir": str(built.directory), "checkpoint_hash": built.hash, "n_ctx": acts.meta.n_ctx}
    table = SCORE.table(as_scored(replace(one, meta=replace(one.meta, **facts))))
    assert table["output_agreement"].to_list()[:3] == [1.0, 0.0, 0.5]
    size = model.config.d_vocab
    # One token at 1 - 1 / V, the others at -1 / V: squares sum to 1 - 1 / V.
    by_hand = (1 - 1 / size) ** 2 / ((1 - 1 / size) ** 4 + (size - 1) / size**4)
    assert table["output_participation"].to_list()[:2] == pytest.approx([by_hand] * 2)
    shown = Vocabulary.of(built.tokenizer()).shown(token)
    assert table["output_promotes"][0].startswith(shown)
    assert table["output_suppresses"][1].startswith(shown)


def test_the_table_has_every_column_and_text_for_scored_neurons_alone(place: Path):
    acts = collected(place, "gelu-s0")
    status = np.zeros(acts.n_neurons, dtype=np.int8)
    status[2] = 2
    table = SCORE.table(replace(acts, moments=replace(acts.moments, status=status)))
    assert table.columns == [
        "output",
        "output_kurtosis",
        "output_participation",
        "output_promotes",
        "output_suppresses",
        "output_agreement",
    ]
    assert [column.is_nan()[2] if column.dtype.is_float() else column[2] is None for column in table] == [True] * 6
    assert table["output_promotes"].null_count() == 1
    np.testing.assert_array_equal(
        table["output"].to_numpy(), SCORE(replace(acts, moments=replace(acts.moments, status=status)))
    )


def test_without_its_checkpoint_nothing_is_scored(place: Path, tmp_path: Path):
    acts = collected(place, "gelu-s0")
    gone = replace(acts, meta=replace(acts.meta, checkpoint_dir=str(tmp_path / "nowhere")))
    other = replace(acts, meta=replace(acts.meta, checkpoint_dir=str(load(place / "solu-s0").directory)))
    for one in (gone, other):
        assert np.isnan(SCORE(one)).all()
        table = SCORE.table(one)
        assert table["output_promotes"].null_count() == table.height
        assert np.isnan(table["output_agreement"].to_numpy()).all()


def test_a_moved_checkpoint_that_is_the_same_one_is_read(place: Path, tmp_path: Path):
    acts = collected(place, "gelu-s0")
    shutil.copytree(acts.meta.checkpoint_dir, tmp_path / "moved")
    moved = replace(acts, meta=replace(acts.meta, checkpoint_dir=str(tmp_path / "moved")))
    np.testing.assert_array_equal(SCORE(moved), SCORE(acts))


def test_planted_neurons_and_nulls_other_than_the_rotation_have_no_rows(place: Path, made_up: tuple):
    _, tokens, data = made_up
    planted = activations_of(np.random.default_rng(0).random((len(tokens), 3)), data, tokens)
    assert np.isnan(SCORE(planted)).all()
    null = shifted(collected(place, "gelu-s0"))
    assert null is not None
    assert np.isnan(SCORE(as_scored(null))).all()
    assert not np.isnan(SCORE(as_scored(rotated(collected(place, "gelu-s0"))))).any()
