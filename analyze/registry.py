"""Things of one kind that are found by their files: adding one is adding a file."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any, Generic, TypeVar

from train.errors import BadInput

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What the modules of a package hold under one name, by the `name` of each.

    The modules are imported on first use, so that a package may be imported by what it registers.

    Raises (as BadInput, when first used): a module that cannot be imported or registers a name twice, naming its file.

    Args:
        package: dotted name, such as "analyze.scores".
        attribute: the module variable that registers, such as "SCORE"; modules without it are passed over.
        order: sort key; ties keep the alphabetical order of the modules.
    """

    def __init__(self, package: str, attribute: str, order: Callable[[T], Any]) -> None:
        self._package, self._attribute, self._order = package, attribute, order

    @cached_property
    def _entries(self) -> dict[str, T]:
        path = import_module(self._package).__path__
        entries: dict[str, Any] = {}
        files: dict[str, str] = {}
        for found in pkgutil.iter_modules(path):
            file = f"{self._package.replace('.', '/')}/{found.name}.py"
            try:
                module = import_module(f"{self._package}.{found.name}")
            except Exception as failure:
                raise BadInput(f"{file}: cannot be imported ({type(failure).__name__}: {failure})") from failure
            entry = getattr(module, self._attribute, None)
            if entry is None:
                continue
            name = getattr(entry, "name", None)
            if not isinstance(name, str):
                raise BadInput(f"{file}: {self._attribute} has no name")
            if name in files:
                raise BadInput(f"{file}: name {name!r} is taken by {files[name]}")
            entries[name], files[name] = entry, file
        return self._ordered(entries.values())

    def _ordered(self, entries: Iterable[Any]) -> dict[str, T]:
        return {entry.name: entry for entry in sorted(entries, key=self._order)}

    def look_again(self) -> None:
        """Forget what was found, so that a file that came or went since is noticed."""
        self.__dict__.pop("_entries", None)

    @contextmanager
    def including(self, *entries: T) -> Iterator[None]:
        """The registry with further entries while the context lasts: a file that is not there, for tests."""
        before = self._entries
        self._entries = self._ordered([*before.values(), *entries])
        try:
            yield
        finally:
            self._entries = before

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
