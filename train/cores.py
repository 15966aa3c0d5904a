"""How many cores this process may use: the machine's, less what affinity, a container or a batch system withholds."""

import os
from math import ceil

from train.cgroups import granted_cores


def usable_cores() -> int:
    """Cores that this process may use, at least 1: within its affinity and its cgroups' quotas, rounded up."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = granted_cores()
    return max(1, cores if quota is None else min(cores, ceil(quota)))
