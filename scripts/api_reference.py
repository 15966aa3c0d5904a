"""Make the API reference from the docstrings, without a network: python scripts/api_reference.py [--out site/api]

Every module of train and analyze has a page; the two packages' pages show what they export. A docstring or annotation
that pdoc cannot read is an error. pdoc comes with the extra `docs`: pip install '.[docs]'
"""

import importlib
import pkgutil
import re
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from train.errors import BadInput, EnvironmentProblem, exit_with_one_line

PACKAGES = ("train", "analyze")
FIRST_PAGE = """<div><h1>polysem</h1>
<p><a href="train.html">train</a> makes checkpoints, <a href="analyze.html">analyze</a> reads them. What these two
packages export at their top is the public interface. The modules below them are listed at the side and may move
between releases.</p></div>"""


def module_names() -> list[str]:
    """Every module of both packages but the programs, each package before its modules; all of them are imported."""
    names = []
    for package in PACKAGES:
        root = importlib.import_module(package)
        found = [each.name for each in pkgutil.walk_packages(root.__path__, f"{package}.")]
        names += [package, *(name for name in found if not name.endswith("__main__"))]
    for name in names:
        importlib.import_module(name)
    return names


def make(out: Path) -> int:
    """Write the reference and say how many modules it holds.

    Args:
        out: directory, replaced as a whole once all pages are there.

    Raises:
        EnvironmentProblem: pdoc is not installed.
        BadInput: a warning of pdoc's, with its words; `out` holds something that is no reference.
    """
    try:
        import pdoc
        import pdoc.extract
        import pdoc.render
    except ImportError:
        raise EnvironmentProblem("package 'pdoc' is not installed: pip install 'polysem[docs]'") from None
    if out.exists() and any(out.iterdir()) and not (out / "search.js").is_file():
        raise BadInput(f"{out}: holds something that is no API reference")
    names = module_names()
    for package in PACKAGES:
        # What a package exports is found when it is asked for; pdoc looks for what is there.
        module = importlib.import_module(package)
        for name in module.__all__:
            setattr(module, name, getattr(module, name))
    specs: list[str] = []  # a package brings its modules along, unless it says what it exports
    for name in names:
        if not specs or name not in pdoc.extract.walk_specs(specs):
            specs.append(name)
    pdoc.render.configure(docformat="google", show_source=False, footer_text="polysem")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".api-") as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                pdoc.pdoc(*specs, output_directory=Path(aside) / "api")
            except Warning as warning:
                raise BadInput(f"API reference: {warning}") from None
        for page in (Path(aside) / "api").rglob("*.html"):
            page.write_text(tidied(page.read_text(encoding="utf-8")), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        (Path(aside) / "api").rename(out)
    return len(names)


def tidied(page: str) -> str:
    """A page of pdoc's without what only Python knows: where functions lie in memory, and defaults that are none.

    The first page gets words in place of pdoc's picture.
    """
    page = re.sub(
        r"&lt;(?:function|bound method) ([\w.]+)(?:\.&lt;locals&gt;[\w.&;]*?)? at 0x[0-9a-f]+&gt;", r"\1", page
    )
    page = re.sub(r" at 0x[0-9a-f]+", "", page)
    page = re.sub(r'\s*=\s*<span class="default_value">PydanticUndefined</span>', "", page)
    return re.sub(r'<a href="https://pdoc.dev">.*?</a>', FIRST_PAGE, page, count=1, flags=re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """Make the API reference from the docstrings, without a network."""

    out: Path = Path("site/api")
    """directory to write; open index.html in it"""
    debug: bool = False
    """show the traceback of a failure"""


def main() -> None:
    """Make it, and print where it lies."""
    arguments = tyro.cli(Arguments)
    exit_with_one_line(lambda: print(f"{make(arguments.out)} modules: {arguments.out}/index.html"), arguments.debug)


if __name__ == "__main__":
    main()
