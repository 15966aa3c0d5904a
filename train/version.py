"""The line that says which polysem runs, and on what."""

import platform


def version_line() -> str:
    """Version, commit, Python, torch and the device that `device = "auto"` takes: what a report of a fault needs."""
    import torch  # here: a command line that only asks for help does not wait for it

    from train.devices import best_device
    from train.provenance import code_facts

    facts = code_facts()
    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    commit = facts.get("commit", "unknown")[:12] + (" and changes" if facts.get("dirty") else "")
    version, python = facts.get("version", "not installed"), platform.python_version()
    return (
        f"polysem {version}, commit {commit}, Python {python}, torch {torch.__version__}, device {device.type} ({name})"
    )
