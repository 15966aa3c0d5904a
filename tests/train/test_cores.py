"""The cores and the memory that a process may use: its machine's, and what control groups leave of them."""

import os
from pathlib import Path

import psutil
import pytest

from train import cgroups, cores
from train.memory import free_memory

GIGABYTE = 10**9


@pytest.fixture
def groups(monkeypatch, tmp_path) -> Path:
    """Eight cores, 64 GB, and a tree of groups that the test fills."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GIGABYTE}))
    monkeypatch.setattr(cgroups, "MOUNTED", tmp_path / "groups")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    return tmp_path / "groups"


def put(groups: Path, own: str = "", **files: str) -> None:
    """Files by path, and what the kernel says of the process' own groups."""
    (groups.parent / "own").write_text(own)
    for name, text in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_without_a_group_the_machine_counts(groups):
    assert cores.usable_cores() == 8
    assert free_memory() == 64 * GIGABYTE


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 8), ("250000 100000", 3), ("1000 100000", 1), ("nonsense", 8)]
)
def test_a_quota_of_version_2_is_rounded_up(groups, text, expected):
    put(groups, "0::/", **{"cpu.max": text})
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2)])
@pytest.mark.parametrize("tree", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_counts(groups, quota, expected, tree):
    put(groups, "", **{f"{tree}/cpu.cfs_quota_us": quota, f"{tree}/cpu.cfs_period_us": "100000"})
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"cpu.max": "600000 100000", "job7/cpu.max": "300000 100000", "job7/step/cpu.max": "max 100000"}, 3),
        ({"cpu.max": "max 100000", "job7/cpu.max": "500000 100000", "job7/step/cpu.max": "200000 100000"}, 2),
        ({"job8/cpu.max": "100000 100000"}, 8),
    ],
    ids=["of a parent", "of its own", "of a stranger"],
)
def test_the_lowest_quota_between_a_process_and_the_top_counts(groups, quotas, expected):
    put(groups, "0::/job7/step\n", **quotas)
    assert cores.usable_cores() == expected


def test_nested_groups_of_version_1_count(groups):
    own = "5:memory:/slurm/job7\n4:cpu,cpuacct:/slurm/job7\n0::/other\n"
    job = {"cpu,cpuacct/slurm/job7/cpu.cfs_quota_us": "400000", "cpu,cpuacct/slurm/job7/cpu.cfs_period_us": "100000"}
    memory = {
        "memory/slurm/job7/memory.limit_in_bytes": str(10 * GIGABYTE),
        "memory/slurm/job7/memory.usage_in_bytes": str(7 * GIGABYTE),
        "memory/slurm/job7/memory.stat": f"inactive_file 1\ntotal_inactive_file {2 * GIGABYTE}",
        "memory/memory.limit_in_bytes": str(2**63 - 4096),
        "memory/memory.usage_in_bytes": str(60 * GIGABYTE),
    }
    put(groups, own, **job, **memory)
    assert cores.usable_cores() == 4
    assert free_memory() == 5 * GIGABYTE


def test_the_least_memory_between_a_process_and_the_top_counts(groups):
    files = {
        "memory.max": str(32 * GIGABYTE),
        "memory.current": str(28 * GIGABYTE),
        "job7/memory.max": "max",
        "job7/step/memory.max": str(16 * GIGABYTE),
        "job7/step/memory.current": str(2 * GIGABYTE),
        "job7/step/memory.stat": f"anon 5\ninactive_file {GIGABYTE}",
    }
    put(groups, "0::/job7/step", **files)
    assert free_memory() == 4 * GIGABYTE
    put(groups, "0::/job7/step", **{"memory.current": str(4 * GIGABYTE)})
    assert free_memory() == 15 * GIGABYTE
    put(groups, "0::/job7/step", **{"job7/step/memory.current": str(40 * GIGABYTE)})
    assert free_memory() == 0


def test_a_container_that_does_not_see_its_own_path_takes_the_limits_that_it_sees(groups):
    put(groups, "4:cpu:/docker/abc\n0::/../outside\n", **{"cpu.max": "300000 100000"})
    assert cores.usable_cores() == 3


def test_a_limit_above_what_is_free_changes_nothing(groups):
    put(groups, "0::/", **{"memory.max": str(100 * GIGABYTE), "memory.current": "5"})
    assert free_memory() == 64 * GIGABYTE


def test_a_system_without_affinity_counts_its_cores(groups, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores.usable_cores() == 5
