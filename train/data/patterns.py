"""Patterns of file names in a config: a name that is there wins over the same text as a pattern."""

import glob
import os

from train.textfiles import with_home

_RECURSIVE = "**"


def matching(pattern: str) -> list[str]:
    """The files that a pattern names, sorted, as the pattern spells them.

    `*`, `?` and `[...]` match within a name, `**` matches folders at any depth. Many names hold brackets: a folder or
    file of exactly this name is taken for it, wherever in the pattern it stands, and nothing else is. `~` at the
    beginning is a home directory, unless a folder of this name is there, and stays in the names, so that they do not
    depend on the machine.
    """
    user, _, _ = _split(pattern)
    home = with_home(user)
    if home == user:
        return sorted(name for name in set(_expanded("", pattern)) if os.path.isfile(name))
    found = _expanded("", home + pattern[len(user) :])
    return sorted(user + name[len(home) :] for name in set(found) if os.path.isfile(name))


def _expanded(before: str, pattern: str) -> list[str]:
    """The names that `pattern` matches below `before`, which is there and ends in a separator, or is empty."""
    part, separator, rest = _split(pattern)
    here = before + part
    if part == _RECURSIVE:
        folders = glob.glob(f"{glob.escape(before)}{part}", recursive=True)
        if not separator:
            return folders
        # `**` alone stands for no folder too.
        below = sorted({before, *(f"{each}{separator}" for each in folders if each != before and os.path.isdir(each))})
        return [name for each in below for name in _expanded(each, rest)]
    if not glob.has_magic(part) or os.path.lexists(here):
        named = [here] if os.path.lexists(here) or not part else []
    else:
        named = glob.glob(glob.escape(before) + part)
    if not separator:
        return named
    return [name for each in named for name in _expanded(each + separator, rest)]


def _split(pattern: str) -> tuple[str, str, str]:
    """The first part of a path, the separators behind it as they are written, and the rest."""
    length = len(pattern.split("/", 1)[0])
    rest = pattern[length:].lstrip("/")
    return pattern[:length], pattern[length : len(pattern) - len(rest)], rest
