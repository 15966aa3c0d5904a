"""What a document is: code, prose, or not known; said by the data config, a language column or a file's name."""

import re
from typing import Literal

Content = Literal["code", "prose", "unknown"]
CONTENTS: tuple[Content, ...] = ("code", "prose", "unknown")

CODE_ENDINGS = frozenset(
    ["py", "pyi", "js", "jsx", "ts", "tsx", "c", "h", "cc", "cpp", "hpp", "cs", "java", "go", "rs", "rb", "sh", "bash"]
) | frozenset(["sql", "php", "swift", "kt", "scala", "lua", "pl", "r", "jl"])
PROSE_ENDINGS = frozenset(["md", "markdown", "rst", "adoc"])
_CODE = (
    "python javascript typescript c++ c# cplusplus csharp f# fsharp golang rust ruby shell perl kotlin "
    "julia haskell ocaml elixir erlang clojure lisp scheme dart fortran matlab octave objective-c "
    "objectivec assembly zig cuda verilog vhdl powershell awk tcl groovy ada pascal delphi cobol solidity "
    "nim vba visual-basic vb.net common-lisp emacs-lisp python3 python2 ipython jupyter-notebook makefile "
    "cmake dockerfile vue svelte batchfile systemverilog lean coq agda prolog racket d glsl hlsl"
)
_NATURAL = (
    "english french german spanish italian portuguese dutch russian chinese japanese korean arabic polish "
    "swedish norwegian danish finnish czech turkish greek hebrew hindi ukrainian romanian hungarian "
    "vietnamese indonesian latin"
)
_ISO_639 = (
    "af am ar az be bg bn br bs ca cy da de el en eo es et eu fa fi fr ga gl gu he hi hr hu hy id is it "
    "ja ka kk kn ko la lt lv mk ml mn mr ms my nb ne nl nn no pa pt ro ru sk sl sq sr sv sw ta te th tl "
    "tr uk ur uz vi zh eng fra deu spa"
)
CODE_LANGUAGES = CODE_ENDINGS | frozenset(_CODE.split())
PROSE_LANGUAGES = PROSE_ENDINGS | frozenset(f"{_NATURAL} {_ISO_639} restructuredtext asciidoc text prose".split())
_PIECE = re.compile(r":\d+$")


def content_by_name(name: str | None) -> Content:
    """What the ending of a file's name says; "a/b.py:120" is the piece of a file that begins at line 120."""
    stem, dot, ending = _PIECE.sub("", name or "").lower().rpartition(".")
    if not (stem and dot):
        return "unknown"
    return "code" if ending in CODE_ENDINGS else "prose" if ending in PROSE_ENDINGS else "unknown"


def content_by_language(language: object) -> Content:
    """What a language column says: "Python", "C++", "markdown", "en", "pt-BR"; unknown for what it does not list.

    "pl", "sh" and other endings of code that name no ISO 639 language here are code; "text" and "en" are prose.
    """
    if not isinstance(language, str):
        return "unknown"
    name = language.strip().lower().removeprefix(".").replace("_", "-")
    name = name.replace(" ", "-")
    for said in (name, name.partition("-")[0] if re.fullmatch(r"[a-z]{2,3}-[a-z]{2,4}", name) else ""):
        if said in CODE_LANGUAGES:
            return "code"
        if said in PROSE_LANGUAGES:
            return "prose"
    return "unknown"
