"""The commands from the outside: help, exit codes, and one clear line for whatever is wrong."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.commands import TRACEBACK, Command
from tests.train.faults import edit_bytes, edit_json, reseal
from tests.train.fixtures import small_run
from train.checkpoint import load, step_directory
from train.configfile import to_toml
from train.errors import BadInput
from train.files import MANIFEST, locked
from train.hashes import sha256


@pytest.fixture
def command(train_command: Command) -> Command:
    return train_command


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    """A run of four steps."""
    from train.training_run import run

    config = small_run(data, train__tokens=4 * 64, train__checkpoint_every=0)
    return run(config, tmp_path_factory.mktemp("runs") / "gelu-s0").directory


@pytest.fixture
def config(data, tmp_path) -> Path:
    path = tmp_path / "gelu.toml"
    path.write_text(to_toml(small_run(data, train__tokens=4 * 64, train__checkpoint_every=0)))
    return path


@pytest.fixture
def run_copy(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "copy" / "gelu-s0")


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [None, "prepare", "documents", "run", "widen", "status"])
def test_every_command_explains_itself(command, name):
    said = command(*([name] if name else []), "--help")
    assert said.code == 0
    wanted = ["prepare", "run", "widen", "status", "optim.lr", "widen.factor"] if name is None else ["--debug"]
    assert all(word in said.out for word in wanted)


@pytest.mark.parametrize(
    "words",
    [(), ("rnu",), ("run",), ("widen", "x", "--factor", "2"), ("widen", "x", "--layers", "0", "--factor", "two")],
)
def test_a_wrong_command_line_exits_2(command, words):
    said = command(*words)
    assert said.code == BadInput.exit_code
    assert said.err
    assert TRACEBACK not in said.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--optim.lrr", "1"], ["gelu.toml", "unknown key 'optim.lrr'; did you mean 'lr'?"]),
        (["--modle.act", "relu"], ["unknown key 'modle'; did you mean 'model'?"]),
        (["--train.tokens", "many"], ["train.tokens: Input should be a valid integer, got 'many'"]),
        (["--model.act", "rleu"], ["model.act", "'relu'", "got 'rleu'"]),
        (["--model.n_heads", "3"], ["3 heads do not divide d_model = 8"]),
        (["--train.tokens"], ["--train.tokens needs a value"]),
        (["stray"], ["'stray' is not an override; write --key.in.the.file VALUE"]),
        (["--optim", "1", "--optim.lr", "1"], ["reaches into 'optim'"]),
        (["--data", "nowhere"], ["data: 'nowhere' is neither a prepared directory nor a DATA.toml"]),
        (["--data", "nowhere.toml"], ["nowhere.toml: no such file"]),
        (["--data", "."], ["MANIFEST.json: not there"]),
        (["--model.n_ctx", "60000"], ["tokens are no row of n_ctx = 60000"]),
        (["--train.rows_per_step", "5", "--train.accumulate", "2"], ["train.rows_per_step: 5 rows do not divide"]),
        (["--trainable", "layers.0.mpl.*"], ["trainable: 'layers.0.mpl.*' matches no parameter"]),
    ],
)
def test_an_impossible_run_is_refused_in_one_line_and_writes_no_result(
    command, config, tmp_path, monkeypatch, words, parts
):
    monkeypatch.chdir(tmp_path)
    said = command("run", config, "--out", tmp_path / "out", *words)
    assert said.is_refusal(2, *parts)
    assert not [name for name in tree(tmp_path / "out") if name != ".lock"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"data = ", "not valid TOML"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "not valid TOML"),
        (b"", "key 'data' is missing"),
    ],
)
@pytest.mark.parametrize("name", ["run", "prepare"])
def test_a_file_that_is_not_a_config_is_refused(command, tmp_path, name, content, part):
    path = tmp_path / "a config.toml"
    if content is not None:
        path.write_bytes(content)
    expected = "key 'name' is missing" if (content, name) == (b"", "prepare") else part
    assert command(name, path, "--out", tmp_path / "out").is_refusal(2, str(path), expected)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("texts", "words", "part"),
    [
        ([], [], "no file matches"),
        ([b""], [], "no text"),
        ([f"Story {number}.".encode() for number in range(40)], ["--n_ctx", "4096"], "fewer than one row"),
        ([b"caf\xe9 \xff" * 50], [], "UTF-8"),
    ],
)
def test_unusable_text_is_refused_and_nothing_is_written(command, tmp_path, texts, words, part):
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_bytes(text)
    path = tmp_path / "data.toml"
    sources = f'[[sources]]\nkind = "files"\nweight = 1\npaths = ["{tmp_path}/*.txt"]\n'
    path.write_text(f'name = "mine"\nd_vocab = 300\nn_ctx = 8\neval_share = 0.5\nallow_more_held_out = true\n{sources}')
    said = command("prepare", path, "--out", tmp_path / "out", *words)
    assert said.is_refusal(2, part)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("out", "."))]


def test_prepare_and_run_find_their_results_and_name_what_changed(command, config, data, tmp_path):
    toml = tmp_path / "data.toml"
    toml.write_bytes((data / "data.toml").read_bytes())
    assert command("prepare", toml, "--out", data).out.startswith(f"found {data}")
    assert command("prepare", toml, "--out", data, "--d_vocab", "299").is_refusal(2, "d_vocab")
    out = tmp_path / "runs" / "a run with blanks"
    first = command("run", config, "--out", out)
    assert (first.code, f"\nwrote {out}: step 4, 256 tokens" in first.out) == (0, True)
    before = tree(out)
    again = command("run", config, "--out", out, "--train.log_every", "3")
    assert (again.code, f"\nfound {out}: step 4" in again.out) == (0, True)
    assert command("run", config, "--out", out, "--optim.lr", "0.02").is_refusal(2, "optim.lr = 0.01, now 0.02")
    assert tree(out) == before
    listed = command("status", tmp_path / "runs")
    assert listed.code == 0
    assert "a run with blanks" in listed.out
    assert "at rest" in listed.out


def test_a_config_may_have_any_file_name(command, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = config.with_name("zeile\n'ü 🦆\".toml")
    config.rename(odd)
    said = command("run", odd)
    assert said.code == 0, said
    assert load(Path("checkpoints") / odd.stem).step == 4
    assert len(command("status", "checkpoints").out.strip().splitlines()) == 2
    assert command("run", odd, "--seed", "4").is_refusal(2, "seed")


def test_an_output_directory_in_use_is_left_unchanged(command, config, finished, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for out, part in (("thesis", "taken by something that is not a run"), ("file", "is taken by a file")):
        assert command("run", config, "--out", tmp_path / out).is_refusal(2, out, part)
    plan = ("--layers", 0, "--factor", 2)
    for out in ("thesis", "file"):
        assert command("widen", finished, *plan, "--out", tmp_path / out).is_refusal(2, out, "taken")
    assert command("widen", finished, *plan, "--out", finished).is_refusal(2, "taken")
    assert {name: text for name, text in tree(tmp_path / "thesis").items() if name != ".lock"} == {
        "thesis.tex": b"precious"
    }
    assert (tmp_path / "file").read_text() == "precious"


def test_every_layer_is_widened_by_the_scheme_that_the_command_names(command, finished, tmp_path):
    words = (
        "--layers",
        "all",
        "--factor",
        3,
        "--split",
        "dirichlet",
        "--noise",
        "none",
        "--exact",
        "true",
        "--seed",
        5,
    )
    said = command("widen", finished, *words, "--out", tmp_path / "x3-s0")
    assert said.code == 0, said
    assert "exact: relative L2 of logits" in said.out
    plan = load(tmp_path / "x3-s0").lineage.plan
    assert (plan.layers, plan.split, plan.exact, plan.seed) == ((0,), "dirichlet", True, 5)


@pytest.mark.parametrize("name", ["run", "prepare", "widen"])
def test_an_output_that_cannot_be_written_is_the_environments_fault(command, config, data, finished, tmp_path, name):
    (tmp_path / "file").write_text("")
    words = {
        "run": ["run", config],
        "prepare": ["prepare", data / "data.toml"],
        "widen": ["widen", finished, "--layers", 0, "--factor", 2],
    }[name]
    for out in (tmp_path / "file" / "below", Path("/proc/polysem/out")):
        assert command(*words, "--out", out).is_refusal(3, str(out.parent if name == "prepare" else out))


def test_too_little_disk_space_is_reported_before_training(command, config, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert command("run", config, "--out", tmp_path / "out").is_refusal(3, "MB are needed")


def test_two_runs_in_one_directory_are_refused(command, config, finished, tmp_path):
    with locked(tmp_path / "out"):
        assert command("run", config, "--out", tmp_path / "out").is_refusal(2, "another run is writing here")
        words = ("widen", finished, "--layers", 0, "--factor", 2, "--out", tmp_path / "out")
        assert command(*words).is_refusal(2, "another run is writing here")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--layers", "0", "--factor", "0"], ["factor: Input should be greater than or equal to 1, got 0"]),
        (["--layers", "0", "--factor", "101"], ["factor: Input should be less than or equal to 100"]),
        (["--layers", "1", "--factor", "2"], ["layer 1 is not there; the model has layers 0 to 0"]),
        (["--layers", "-1", "--factor", "2"], ["layer -1 is not there"]),
        (["--layers", "0", "0", "--factor", "2"], ["names a layer twice"]),
        (["--layers", "0", "--factor", "2", "--sigma", "nan"], ["sigma"]),
        (["--layers", "0", "--factor", "2", "--sigma", "-1"], ["sigma: Input should be greater than or equal to 0"]),
        (["--layers", "0", "--factor", "2.5"], ["factor: Input should be a valid integer, got 2.5"]),
        (["--layers", "0", "--factor", "two"], ["factor: Input should be a valid integer, got 'two'"]),
        (["--layers", "first", "--factor", "2"], ["layers: give a list of layers such as [0], or"]),
        (
            ["--layers", "0", "--factor", "2", "--noise", "zero-sum"],
            ["noise: Input", "got 'zero-sum'; did you mean 'zero_sum'?"],
        ),
        (["--layers", "0", "--factor", "2", "--noise", "w_in", "--exact", "true"], ["exact: noise on W_in"]),
        (["--layers", "0", "--factor", "2", "--data", "nowhere"], ["nowhere"]),
        (["--layers", "0", "--factor", "2", "--facor", "3"], ["unknown key 'facor'; did you mean 'factor'?"]),
    ],
)
def test_an_impossible_widening_is_refused(command, finished, tmp_path, words, parts):
    said = command("widen", finished, "--out", tmp_path / "x2", *words)
    assert said.is_refusal(2, *parts)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_widening_takes_a_run_or_a_step_relative_to_the_working_directory(command, finished, run_copy, monkeypatch):
    monkeypatch.chdir(run_copy)
    for source, name in ((".", "gelu-s0-x2"), ("step-000000002", "gelu-s0-x3")):
        said = command("widen", source, "--layers", 0, "--factor", name[-1])
        assert said.code == 0, said
        made = load(run_copy.parent / name)
        assert made.state["start"]["hash"] == load(source).hash
        assert made.lineage is not None
    assert "gelu-s0-x3" in command("status", run_copy.parent).out


def widen_words(source: Path, out: Path) -> list[object]:
    return ["widen", source, "--layers", 0, "--factor", 2, "--out", out]


def test_tampered_weights_are_refused_and_a_run_falls_back_to_an_earlier_step(command, run_copy, tmp_path):
    newest = step_directory(run_copy, 4)
    edit_bytes(newest / "model.safetensors", lambda data: data.__setitem__(-5, data[-5] ^ 1))
    said = command(*widen_words(newest, tmp_path / "out"))
    assert said.is_refusal(2, "model.safetensors", "does not match its hash")
    assert "damaged" in command("status", run_copy.parent).out
    fallen = command(*widen_words(run_copy, tmp_path / "out"))
    assert (fallen.code, "falling back to an earlier step" in fallen.out) == (0, True)
    assert load(tmp_path / "out").state["start"]["step"] == 2


def test_another_format_version_is_refused(command, config, run_copy, data, tmp_path):
    step = step_directory(run_copy, 4)
    reseal(step, format_version=2)
    said = command(*widen_words(step, tmp_path / "out"))
    assert said.is_refusal(2, str(step), "format version 2, this polysem reads version 1")
    newer = shutil.copytree(data, tmp_path / "data")
    edit_json(newer / MANIFEST, format_version=9)
    assert command("run", config, "--data", newer, "--out", tmp_path / "out2").is_refusal(2, "format version 9")


def other_tokenizer(data: Path, target: Path) -> Path:
    """The same data with a tokenizer of another hash, sealed anew."""
    shutil.copytree(data, target)
    edit_bytes(target / "tokenizer.json", lambda text: text.extend(b"\n"))
    reseal(target, tokenizer_sha256=sha256((target / "tokenizer.json").read_bytes()))
    return target


def test_data_or_a_tokenizer_of_another_checkpoint_is_refused(command, config, finished, run_copy, data, tmp_path):
    other = other_tokenizer(data, tmp_path / "other")
    said = command(*widen_words(finished, tmp_path / "out"), "--data", other)
    assert said.is_refusal(2, "its tokenizer is not the checkpoint's")
    text = config.read_text()
    config.write_text(f'start = "{finished}"\n' + text[: text.index("[model]")] + text[text.index("[optim]") :])
    said = command("run", config, "--data", other, "--out", tmp_path / "arm")
    assert said.is_refusal(2, "the tokenizer of", "is not the one of")
    edit_bytes(step_directory(run_copy, 4) / "tokenizer.json", lambda text: text.extend(b"\n"))
    reseal(step_directory(run_copy, 4))
    said = command(*widen_words(step_directory(run_copy, 4), tmp_path / "out"))
    assert said.is_refusal(2, "tokenizer.json", "is not the tokenizer that the model was trained with")
    edit_bytes(other / "tokenizer.json", lambda text: text.extend(b"\n"))
    assert command("run", config, "--data", other, "--out", tmp_path / "arm").is_refusal(2, "tokenizer.json")


def test_data_that_changed_under_a_run_is_refused(command, data, tmp_path):
    own = shutil.copytree(data, tmp_path / "data")
    config, out = tmp_path / "run.toml", tmp_path / "out"
    config.write_text(to_toml(small_run(own, train__tokens=4 * 64)))
    assert command("run", config, "--out", out).code == 0
    before = tree(out)
    manifest = json.loads((own / MANIFEST).read_bytes())
    (own / MANIFEST).write_text(json.dumps(manifest | {"n_empty": manifest["n_empty"] + 1}))
    assert command("run", config, "--out", out).is_refusal(2, "has changed since")
    edit_bytes(own / "tokens-fit.bin", lambda tokens: tokens.pop())
    assert command("run", config, "--out", out).is_refusal(2, "tokens-fit.bin")
    assert tree(out) == before


def test_start_names_a_checkpoint_or_is_refused(command, config, tmp_path):
    text = config.read_text()
    rest = text[: text.index("[model]")] + text[text.index("[optim]") :]
    (tmp_path / "empty").mkdir()
    for start, part in (("nowhere", "no such directory"), ("empty", "holds no checkpoint step that verifies")):
        config.write_text(f'start = "{tmp_path / start}"\n' + rest)
        assert command("run", config, "--out", tmp_path / "arm").is_refusal(2, start, part)


def test_status_of_nothing_and_of_hostile_directories(command, tmp_path):
    assert command("status", tmp_path / "nowhere").is_refusal(2, "no such directory")
    assert command("status", tmp_path, "--all").code == 2
    assert "no runs" in command("status", tmp_path).out
    run = tmp_path / "\x1b[31mred\nrun"
    run.mkdir()
    (run / "run.toml").write_text("")
    os.mkfifo(run / ".lock")
    (run / "step-000000005").write_text("a file")
    said = command("status", tmp_path)
    assert said.code == 0
    assert "\x1b" not in said.out
    assert len(said.out.strip().splitlines()) == 2
    assert "damaged" in said.out
