"""`polysem probe`: what it writes, finds again, refuses, and hands to the report."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import analyze.probing.command as module
from analyze.activations.store import open_activations
from analyze.figures import Figure, styles_of
from analyze.labels.bank import Label, LabelBank
from analyze.probing.command import chosen_labels, probe
from analyze.probing.record import read_probes
from analyze.report.probes import probe_blocks
from analyze.tables import Table
from tests.analyze.activations.synthetic import (
    k_eff_of,
    made_up_scores,
    meta_of,
    sampled_tokens,
    write_cell,
    write_data,
)
from tests.commands import Command
from train.errors import BadInput

N = 6


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """relu and gelu, untrained and trained, of one seed; neurons of three tokens each."""
    root = tmp_path_factory.mktemp("probe")
    data = write_data(root / "data", n_documents=80, hostile=False)
    tokens = sampled_tokens(data)
    rng = np.random.default_rng(0)
    for seed, variant in enumerate(("relu", "gelu")):
        for step in (0, 500):
            meta = meta_of(data, tokens, variant, seed, step, n_neurons=N)
            write_cell(root / "results", tokens, meta, made_up_scores(N, k_eff_of(N, rng, 0.3), rng), with_sample=True)
    return root / "results"


@pytest.fixture
def bank(results: Path, monkeypatch: pytest.MonkeyPatch) -> LabelBank:
    """A frequent token, the tokens with an even id, and one in four documents only."""
    acts = open_activations(results / "relu-s0" / "step-000000500" / "L0.mid")
    ids, place = acts.tokens.ids, acts.tokens.stream_position
    values, counts = np.unique(ids, return_counts=True)
    sets = {
        "a frequent token": ("tokens", ids == values[np.argmax(counts)]),
        "even ids": ("ids", ids % 2 == 0),
        "in four documents": ("rare", acts.tokens.document < 4),
    }
    made = LabelBank(
        tuple(Label(name, family, "exact", True) for name, (family, _) in sets.items()),
        tuple(place[inside] for _, inside in sets.values()),
        int(place.max()) + 1,
    )
    monkeypatch.setattr(module, "bank_of", lambda acts, extra=(): made)
    return made


def test_it_writes_tables_and_figures_and_finds_them_again(results: Path, bank: LabelBank, tmp_path: Path):
    said: list[str] = []
    written = probe([results], tmp_path / "out", ks=(1, 2, 4), shifts=2, say=said.append)
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == [
        "probes-curves.svg",
        "probes-sparsity.svg",
    ]
    table = written.table
    assert table.equals(pl.read_parquet(tmp_path / "out" / "probes.parquet"))
    assert table.filter(kind="sparse").height == 4 * 2 * 3
    assert table.filter(kind="dense").height == 4 * 2
    rare = table.filter(label="in four documents")
    assert rare["kind"].to_list() == ["NA"] * 4
    assert (rare["documents_fit"] + rare["documents_eval"]).to_list() == [4] * 4
    assert table.filter(kind="sparse")["shifted_auprc"].list.len().to_list() == [2] * 24
    text = written.markdown.read_text(encoding="utf-8")
    assert "NA (2 + 2)" in text
    assert "relu L0.mid untrained" in text
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    said.clear()
    probe([results], tmp_path / "out", ks=(1, 2, 4), shifts=2, say=said.append)
    assert len(said) == 4
    assert all(line.startswith("found") for line in said)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_labels_asked_for_later_join_those_that_stand(results: Path, bank: LabelBank, tmp_path: Path):
    one = results / "relu-s0" / "step-000000500"
    first = probe([one], tmp_path, labels=["even ids"], ks=(1, 2), shifts=1, say=lambda _: None).table
    both = probe([one], tmp_path, families=["tokens"], ks=(1, 2), shifts=1, say=lambda _: None).table
    assert first["label"].unique().to_list() == ["even ids"]
    assert both.filter(label="even ids").equals(first)
    assert both["label"].unique().sort().to_list() == ["a frequent token", "even ids"]
    # Other numbers of neurons are another question: nothing made before answers it.
    again = probe([one], tmp_path, families=["tokens"], ks=(1,), shifts=1, say=lambda _: None).table
    assert again["label"].unique().to_list() == ["a frequent token"]


def test_a_stop_loses_only_what_was_not_yet_saved(
    results: Path, bank: LabelBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = results / "relu-s0" / "step-000000500"
    real, calls = module.probe_label, []

    def stops(*given):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(module, "probe_label", stops)
    with pytest.raises(KeyboardInterrupt):
        probe([one], tmp_path, ks=(1, 2), shifts=1, save_every=0.0, say=lambda _: None)
    kept = read_probes(tmp_path)
    assert kept is not None
    assert kept["label"].unique().to_list() == ["a frequent token"]
    monkeypatch.setattr(module, "probe_label", real)
    table = probe([one], tmp_path, ks=(1, 2), shifts=1, say=lambda _: None).table
    assert table["label"].n_unique() == 3


def test_the_reports_section_holds_the_variants_asked_for(results: Path, bank: LabelBank, tmp_path: Path):
    assert probe_blocks(tmp_path, styles_of(["relu"])) == ()
    probe([results], tmp_path, labels=["even ids"], ks=(1, 2), shifts=1, say=lambda _: None)
    blocks = probe_blocks(tmp_path, styles_of(["relu"]))
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert [figure.name for figure in figures] == ["probes-curves", "probes-sparsity"]
    assert all(figure.svg.startswith("<?xml") for figure in figures)
    table = next(block for block in blocks if isinstance(block, Table))
    assert table.headers == ("label", "family", "relu L0.mid", "relu L0.mid untrained")
    assert probe_blocks(tmp_path, styles_of(["solu"])) == ()


def test_labels_that_no_neuron_tells_have_tables_and_no_figure(results: Path, bank: LabelBank, tmp_path: Path):
    written = probe([results], tmp_path, labels=["in four documents"], ks=(1,), shifts=1, say=lambda _: None)
    assert "NA (2 + 2)" in written.markdown.read_text(encoding="utf-8")
    assert not list((tmp_path / "figures").iterdir())


def test_unknown_names_get_the_nearest_as_a_suggestion(bank: LabelBank):
    with pytest.raises(BadInput, match="did you mean 'even ids'"):
        chosen_labels(bank, ["even id"], None)
    with pytest.raises(BadInput, match="did you mean 'tokens'"):
        chosen_labels(bank, None, ["token"])
    assert chosen_labels(bank, ["in four documents"], ["tokens"]) == [0, 2]
    assert chosen_labels(bank, None, None) == [0, 1, 2]


def test_two_places_of_one_name_and_numbers_without_sense_are_refused(results: Path, tmp_path: Path):
    one = results / "relu-s0" / "step-000000500" / "L0.mid"
    elsewhere = tmp_path / "copy" / "relu-s0" / "step-000000500"
    elsewhere.mkdir(parents=True)
    (elsewhere / "L0.mid").symlink_to(one)
    with pytest.raises(BadInput, match="same run, step, layer and hook"):
        probe([one, elsewhere / "L0.mid"], tmp_path / "out")
    with pytest.raises(BadInput, match="--k"):
        probe([one], tmp_path / "out", ks=(0, 1))
    with pytest.raises(BadInput, match="--shifts"):
        probe([one], tmp_path / "out", shifts=0)


@pytest.mark.slow
def test_the_command_probes_a_label_of_the_bank(results: Path, tmp_path: Path):
    words = [sys.executable, "-m", "analyze", "probe", str(results / "relu-s0" / "step-000000500")]
    words += ["--out", str(tmp_path), "--labels", "digits", "--k", "1", "2", "--shifts", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "How few neurons tell a label" in done.stdout


def test_the_command_refuses_an_unknown_label_with_the_nearest(results: Path, tmp_path: Path, analyze_command: Command):
    place = results / "relu-s0" / "step-000000500"
    said = analyze_command("probe", place, "--out", tmp_path, "--labels", "digts")
    assert said.code == 2
    assert "did you mean 'digits'" in said.err
