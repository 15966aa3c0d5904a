"""The table of scores: every score once, with everything a reader needs to judge it."""

from analyze.scores import SCORES
from analyze.scores.catalogue import score_list


def test_every_score_says_what_it_is_costs_and_fails_at():
    table = score_list()
    assert [row[0].split(",")[0] for row in table.rows] == [f"{one.number} {name}" for name, one in SCORES.items()]
    numbers = [one.number for one in SCORES.values()]
    assert numbers == sorted(numbers)
    assert numbers[:3] == [-1, 0, 0], "the headline, K_eff, and K_eff three times"
    for row in table.rows:
        assert all(row)
        assert row[4].startswith(("AUROC", "not measur"))


def test_the_command_prints_it(analyze_command):
    said = analyze_command("scores")
    assert said.code == 0
    assert all(f" {name}" in said.out for name in SCORES)
