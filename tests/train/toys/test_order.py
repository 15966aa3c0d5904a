"""The order in which scripts/toys.sh trains toys."""

from functools import partial

from tests.commands import Command
from train.toys.listing import SHIPPED, about_of, shipped_configs
from train.toys.order import asks_a_toy_problem, cost, names


def test_the_cheapest_come_first_and_only_those_that_ask_a_problem() -> None:
    chosen = names()
    assert chosen
    assert {about_of(SHIPPED / f"{name}.toml").problem for name in chosen} <= {f"4.{n}" for n in range(1, 21)}
    costs = [cost(SHIPPED / f"{name}.toml") for name in chosen]
    assert costs == sorted(costs)
    assert {"xor-compositions", "gru-onion", "two-bases", "bumps-on-a-circle", "attention-heads"} <= set(chosen)
    assert not asks_a_toy_problem(SHIPPED / "widening-abs.toml"), "4.44 is not one of them"


def test_all_are_every_shipped_one(train_command: Command) -> None:
    toy = partial(train_command, "toy")
    assert sorted(toy("--names", "all").out.split()) == sorted(path.stem for path in shipped_configs())
    assert toy("--names", "problems").out.split() == names()
    assert toy("--names", "all", "abs-20-10").is_refusal(2, "--names stands alone")
