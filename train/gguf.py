"""Models in one GGUF file: which file it is, and its tokenizer as a tokenizer.json."""

import os
import tempfile
from pathlib import Path

from train.errors import BadInput, EnvironmentProblem, one_line
from train.hashes import known_sha256

ENDING = ".gguf"
CACHE_VARIABLE = "POLYSEM_IMPORTS"
"""Where converted copies lie; default ~/.cache/polysem/imports."""


def cache() -> Path:
    """The directory of what was converted from files of other programs."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polysem" / "imports"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def gguf_file(place: Path) -> Path | None:
    """The GGUF file at a path, or the only one in a directory; None where there is none.

    Raises:
        BadInput: a directory with several.
    """
    if place.is_file():
        return place if place.suffix == ENDING else None
    files = sorted(place.glob(f"*{ENDING}")) if place.is_dir() else []
    if len(files) > 1:
        raise BadInput(f"{place}: holds {len(files)} GGUF files ({files[0].name}, {files[1].name}); name one of them")
    return files[0] if files else None


def require_gguf() -> None:
    """Refuse to go on without the library.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        import gguf  # noqa: F401  # transformers reads by it
    except ImportError:
        raise EnvironmentProblem("GGUF files are read by the package gguf: pip install 'polysem[gguf]'") from None


def tokenizer_of(file: Path) -> Path:
    """The tokenizer.json of a GGUF file, converted by transformers on first use.

    Raises:
        BadInput: a file that holds none that can be read.
        EnvironmentProblem: the package gguf is missing.
    """
    place = cache() / f"gguf-{known_sha256(file)[:16]}"
    path = place / "tokenizer.json"
    if path.is_file():
        return path
    require_gguf()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as failure:  # the library raises of every kind
        raise BadInput(f"{file}: no tokenizer that can be read ({one_line(str(failure), 200)})") from None
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as aside:
        tokenizer.backend_tokenizer.save(str(Path(aside) / path.name))
        (Path(aside) / path.name).replace(path)
    return path
