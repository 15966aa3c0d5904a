"""What can go wrong with a hub, in one line each: the only reader of the hub library's exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager

from train.errors import BadInput, EnvironmentProblem, one_line


@contextmanager
def hub_errors(where: str, name: str, revision: str | None = None, key: str = "", then: str = "") -> Iterator[None]:
    """Turn whatever a call of the hub library raises into one line.

    Args:
        where: what a line begins with: a name as the user gave it, or the key that holds it.
        name: of the repository.
        revision: the one that was asked for.
        key: the key that holds the revision, if it is not `where`.
        then: what stays or can be done where the hub cannot be used.

    Raises:
        BadInput: no such name, revision or file, or nobody lets you in.
        EnvironmentProblem: the hub cannot be reached, or refuses.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of the HTTP library that it uses
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    after = f"; {then}" if then else ""
    try:
        yield
    except RevisionNotFoundError:
        raise BadInput(f"{key or where}: {name} has no revision {revision or 'main'!r}") from None
    except GatedRepoError:
        raise BadInput(f"{where}: {name} asks for consent: accept its terms on the hub and `hf auth login`") from None
    except RepositoryNotFoundError:
        said = f"nothing called {name!r} on the hub, or it is private; `hf auth login` says who you are"
        raise BadInput(f"{where}: {said}") from None
    except HFValidationError:
        said = f"{name!r} is neither a file or folder that is there nor a name on a hub, such as user/name"
        raise BadInput(f"{where}: {said}") from None
    except LocalTokenNotFoundError:
        raise EnvironmentProblem(f"{where}: the hub asks who you are; `hf auth login` says so{after}") from None
    except LocalEntryNotFoundError as failure:  # before EntryNotFoundError, of which it is one
        raise _unreachable(where, name, failure, after) from None
    except EntryNotFoundError as failure:
        raise BadInput(f"{where}: {name} lacks a file ({one_line(str(failure), 200)})") from None
    except HfHubHTTPError as failure:
        code = failure.response.status_code if failure.response is not None else None
        hint = "; `hf auth login` says who you are" if code in (401, 403) else ""
        said = f"the hub refuses ({one_line(str(failure), 200)}){hint}{after}"
        raise EnvironmentProblem(f"{where}: {said}") from None
    except (HTTPError, OfflineModeIsEnabled, OSError) as failure:
        raise _unreachable(where, name, failure, after) from None


def _unreachable(where: str, name: str, failure: Exception, after: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"{where}: the hub cannot be reached for {name!r} ({one_line(str(failure), 200)}){after}")
