"""Training the arms of a toy, one after the other; what is finished is found again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from train.configfile import differences
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.files import discard, publishing
from train.interrupt import Interruptible
from train.toys.arm_config import ArmConfig
from train.toys.arms.store import (
    ArmFacts,
    ToyArm,
    arm_config,
    arms_directory,
    fresh_start,
    parents,
    read_facts,
    require_from,
    scratch_config,
    start_of,
    weights_hash,
)
from train.toys.baseline import naive_on_final_samples
from train.toys.config import ToyConfig
from train.toys.fit import Fit, Start, fit
from train.toys.runs import ARM, ToyRun, open_toy, write_toy
from train.toys.unfinished import require_same


def train_arms(base: ToyRun) -> tuple[list[ToyArm], int]:
    """Train the arms that a finished toy's config names; returns them and how many had been there before.

    All start from the trained networks of `base` (or beside them, from scratch) and read the samples that come after
    its last step. A signal ends the arm that is being trained; the finished ones stay.

    Raises:
        BadInput: an arm's directory holds something else; names what differs.
        EnvironmentProblem: too little memory, or a directory that cannot be written.
        Diverged, Stopped: naming the arm.
    """
    directory = arms_directory(base.directory)
    arms, found = [], 0
    with Interruptible() as interrupt:
        for number, name in enumerate(base.config.arms):
            out = directory / name
            if _is_there(base, name, out):
                found += 1
            else:
                _clear(out)
                try:
                    _train(base, name, out, interrupt)
                except Stopped as failure:
                    raise Stopped(
                        f"{out}: {failure}, but for this arm, which begins anew; "
                        f"{number} of {len(base.config.arms)} arms are finished"
                    ) from None
                except Diverged as failure:
                    raise Diverged(f"{out}: {failure}") from None
            arms.append(ToyArm.load(out))
    return arms, found


def _is_there(base: ToyRun, name: str, out: Path) -> bool:
    if not out.is_dir():
        return False
    config, _ = open_toy(out)
    facts = read_facts(out)
    require_from(facts, base, out)
    require_same(config, arm_config(base.config, name), f"{out}: holds an arm")
    told, asked = (each.model_dump(mode="json", exclude={"expectation"}) for each in (facts.settings, _arm(base, name)))
    for key, (old, new) in differences(told, asked).items():
        raise BadInput(f"{out}: holds an arm with {key} = {old!r}, now {new!r}; remove it to train anew")
    return True


def _arm(base: ToyRun, name: str) -> ArmConfig:
    return base.config.arms[name]


def _clear(out: Path) -> None:
    """Delete what dead processes were writing: the caller holds the base's lock, so nobody else is."""
    if out.parent.is_dir():
        for path in out.parent.glob(f".tmp-{out.name}-*"):
            discard(path)


def _train(base: ToyRun, name: str, out: Path, interrupt: Interruptible) -> None:
    arm, config = _arm(base, name), arm_config(base.config, name)
    moved = 0.0
    if arm.scratch:
        fresh = fresh_start(base.config, name)
        before = _fit(scratch_config(base.config, name), f"{name}, first part", interrupt, fresh)
        start = replace(fresh, model=before.model, steps_before=base.config.fit.steps)
    else:
        start, moved = start_of(base, name)
    trained = _fit(config, name, interrupt, start)
    born = parents(base.config, arm)
    facts = ArmFacts(
        name=name,
        settings=arm,
        start_sha256=weights_hash(base),
        steps_before=base.config.fit.steps,
        relative_l2=moved,
        parents=None if born is None else born.tolist(),
    )
    naive = [naive_on_final_samples(each) for each in config.instances()]
    manifest: dict[str, Any] = {}
    try:
        with publishing(out, manifest) as aside:
            manifest |= write_toy(aside, config, trained, naive) | {"arm": name}
            (aside / ARM).write_text(json.dumps(facts.model_dump(mode="json"), allow_nan=False), encoding="utf-8")
    except OSError as failure:
        raise EnvironmentProblem(f"{out}: could not be written ({failure.strerror or failure})") from None


def _fit(config: ToyConfig, name: str, interrupt: Interruptible, start: Start) -> Fit:
    with tqdm(total=config.fit.steps, unit="step", desc=name, disable=None, dynamic_ncols=True) as bar:

        def at_every_step() -> bool:
            bar.update()
            return interrupt.asked

        return fit(config, stop=at_every_step, start=start)
