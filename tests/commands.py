"""Commands called in the process of the tests: no import of torch for each, and the same exit codes and words."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

TRACEBACK = "Traceback (most recent call last)"


@dataclass
class Said:
    """How a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def is_refusal(self, code: int, *parts: str) -> bool:
        """Whether it left with `code` and one line on standard error that holds every part."""
        lines = self.err.strip().splitlines()
        assert self.code == code, self
        assert len(lines) == 1, self
        assert lines[0].startswith("error: "), self
        assert all(part in lines[0] for part in parts), self
        assert TRACEBACK not in self.out
        return True


Command = Callable[..., Said]
"""Words of a command line -> how it left."""


@contextmanager
def command_of(
    main: Callable[[], None], program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """`python -m PROGRAM WORDS` as a function of the words; handlers of signals are put back at the end."""

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", [program, *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        code = left.value.code
        assert code is None or isinstance(code, int)
        return Said(code or 0, said.out, said.err)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield call
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
