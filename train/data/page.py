"""A page of prepared data: what each source's documents are taken for, counted, with samples; one file, no script."""

from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from train.data.content import CONTENTS
from train.data.tokenizer import load_tokenizer
from train.data.tokens import SPLITS, TokenFile
from train.errors import BadInput
from train.files import write_atomic

SAMPLES, SHOWN = 6, 1_200
"""Samples of each source and content, and the most characters shown of one."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}figure{margin:1rem 0}figcaption{color:#555;overflow-wrap:anywhere}
pre{background:#f6f6f4;padding:.7rem;margin:.2rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}pre{background:#282828}figcaption{color:#aaa}}
"""


def documents_page(data: Path, out: Path) -> str:
    """Write the page of a data directory, and return its counts as text.

    Raises:
        BadInput: no data directory, a damaged one, one of an earlier version that keeps no document's content, or
            `out` lies in the data directory, which is sealed, or in none.
    """
    if out.is_dir() or not out.parent.is_dir() or data.resolve() in out.resolve().parents:
        raise BadInput(f"{out}: not a place for the page; give a file outside of {data}, in a directory that is there")
    splits = {split: TokenFile.open(data, split) for split in SPLITS}
    table = pl.concat([tokens.documents() for tokens in splits.values()])
    if "content" not in table.columns:
        raise BadInput(f"{data}: prepared before documents were told apart; prepare it again")
    counts = table.group_by("source", "content").len().sort("source", "content")
    tokenizer = load_tokenizer(data / "tokenizer.json")
    parts = [_counted(counts)]
    for source, content in counts.select("source", "content").iter_rows():
        mine = table.filter(pl.col("source") == source, pl.col("content") == content).sort("sha256")
        parts.append(f"<h2>{escape(source)}: {escape(content)} ({mine.height:,})</h2>")
        for row in mine.head(SAMPLES).iter_rows(named=True):
            ids = splits[row["split"]].stream(row["start"], min(row["length"], SHOWN)).tolist()
            parts.append(_sample(row, tokenizer.decode(ids, skip_special_tokens=False)))
    title = escape(f"Documents of {data}")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    about = (
        "<p>What each document is decides how brackets, quotation marks and sentences are read; of unknown documents "
        "nothing of the kind is said. The keys <code>content</code> and <code>language_field</code> of a source in "
        "DATA.toml say it better than the text can. Samples are the first in the order of a hash.</p>"
    )
    page = (
        f'<!doctype html><html lang="en"><head>{head}<title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{about}{''.join(parts)}</body></html>\n"
    )
    write_atomic(out, page.encode("utf-8", "backslashreplace"))
    said = [f"  {source}: {n:,} {content}" for source, content, n in counts.iter_rows()]
    return "\n".join([f"wrote {out}", *said])


def _counted(counts: pl.DataFrame) -> str:
    rows = [f"<tr><th>source</th>{''.join(f'<th>{content}</th>' for content in CONTENTS)}</tr>"]
    for source in counts["source"].unique(maintain_order=True):
        of_source = dict(counts.filter(pl.col("source") == source).select("content", "len").iter_rows())
        cells = "".join(f"<td>{of_source.get(content, 0):,}</td>" for content in CONTENTS)
        rows.append(f"<tr><td>{escape(source)}</td>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _sample(row: dict[str, Any], text: str) -> str:
    shown = text[:SHOWN] + (" ..." if row["n_chars"] > SHOWN else "")
    place = f"{row['path_or_title']}, {row['split']}, {row['n_chars']:,} characters"
    return f"<figure><figcaption>{escape(_visible(place))}</figcaption><pre>{escape(_visible(shown))}</pre></figure>"


def _visible(text: str) -> str:
    """Signs that steer a text rather than show (other than blanks and line ends) as escapes."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape", "replace").decode()
        for sign in text
    )
