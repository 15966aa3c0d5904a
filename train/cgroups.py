"""The limits of the control groups that this process is in: what a container or a batch system grants.

A limit may stand at any group between the process' own and the topmost, so all of them are read. Version 2 has one
tree, version 1 one for each controller.
"""

from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""Lines such as `0::/user.slice/job7` (version 2) and `4:cpu,cpuacct:/job7` (version 1)."""


def granted_cores() -> float | None:
    """Cores that quotas grant; None where there is no quota."""
    quotas = []
    for group in _groups("cpu"):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        try:
            if float(quota) > 0 and float(period) > 0:
                quotas.append(float(quota) / float(period))
        except ValueError:  # "max": no quota
            continue
    return min(quotas, default=None)


def free_bytes() -> int | None:
    """Bytes that this process' groups may still take; None where there is no limit.

    Pages of files that were not used lately count as free: the kernel drops them first.
    """
    return min((_free(group) for group in _groups("memory") if _limit(group) is not None), default=None)


def granted_bytes() -> int | None:
    """Bytes that this process' groups may take in all; None where there is no limit."""
    return min((limit for group in _groups("memory") if (limit := _limit(group)) is not None), default=None)


def _free(group: Path) -> int:
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    lines = dict(line.rsplit(maxsplit=1) for line in _text(group / "memory.stat").splitlines())
    cached = int(lines.get("total_inactive_file", lines.get("inactive_file", 0)))
    return max(0, (_limit(group) or 0) - max(0, used - cached))


def _limit(group: Path) -> int | None:
    """Bytes; version 1 writes a number near 2^63 where there is none."""
    limits = (_number(group / name) for name in ("memory.max", "memory.limit_in_bytes"))
    return next((limit for limit in limits if limit is not None and limit < 2**60), None)


def _groups(controller: str) -> Iterator[Path]:
    """The directories of this process' groups, its own first, in the trees that can limit what the controller counts.

    A container sees a part of the tree, and may not see the path that its processes are said to be in.
    """
    named = [line.split(":", 2) for line in _text(OWN).splitlines() if line.count(":") >= 2]
    paths = {kind: path for _, kinds, path in named for kind in kinds.split(",")}
    trees = [(MOUNTED, paths.get("", "/")), (MOUNTED / "unified", paths.get("", "/"))]
    trees += [(MOUNTED / name, paths.get(controller, "/")) for name in (controller, "cpu,cpuacct")]
    for mounted, path in trees:
        parts = [part for part in Path(path).parts if part != "/"]
        if ".." in parts:  # outside of what is seen
            parts = []
        for length in range(len(parts), -1, -1):
            yield mounted.joinpath(*parts[:length])


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
