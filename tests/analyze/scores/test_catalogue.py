"""The table of scores: every score once, with everything a reader needs to judge it."""

from analyze.scores import SCORES
from analyze.scores.catalogue import score_list
from tests.analyze.test_commands import analyze


def test_every_score_says_what_it_is_costs_and_fails_at():
    table = score_list()
    assert [row[0].split(",")[0] for row in table.rows] == [f"{one.number} {name}" for name, one in SCORES.items()]
    assert sorted({one.number for one in SCORES.values()}) == list(range(8)), "mono throughout is K_eff three times"
    for row in table.rows:
        assert all(row)
        assert row[4].startswith(("AUROC", "not measur"))


def test_the_command_prints_it(monkeypatch, capsys):
    code, printed, _ = analyze(monkeypatch, capsys, "scores")
    assert code == 0
    assert all(f" {name}" in printed for name in SCORES)
