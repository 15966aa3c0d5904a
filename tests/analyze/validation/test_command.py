"""The whole measurement: a score that reads the truth passes, one that cannot be right does not."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.scores import SCORES, validity
from analyze.scores.fingerprint import fingerprint
from analyze.scores.validity import Validity, from_json
from analyze.validation import command, plant
from analyze.validation.admission import Admitted
from analyze.validation.command import truth
from analyze.validation.design import CASES, MAIN, draw_neurons, planted_activations
from analyze.validation.measure import score_planted, why_not
from tests.analyze.validation.made_up import Guesses, Knows, Weighs, corpus_on, random_features
from train.errors import BadInput

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Validity], Path, list[str]]:
    where = tmp_path_factory.mktemp("truth")
    corpus = corpus_on(where)
    admitted = random_features(corpus)
    knows = Knows()
    knows.admitted = admitted
    patch = pytest.MonkeyPatch()
    patch.setattr(command, "admit_on", lambda corpus: admitted)
    patch.setattr(
        plant, "CASES", tuple(one for one in CASES if one.name in ("symmetric", "asymmetric", "little noise"))
    )
    patch.setattr(command, "fingerprint", lambda module, deep: module)  # of files that may change meanwhile
    patch.setattr(validity, "PUBLISHED", where / "validity.json")
    said: list[str] = []
    names = ("knows", "guesses", "weighs")
    again: list[str] = []
    with SCORES.including(knows, Guesses(), Weighs()):
        final = truth(corpus.data.directory, where / "out", "held", names, (), False, said.append)
        assert truth(corpus.data.directory, where / "out", "held", names, (), False, again.append) == final
    patch.undo()
    found = [from_json(one) for one in json.loads((final / "validities.json").read_text())]
    return final, {one.score: one for one in found}, corpus.data.directory, [*said, "---", *again]


def test_a_score_that_reads_the_truth_is_right_about_every_neuron(made: tuple):
    knows = made[1]["knows"]
    for name in ("symmetric", "little noise"):
        case = knows.case(name)
        assert case is not None
        assert case.auroc == pytest.approx(1.0, abs=0.02)
        assert case.correlation < -0.95
        assert case.mono_one == pytest.approx(1.0, abs=0.05)
        assert case.mono_several == pytest.approx(0.0, abs=0.02)
    assert all(one.unmoved for one in knows.changes)
    assert [one for one in knows.failures if "asymmetric" not in one] == []


def test_a_score_is_also_measured_without_what_it_is_given_to_know(made: tuple):
    (less,) = made[1]["knows"].less
    assert less.name == "the truth"
    assert 0.4 < less.auroc < 0.6
    assert (less.n_one, less.n_several) == (120, 180)
    assert made[1]["guesses"].less == ()
    assert "| knows | the truth | " in (made[0] / "validity.md").read_text()


def test_a_score_that_guesses_is_at_one_half_and_heads_no_report(made: tuple):
    guesses = made[1]["guesses"]
    assert 0.4 < guesses.main.auroc < 0.6
    assert guesses.main.low < 0.5 < guesses.main.high
    assert not guesses.headline
    assert any("moved by" in one for one in guesses.failures)


def test_a_score_of_weights_is_listed_as_not_measurable(made: tuple):
    assert made[1]["weighs"].why_not == "it needs weights"
    assert "not measurable on planted neurons (it needs weights)" in made[1]["weighs"].line()


def test_a_second_run_finds_its_result_and_the_first_reports_progress(made: tuple):
    said = made[3]
    assert said[said.index("---") + 1 :] == [f"found {made[0]}"]
    assert any(line.startswith("symmetric: knows of 300 neurons") for line in said)


def test_the_page_and_the_tables_say_what_was_measured(made: tuple):
    text = (made[0] / "validity.md").read_text()
    assert "| knows | yes | AUROC 1.00 [" in text
    assert "recall (known to fail)" in text
    table = pl.read_parquet(made[0] / "validity.parquet")
    cases = table.filter((pl.col("score") == "knows") & (pl.col("kind") == "case"))
    assert {"symmetric", "asymmetric", "a quarter of the documents"} <= set(cases["name"])
    assert cases.filter(pl.col("name") == "symmetric")["auroc"].item() > 0.99


def test_controls_show_the_verdicts_on_random_sets_and_single_tokens(made: tuple):
    controls = {one.name: one for one in made[1]["guesses"].controls}
    assert set(controls) == {"broad", "random words", "random tokens", "single tokens"}
    assert all(one.n == 40 and 0 <= one.mono <= 1 for one in controls.values())


def test_measurements_for_tuning_are_not_published(made: tuple, tmp_path: Path):
    with pytest.raises(BadInput, match="held"):
        truth(made[2], tmp_path, "tuning", ("k_eff",), (), True, print)


def test_an_unknown_score_is_named(made: tuple, tmp_path: Path):
    with pytest.raises(BadInput, match=r"k_ef.*did you mean 'k_eff'"):
        truth(made[2], tmp_path, "held", ("k_ef",), (), False, print)


def test_a_corpus_that_admits_no_feature_is_refused_in_one_line(made: tuple, tmp_path: Path, monkeypatch):
    some = random_features(corpus_on(tmp_path))
    none = Admitted((), some.tokens[:, :0], ())
    monkeypatch.setattr(command, "admit_on", lambda corpus: none)
    with pytest.raises(BadInput, match="larger corpus"):
        truth(made[2], tmp_path / "out", "held", ("rule_share",), (), False, print)


def test_the_fingerprint_of_code_changes_with_what_it_does_and_not_with_what_it_says_or_imports(
    tmp_path: Path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "some_score.py"
    found = []
    texts = ('"""One."""\nx = 1\n', '"""Another."""\n\n# why\nimport json\nx = 1\n', '"""One."""\nx = 2\n')
    for text in texts:
        file.write_text(text)
        found.append(fingerprint("some_score"))
    assert found[0] == found[1] != found[2]
    assert fingerprint("analyze.scores.k_eff", deep=True) != fingerprint("analyze.scores.k_eff")


def test_every_score_that_text_alone_feeds_reads_planted_neurons(made: tuple, tmp_path: Path):
    corpus = corpus_on(tmp_path)
    admitted = random_features(corpus).of("held")
    values = planted_activations(admitted.tokens, draw_neurons(MAIN, admitted)[::30], 0.2, "test")
    acts = corpus.activations(values, "test")
    for score in SCORES.values():
        if not why_not(score):
            np.testing.assert_array_equal(score_planted(score, acts).value, score(acts))
