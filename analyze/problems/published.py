"""Verdicts that the project has published: docs/problems.md, and the record of it that the program carries.

published.json is written together with that page, by `polysem problems --out RESULTS --page docs/problems.md`; a test
holds that both say the same.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from analyze.problems.answers import Answer
from train.files import read_json, write_atomic

PAGE = "docs/problems.md"
"""Of a clone."""
RECORD = Path(__file__).with_name("published.json")
MAX_BYTES = 1_000_000


@cache
def published() -> dict[str, Answer]:
    """What docs/problems.md says of each problem, by number."""
    problems = read_json(RECORD, MAX_BYTES)["problems"]
    return {name: Answer(**{**each, "rules": tuple(each["rules"])}) for name, each in problems.items()}


def keep_published(answers: Mapping[str, Answer], page: Path, record: Path = RECORD) -> list[Path]:
    """Keep the record where the page is the project's own; the paths that were written."""
    if page.resolve() != Path(__file__).parents[2] / PAGE:
        return []
    listed = {name: asdict(each) for name, each in answers.items() if name[:2] == "4."}
    text = json.dumps({"page": PAGE, "problems": listed}, indent=1, ensure_ascii=False)
    write_atomic(record, text.encode() + b"\n")
    published.cache_clear()
    return [record]
