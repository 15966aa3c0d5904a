"""What can go wrong, each kind with its exit code, and the one place that turns a failure into a line."""

import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from types import FrameType
from typing import NoReturn


class PolysemError(Exception):
    """A failure that a user can act on: its message is one line that names the file and the key."""

    exit_code = 1


class BadInput(PolysemError):
    """Something the user gave is wrong: a key, a value, a file, a directory that does not fit."""

    exit_code = 2


class Damaged(BadInput):
    """A file is not the one that was sealed; whoever can do without a missing file must not go on with this one."""


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
    near = get_close_matches(word[:100], known, n=1, cutoff=0.6)  # comparing takes quadratic time
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}"


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8: a command line or file name of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def one_line(text: str, limit: int = 2000) -> str:
    """`text` fit for a terminal: single blanks, unprintable characters escaped, cut after `limit`."""
    words = " ".join(text.split())
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in words)
    return shown if len(shown) <= limit else f"{shown[:limit]} ... ({len(shown):,} characters)"


def exit_with_one_line(main: Callable[[], None], debug: bool) -> NoReturn:
    """Run `main` and leave the process: 0, or one line on standard error and the failure's exit code.

    A failure that nobody foresaw is one line too, with exit code 1; `debug` prints the traceback before the line.
    """
    try:
        # SIGTERM unwinds like SIGINT, so that nothing half-written stays behind; training has its own handler.
        if threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGTERM, interrupt)
        main()
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as failure:
        if isinstance(failure, BrokenPipeError) and _nobody_reads():
            raise SystemExit(128 + signal.SIGPIPE) from None
        message, code = message_and_code(failure)
        if debug:
            traceback.print_exc()
        print(f"error: {one_line(message)}", file=sys.stderr, flush=True)
        raise SystemExit(code) from None
    raise SystemExit(0)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A handler that unwinds as Ctrl-C does, also in a process that was started with SIGINT ignored, as behind `&`."""
    raise KeyboardInterrupt


def _nobody_reads() -> bool:
    """Whether who read standard output, such as `head`, has seen enough; what is still to be written goes nowhere."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in output.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def message_and_code(failure: BaseException) -> tuple[str, int]:
    """The line that a user reads, and the exit code."""
    what = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
    match failure:
        case PolysemError():
            return str(failure), failure.exit_code
        case KeyboardInterrupt():
            return "stopped; the same command goes on from the last saved result", Stopped.exit_code
        case OSError():
            return f"{failure.filename or 'system'}: {failure.strerror or failure}", EnvironmentProblem.exit_code
        case MemoryError():
            return "out of memory", EnvironmentProblem.exit_code
    # torch raises RuntimeErrors: a GPU's has a name of its own, a CPU's is known by its words.
    if type(failure).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(failure):
        return f"out of memory ({what})", EnvironmentProblem.exit_code
    return f"a defect of polysem: {what}; --debug shows where", PolysemError.exit_code
