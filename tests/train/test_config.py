"""Configs: TOML and overrides in, typed tables or one clear line out, and back."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from analyze.study.config import StudyConfig
from train.config import ModelConfig, OptimConfig, RunConfig, WidenPlan
from train.configfile import keys_of, load_config, merge, parse_overrides, read_toml, to_toml, validate
from train.data.config import DataConfig
from train.errors import BadInput, did_you_mean, one_line

RUN = """
data = "configs/data/default.toml"
seed = 3
[model]
act = "gelu_new"
d_model = 64
n_heads = 4
n_ctx = 256
mlp_ratio = 100
[optim]
lr = 6e-3
[train]
tokens = 4_000_000
"""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FLOATS = st.floats(1e-300, 1, exclude_max=True)


@pytest.fixture
def run_file(tmp_path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


@st.composite
def run_configs(draw) -> RunConfig:
    heads = draw(st.integers(1, 8))
    model = {
        "act": draw(st.sampled_from(["relu", "gelu", "gelu_new", "gelu_ln", "solu", "solu_ln"])),
        "n_layers": 2,
        "d_model": heads * draw(st.integers(1, 64)),
        "n_heads": heads,
        "n_ctx": draw(st.integers(2, 65536)),
    }
    model |= draw(st.sampled_from([{}, {"mlp_ratio": 1 + 100 * draw(FLOATS)}, {"widths": [7, 700]}]))
    model |= draw(st.sampled_from([{}, {"mlp_ln_eps": [draw(FLOATS), 1e-5]}]))
    widen = {"layers": [0, draw(st.integers(1, 63))], "factor": draw(st.integers(1, 100)), "sigma": draw(FLOATS)}
    beginning = draw(st.sampled_from([{"model": model}, {"start": draw(TEXT)}, {"start": draw(TEXT), "widen": widen}]))
    values = {
        "data": draw(TEXT),
        "seed": draw(st.integers(0, 2**63)),
        "optim": {"lr": draw(FLOATS), "eps": draw(FLOATS), "betas": [draw(FLOATS), 0.0]},
        "train": {"tokens": draw(st.integers(1, 2**53)), "compile": draw(st.booleans())},
        **beginning,
        **draw(st.sampled_from([{}, {"variant": draw(TEXT), "trainable": draw(TEXT)}])),
    }
    return validate(RunConfig, values, "drawn")


def read_back(config: BaseModel) -> BaseModel:
    text = to_toml(config)
    assert text.encode()
    return validate(type(config), tomllib.loads(text), "read back")


@settings(max_examples=150, deadline=None)
@given(run_configs())
def test_a_run_written_as_toml_reads_back_as_the_same_run(config):
    assert read_back(config) == config


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, st.lists(TEXT, min_size=1, max_size=3), FLOATS)
def test_data_and_studies_read_back_with_any_text_and_any_name(text, name, paths, number):
    source = {"kind": "files", "weight": number, "paths": paths, "field": text}
    data = validate(DataConfig, {"name": "d", "sources": [source, {"kind": "wiki", "weight": 1}]}, "drawn")
    assert read_back(data) == data
    variants = {"a": {}, name: {"model": {"act": "relu", name: [1, {"x y": text}]}}}
    arms = {} if name == "arm" else {"arm": {"start": name, "widen": {"layers": [0]}}}
    study = validate(StudyConfig, {"base": text, "seeds": [0], "variants": variants, "arms": arms}, "drawn")
    assert read_back(study) == study


@pytest.mark.parametrize(
    "text",
    ['"', "\\", '\\"', "\n", "\r\n", "\t", "\0", "\x1b[31m", "\x7f", "\x85", "🦆", "\u202e", "'''", "# no comment"],
)
def test_awkward_text_survives_the_way_to_a_file_and_back(run_file, tmp_path, text):
    config = load_config(RunConfig, run_file).model_copy(update={"data": f"a{text}b", "variant": text})
    path = tmp_path / "again.toml"
    path.write_bytes(to_toml(config).encode())
    assert load_config(RunConfig, path) == config


def test_a_file_and_overrides_make_a_config(run_file):
    words = [
        "--optim.lr",
        "6e-4",
        "--train.wandb=offline",
        "--seed",
        "7",
        "--model.act",
        "solu_ln",
        "--train.compile=true",
    ]
    config = load_config(RunConfig, run_file, words)
    assert (config.optim.lr, config.train.wandb, config.seed, config.train.compile) == (6e-4, "offline", 7, True)
    assert config.model is not None
    assert config.model.act == "solu_ln"
    assert config.model.resolve(4096).widths == (6400,)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], {}),
        (["--a", "1"], {"a": 1}),
        (["--a", "-1"], {"a": -1}),
        (["--a=1=2"], {"a": "1=2"}),
        (["--a="], {"a": ""}),
        (["--a", "text"], {"a": "text"}),
        (["--a", "[1, 2]"], {"a": [1, 2]}),
        (["--a", "{ b = 1 }", "--a.c", "2"], {"a": {"b": 1, "c": 2}}),
        (["--a.b.c", "x", "--a.b.d", "y"], {"a": {"b": {"c": "x", "d": "y"}}}),
        (["--variants.relu-100x.seed", "1"], {"variants": {"relu-100x": {"seed": 1}}}),
        (["--a", '"1"'], {"a": "1"}),
        (["--a", "1\nb = 2"], {"a": "1\nb = 2"}),
        (["--a", "1\n[b]"], {"a": "1\n[b]"}),
        (["--a", "9" * 5000], {"a": "9" * 5000}),
        (["--a", "[" * 5000], {"a": "[" * 5000}),
        (["--a", "runs/a b/ü#1"], {"a": "runs/a b/ü#1"}),
        (["--a", "1", "--a", "2"], {"a": 2}),
    ],
)
def test_overrides_are_toml_values_or_else_text(words, values):
    assert parse_overrides(words) == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "1"], "'a' is not an override; write --key.in.the.file VALUE"),
        (["-a", "1"], "is not an override"),
        (["--a"], "--a needs a value"),
        (["--a", "--b", "1"], "--a needs a value"),
        (["--a", "1", "--a.b", "2"], "--a.b reaches into 'a'"),
        (["--a", "\udcff"], "is not UTF-8 text"),
        (["--a\udcff", "1"], "is not UTF-8 text"),
    ],
)
def test_overrides_without_a_sensible_meaning_are_refused(words, message):
    with pytest.raises(BadInput, match=message):
        parse_overrides(words)


def test_merging_combines_two_tables_and_changes_neither():
    base, over = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}, {"a": {"c": {"f": 4}}, "e": {"g": 5}}
    assert merge(base, over) == {"a": {"b": 1, "c": {"d": 2, "f": 4}}, "e": {"g": 5}}
    assert base == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optim.lrr", "1"], "unknown key 'optim.lrr'; did you mean 'lr'?"),
        (["--modle.act", "relu"], "unknown key 'modle'; did you mean 'model'?"),
        (["--train.rows-per-step", "4"], "unknown key 'train.rows-per-step'; did you mean 'rows_per_step'?"),
        (["--zzzz", "1"], "unknown key 'zzzz'; known: data, model"),
        (["--train.tokens", "many"], "train.tokens: Input should be a valid integer, got 'many'"),
        (["--train.tokens", "4e-6"], "train.tokens: Input should be a valid integer, got 4e-06"),
        (["--train.tokens", "true"], "train.tokens: Input should be a valid integer, got True"),
        (["--train.tokens", "0"], "train.tokens: Input should be greater than 0, got 0"),
        (["--train.tokens", "9" * 400], "train.tokens: Input should be"),
        (["--seed", "-1"], "seed: Input should be greater than or equal to 0"),
        (["--optim.lr", "nan"], "optim.lr: Input should be a finite number"),
        (["--optim.eps", "inf"], "optim.eps: Input should be a finite number"),
        (["--optim.betas", "[0.9, 1.0]"], "optim.betas.1: Input should be less than 1"),
        (["--optim.betas", "[0.9]"], "optim.betas"),
        (["--model.act", "rleu"], "model.act: Input should be 'relu', .*got 'rleu'"),
        (["--model.n_heads", "7"], "model: n_heads: 7 heads do not divide d_model = 64"),
        (["--model.n_heads", "0"], "model.n_heads"),
        (["--model.n_layers", "0"], "model.n_layers: Input should be greater than or equal to 1"),
        (["--model.n_layers", "1_000_000_000_000"], "model.n_layers: Input should be less than or equal to 64"),
        (["--model.mlp_ratio", "0"], "model.mlp_ratio: Input should be greater than 0"),
        (["--model.mlp_ratio", "1e308"], "model.mlp_ratio: Input should be less"),
        (["--model.mlp_ratio", "0.001"], "widths: .* must lie between 1"),
        (["--model.widths", "[1]"], "give mlp_ratio or widths, not both"),
        (["--model", "5"], "model: Input should be a valid dictionary"),
        (["--train", "[]"], "train: Input should be a valid dictionary"),
        (["--start", "somewhere"], "give .model. for fresh weights or `start`"),
        (["--widen.layers", "[0]", "--widen.factor", "2"], "widen: needs `start`"),
        (["--data", "5"], "data: Input should be a valid string, got 5"),
        (["--train.wandb", "sometimes"], "train.wandb: Input should be 'off'"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_key_and_value(run_file, words, message):
    with pytest.raises(BadInput, match=message) as refusal:
        load_config(RunConfig, run_file, words)
    said = str(refusal.value)
    assert said.startswith(f"{run_file}: ")
    assert "\n" not in said
    assert "pydantic" not in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": 0}, "factor: Input should be greater than or equal to 1, got 0"),
        ({"factor": 101}, "factor: Input should be less than or equal to 100, got 101"),
        ({"factor": 2.5}, "factor"),
        ({"layers": []}, "layers"),
        ({"layers": [0, 0]}, "names a layer twice"),
        ({"noise": "white"}, "noise"),
        ({"sigma": -0.1}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
    ],
)
def test_an_impossible_plan_is_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        validate(WidenPlan, {"layers": [0], "factor": 2} | changes, "command line")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"data = ", "not valid TOML"),
        (b"a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value"),
        (b"\xff", "not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b'a = "\0"', "not valid TOML"),
        (b"", "key 'data' is missing"),
        (b"data = 1979-05-27", "data: Input should be a valid string"),
    ],
)
def test_a_file_that_is_not_a_config_is_refused(tmp_path, content, message):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        load_config(RunConfig, path)


def test_a_missing_file_or_a_directory_in_its_place_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"run\.toml: no such file"):
        read_toml(tmp_path / "run.toml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_toml(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([10**400, -(10**400)]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_value_of_a_key_gives_a_config_or_bad_input(data):
    """No value reaches a traceback: not as a RUN.toml, not as a config.json."""
    values = tomllib.loads(RUN)
    key = data.draw(st.sampled_from([key for key in keys_of(RunConfig) if key != "model.widths"] + ["model", "widen"]))
    table = values
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = data.draw(JSON)
    shape = {"n_layers": 1, "d_model": 4, "n_heads": 2, "n_ctx": 4, "d_vocab": 5, "act": "relu"}
    for model, each in (
        (RunConfig, values),
        (ModelConfig, shape | {data.draw(st.sampled_from([*ModelConfig.model_fields])): data.draw(JSON)}),
        (OptimConfig, data.draw(JSON)),
    ):
        try:
            config = validate(model, each, "fuzz")
        except BadInput:
            continue
        assert read_back(config) == config


def test_the_nearest_key_is_found_quickly():
    assert did_you_mean("x" * 10**7, ["model"]).startswith("; known")
    assert did_you_mean("modle", ["model", "train"]) == "; did you mean 'model'?"


def test_a_terminal_shows_one_short_line():
    assert one_line("a\n\tb  c") == "a b c"
    assert one_line("\x1b[31m\u202e\udcff") == r"\x1b[31m\u202e\udcff"
    assert len(one_line("x" * 10**6)) < 2100


def test_keys_of_a_run_are_dotted_and_in_order():
    keys = keys_of(RunConfig)
    assert keys[:3] == ["data", "seed", "variant"]
    assert {"model.act", "widen.factor", "optim.lr", "train.tokens"} <= set(keys)
    assert json.dumps(keys)
