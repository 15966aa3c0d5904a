"""The pages that users read: length, links, index, glossary, and the code of the guides, which is run."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from analyze import collect, compare, score
from analyze.__main__ import COMMANDS as ANALYZE
from analyze.comparison.comparison import comparison_of
from analyze.comparison.flatten import flattened
from analyze.comparison.results import find_cells
from analyze.fission.verdicts import VERDICTS
from analyze.nulls import NULLS
from analyze.scores import SCORES
from tests.train.fixtures import small_data, small_run
from train.__main__ import COMMANDS as TRAIN
from train.activations import ACTIVATIONS
from train.checkpoint import step_directory
from train.training_run import run

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("**/*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def anchors_of(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_at_most_900_words():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_readme_shows_its_two_commands_and_the_tests_command_of_ci():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "./scripts/study.sh configs/study/smoke.toml" in text
    assert "    ./scripts/test.sh" in text
    assert "exec ./scripts/test.sh" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readme_doubts_the_learning_rate_first():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "1. **The learning rate" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path):
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), f"{page.relative_to(ROOT)}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.relative_to(ROOT)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_call_commands_by_one_name(page: Path):
    """`polysem run`, never `python -m train run`: docs/install.md says once that both are the same."""
    other = re.findall(r"python -m (?:train|analyze)\b.*", page.read_text(encoding="utf-8"))
    assert page.name == "install.md" or not other


COMMAND = re.compile(r"^ +(?:[A-Z_]+=\S+ )?polysem ([a-z][a-z-]*)|`polysem ([a-z][a-z-]*)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_commands_that_exist(page: Path):
    named = {first or second for first, second in COMMAND.findall(page.read_text(encoding="utf-8"))}
    assert named <= {*TRAIN, *ANALYZE}


def test_the_index_names_every_page_and_every_notebook():
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    expected = {*DOCS.glob("**/*.md"), *(ROOT / "examples").glob("*.ipynb")} - {index}
    assert {path.resolve() for path in expected} <= linked


def test_the_glossary_explains_nulls_scores_and_verdicts():
    titles = [each.title for each in (*NULLS.values(), *SCORES.values())]
    missing = [name for name in (*titles, *VERDICTS) if name.lower() not in GLOSSARY.lower()]
    assert not missing


def test_the_glossary_tells_activations_apart():
    terms = [term for bold in re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY, re.MULTILINE) for term in bold.split(", ")]
    assert set(ACTIVATIONS) <= set(terms)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data/small, and results/mine of one small scored and compared run."""
    root = tmp_path_factory.mktemp("pages")
    data = small_data(root / "data")
    data.rename(root / "data" / "small")
    run(small_run(root / "data" / "small"), root / "gelu-s0")
    for checkpoint in (root / "gelu-s0", step_directory(root / "gelu-s0", 0)):
        collect(checkpoint, root / "data" / "small", root / "results" / "mine", say=lambda line: None)
    score(root / "results" / "mine", ["k_eff"])
    compare([root / "results" / "mine"], root / "results" / "mine")
    return root


def test_the_glossary_has_every_column_of_a_comparison(results: Path):
    table = flattened(comparison_of(find_cells([results / "results" / "mine"]), None, ("k_eff",)))
    scores, nulls = "|".join(SCORES), "|".join(NULLS)
    stems = {
        re.sub(rf"^(?:(?:{nulls})_)?(?=.)", "", re.sub(rf"^(?:{scores})_", "", re.sub(r"_(low|high)$", "", column)))
        for column in table.columns
    }
    plain = GLOSSARY.replace("`_", "`")
    missing = [stem for stem in stems if f"`{stem}`" not in plain and f"_{stem}`" not in plain]
    assert not missing


CODE = {
    f"{page.name} {number}": block
    for page in sorted((DOCS / "guides").glob("*.md"))
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL), 1)
}


@pytest.mark.parametrize("name", CODE)
def test_the_code_of_a_guide_runs(name: str, results: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(results)
    names: dict[str, object] = {"__name__": "guide"}
    exec(CODE[name], names)
    if name == "own-model.md 1":
        assert len(names["neurons"]) == 24  # pyright: ignore[reportArgumentType]
