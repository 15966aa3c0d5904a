"""What can go wrong, each kind with its own exit code, and the one place that turns it into a line."""

import signal
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from typing import NoReturn


class PolysemError(Exception):
    """A failure that a user can act on: its message is one line that names the file and the key."""

    exit_code = 1


class BadInput(PolysemError):
    """Something the user gave is wrong: a key, a value, a file, a directory that does not fit."""

    exit_code = 2


class EnvironmentProblem(PolysemError):
    """The machine stands in the way: disk full, no permission, a package or a device that is missing."""

    exit_code = 3


class Diverged(PolysemError):
    """Training produced a loss or gradient that is not finite; the last good checkpoint is intact."""

    exit_code = 4


class Stopped(PolysemError):
    """Stopped in order (SIGINT, SIGTERM): the same command goes on from where it stopped."""

    exit_code = 75


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or the whole list where none is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}"


def exit_with_one_line(main: Callable[[], None], debug: bool) -> NoReturn:
    """Run `main` and leave the process: 0, or one line on standard error and the failure's exit code."""
    # SIGTERM unwinds like SIGINT, so that nothing half-written stays behind; training has its own handler.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except PolysemError as failure:
        message, code = str(failure), failure.exit_code
    except KeyboardInterrupt:
        message, code = "stopped; the same command goes on from the last saved result", Stopped.exit_code
    except OSError as failure:
        message, code = f"{failure.filename or 'system'}: {failure.strerror or failure}", 3
    except MemoryError:
        message, code = "out of memory", EnvironmentProblem.exit_code
    else:
        raise SystemExit(0)
    if debug:
        traceback.print_exc()
    one_line = " ".join(message.split())
    print(f"error: {one_line}", file=sys.stderr, flush=True)
    raise SystemExit(code)
