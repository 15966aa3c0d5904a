"""Training the arms of a toy, one after the other; finished arms are kept."""

from dataclasses import replace
from pathlib import Path

from train.configfile import differences
from train.errors import BadInput, Diverged, Stopped
from train.files import clear_leftovers
from train.interrupt import Interruptible
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
from train.toys.runs import ToyRun, open_toy
from train.toys.training import publish_toy, train_with_bar
from train.toys.unfinished import require_same


def train_arms(base: ToyRun) -> tuple[list[ToyArm], int]:
    """Train the arms that a finished toy's config names; returns them and how many were there before.

    All start from the trained networks of `base` (or, from scratch, train as long as these did first) and read the
    samples that come after its last step. A signal ends the arm that is being trained; the finished ones stay.

    Raises:
        BadInput: an arm's directory holds something else; names what differs.
        EnvironmentProblem: too little memory, or a directory that cannot be written.
        Diverged, Stopped: naming the arm.
    """
    directory = arms_directory(base.directory)
    arms, n_found = [], 0
    with Interruptible() as interrupt:
        for number, name in enumerate(base.config.arms):
            out = directory / name
            if _is_there(base, name, out):
                n_found += 1
            else:
                clear_leftovers(out)
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
    return arms, n_found


def _is_there(base: ToyRun, name: str, out: Path) -> bool:
    if not out.is_dir():
        return False
    config, _ = open_toy(out)
    facts = read_facts(out)
    require_from(facts, base, out)
    require_same(config, arm_config(base.config, name), f"{out}: holds an arm")
    before, now = (
        each.model_dump(mode="json", exclude={"expectation"}) for each in (facts.settings, base.config.arms[name])
    )
    for key, (old, new) in differences(before, now).items():
        raise BadInput(f"{out}: holds an arm with {key} = {old!r}, now {new!r}; remove it to train anew")
    return True


def _train(base: ToyRun, name: str, out: Path, interrupt: Interruptible) -> None:
    arm, config = base.config.arms[name], arm_config(base.config, name)
    moved = 0.0
    if arm.scratch:
        fresh = fresh_start(base.config, name)
        first = train_with_bar(scratch_config(base.config, name), f"{name}, first part", interrupt, start=fresh)
        start = replace(fresh, model=first.model, steps_before=base.config.fit.steps)
    else:
        start, moved = start_of(base, name)
    trained = train_with_bar(config, name, interrupt, start=start)
    of_neurons = parents(base.config, arm)
    facts = ArmFacts(
        name=name,
        settings=arm,
        start_sha256=weights_hash(base),
        steps_before=base.config.fit.steps,
        relative_l2=moved,
        parents=None if of_neurons is None else of_neurons.tolist(),
    )
    naive = [naive_on_final_samples(each) for each in config.instances()]
    publish_toy(out, config, trained, naive, facts.model_dump(mode="json"))
