"""The API reference is made of every docstring, without a network, and a warning stops it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytest.importorskip("pdoc")


def make(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own: pdoc reads what is imported."""
    command = [sys.executable, *words, "scripts/api_reference.py", "--out", str(out)]
    nowhere = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600, env=nowhere)


@pytest.mark.slow
def test_every_module_has_a_page_that_opens_without_a_network(tmp_path):
    done = make(tmp_path / "api")
    assert (done.returncode, done.stderr) == (0, "")
    pages = {str(page.relative_to(tmp_path / "api")) for page in (tmp_path / "api").rglob("*.html")}
    sources = [path for package in ("train", "analyze") for path in (ROOT / package).rglob("*.py")]
    modules = {path.parent if path.name == "__init__.py" else path.with_suffix("") for path in sources}
    expected = {f"{each.relative_to(ROOT)}.html" for each in modules if each.name != "__main__"}
    assert expected <= pages
    text = (tmp_path / "api/train.html").read_text(encoding="utf-8")
    assert "W_in" in text or "Transformer" in text
    for page in pages:
        text = (tmp_path / "api" / page).read_text(encoding="utf-8")
        assert '<script src="http' not in text
        assert '<link rel="stylesheet" href="http' not in text
        assert not re.search(r"default_value\">PydanticUndefined| at 0x[0-9a-f]{6}", text), page
    assert "public interface" in (tmp_path / "api/index.html").read_text(encoding="utf-8")


def test_a_reference_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "api").mkdir()
    for name in ("search.js", "gone.html"):
        (tmp_path / "api" / name).write_text("before")
    write = "(output_directory.mkdir(), (output_directory / 'search.js').write_text('after'))"
    done = make_with(f"lambda *names, output_directory: {write}", tmp_path / "api")
    assert (done.returncode, done.stderr) == (0, "")
    assert [(path.name, path.read_text()) for path in (tmp_path / "api").iterdir()] == [("search.js", "after")]


def test_a_directory_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = make(tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_warning_of_pdoc_is_an_error(tmp_path):
    done = make_with("lambda *names, output_directory: warnings.warn('cannot read x', stacklevel=1)", tmp_path / "api")
    assert done.returncode == 2
    assert done.stderr.strip() == "error: API reference: cannot read x"
    assert not (tmp_path / "api").exists()


def make_with(pdoc: str, out: Path) -> "subprocess.CompletedProcess[str]":
    """The command with another function in place of pdoc's, and of no module but the packages themselves."""
    code = (
        "import sys, warnings, pkgutil, pdoc, runpy; sys.path.insert(0, '.');"
        f"pkgutil.walk_packages = lambda *_: (); pdoc.pdoc = {pdoc};"
        f"sys.argv = ['api', '--out', {str(out)!r}];"
        "runpy.run_path('scripts/api_reference.py', run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
