"""The cores that a process may use: affinity and the quota of a control group, whichever is less."""

import os

import pytest

from train import cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Eight cores in the affinity, and files for the quotas that the test writes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "CGROUP_V1", (tmp_path / "quota", tmp_path / "period"))
    return tmp_path


def test_without_a_quota_the_affinity_counts(machine):
    assert cores.usable_cores() == 8


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 8), ("250000 100000", 3), ("1000 100000", 1), ("nonsense", 8)]
)
def test_a_quota_of_cgroup_v2_is_rounded_up(machine, text, expected):
    (machine / "cpu.max").write_text(text)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2)])
def test_a_quota_of_cgroup_v1_counts_where_there_is_no_v2(machine, quota, expected):
    (machine / "quota").write_text(quota)
    (machine / "period").write_text("100000\n")
    assert cores.usable_cores() == expected


def test_a_system_without_affinity_counts_its_cores(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores.usable_cores() == 5
