"""Checkpoints on a hub: push a directory, pull a checkpoint by name; the only file that talks to a hub of models.

`hf:user/name` and `hf:user/name@revision` are names on the hub that HF_ENDPOINT gives (default huggingface.co);
`hf:DIR` is a directory that `export --format hub` wrote. A bare name is always a path.
"""

import os
import re
import shutil
from pathlib import Path

from train.errors import BadInput
from train.files import discard
from train.filesystem import unique_number
from train.hub_errors import hub_errors

PREFIX = "hf:"
CHECKPOINT = "checkpoint"
"""The folder of a repository that holds a step's directory, byte for byte."""

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def require_name(name: str) -> None:
    """Refuse what is no `user/name`.

    Raises:
        BadInput: it is not.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["revision"]:
        raise BadInput(f"--push {name}: not a name on a hub, such as user/{Path(name).name or 'name'}")


def push(directory: Path, name: str, private: bool = False) -> str:
    """Upload an exported directory as one commit; make the repository where it is not there.

    Returns:
        The repository's address.

    Raises:
        BadInput: not a name.
        EnvironmentProblem: the hub cannot be reached or refuses; `directory` stays as it is.
    """
    from huggingface_hub import HfApi

    require_name(name)
    api = HfApi(endpoint=_endpoint())
    with hub_errors(f"{PREFIX}{name}", name, then=f"{directory} stays; the same command goes on with the push"):
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=directory, commit_message="Export from polysem")
    return str(address)


def pull(name: str) -> Path:
    """The step's directory of `hf:<name>`: a folder of a local export, or a copy in the cache of what lies on the hub.

    What has been pulled before is opened without a connection, too.

    Raises:
        BadInput: neither a directory nor a name, not there, no polysem checkpoint in it.
        EnvironmentProblem: the hub cannot be reached and the cache does not have it.
    """
    if name and Path(name).is_dir():
        step = Path(name) / CHECKPOINT
        if not step.is_dir():
            raise BadInput(
                f"{PREFIX}{name}: has no folder {CHECKPOINT}, which `export --format hub` makes; of a model that "
                "polysem did not train, `collect` scores the neurons"
            )
        return step
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadInput(f"{PREFIX}{name}: neither a directory nor a name such as hf:user/name or hf:user/name@revision")
    from huggingface_hub import constants, snapshot_download

    then = "what the cache holds of it is not whole"
    with hub_errors(f"{PREFIX}{name}", match["name"], match["revision"], then=then):
        snapshot = Path(
            snapshot_download(
                match["name"], revision=match["revision"], allow_patterns=[f"{CHECKPOINT}/*"], endpoint=_endpoint()
            )
        )
    if not (snapshot / CHECKPOINT).is_dir():
        raise BadInput(
            f"{PREFIX}{name}: holds no polysem checkpoint (no folder {CHECKPOINT}); of a model that polysem did not "
            "train, `collect` scores the neurons"
        )
    place = Path(constants.HF_HOME) / "polysem" / match["name"].replace("/", "--") / snapshot.name / CHECKPOINT
    if not place.is_dir():
        # The hub's cache is made of links, which a sealed directory must not hold.
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".tmp-{unique_number()}")
        discard(aside)
        try:
            shutil.copytree(snapshot / CHECKPOINT, aside)
            if not place.is_dir():
                aside.rename(place)
        finally:
            discard(aside)
    return place


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")
