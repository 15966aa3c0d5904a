"""What a document is: code, prose, or not known; said by the data config, a language column or a file's name."""

import re
from typing import Literal

Content = Literal["code", "prose", "unknown"]
CONTENTS: tuple[Content, ...] = ("code", "prose", "unknown")

CODE_ENDINGS = frozenset(
    ["py", "pyi", "js", "jsx", "ts", "tsx", "c", "h", "cc", "cpp", "hpp", "cs", "java", "go", "rs", "rb", "sh", "bash"]
) | frozenset(["sql", "php", "swift", "kt", "scala", "lua", "pl", "r", "jl"])
PROSE_ENDINGS = frozenset(["md", "markdown", "rst", "adoc"])
_PIECE = re.compile(r":\d+$")


def content_by_name(name: str | None) -> Content:
    """What the ending of a file's name says; "a/b.py:120" is the piece of a file that begins at line 120."""
    stem, dot, ending = _PIECE.sub("", name or "").lower().rpartition(".")
    if not (stem and dot):
        return "unknown"
    return "code" if ending in CODE_ENDINGS else "prose" if ending in PROSE_ENDINGS else "unknown"
