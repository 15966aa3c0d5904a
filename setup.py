"""What pyproject.toml cannot say: configs/ is packed as train/configs, beside a note of the commit built from."""

import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Writes train/commit.txt into the build, where it is built from a clone."""

    def run(self):
        """Build, then add the note."""
        super().run()
        if self.editable_mode or not Path(".git").exists():
            return
        try:
            command = ["git", "rev-parse", "HEAD"]
            commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
        except (OSError, subprocess.SubprocessError):
            return  # the version says less, and the build goes on
        (Path(self.build_lib) / "train" / "commit.txt").write_text(commit, encoding="utf-8")


setup(
    packages=[*find_packages(include=["train", "train.*", "analyze", "analyze.*"]), "train.configs"],
    package_dir={"train.configs": "configs"},
    package_data={
        "analyze": [
            "templates/*",
            "scores/validity.json",
            "headline/*.toml",
            "headline/*.parquet",
            "labels/families/*.toml",
            "validation/*.toml",
            "validation/*/*.toml",
            "validation/annotation/python_labels.parquet",
            "problems/*.toml",
            "problems/published.json",
        ],
        "train": ["data/classify.json"],
        "train.configs": ["*/*.toml", "*/*/*.toml", "*/*.yaml"],
    },
    cmdclass={"build_py": BuildWithCommit},
)
