"""Names and patterns of a config's files: what is there under the very name wins."""

import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.patterns import matching


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[a]/*.txt", ["[a]/x.txt", "[a]/y[1].txt"]),
        ("[a]/y[1].txt", ["[a]/y[1].txt"]),
        ("a/[b]/*.txt", ["a/[b]/q.txt"]),
        ("a/[b]/[p-r].txt", ["a/[b]/q.txt"]),
        ("?/[b]/q.txt", ["a/[b]/q.txt"]),
        ("c?/x.txt", ["c?/x.txt"]),
        ("**/q.txt", ["a/[b]/q.txt"]),
        ("a/**/z.txt", ["a/b/c/z.txt"]),
        ("[a]/**/*.txt", ["[a]/x.txt", "[a]/y[1].txt"]),
        ("[ac]/x.txt", ["a/x.txt"]),
        ("./a//x.txt", ["./a//x.txt"]),
        ("a/b", []),
        ("**/y[1].txt", ["[a]/y[1].txt"]),
        ("**/[b]/*.txt", ["a/[b]/q.txt"]),
        ("a/**/[b]/**/q.txt", ["a/[b]/q.txt"]),
        ("**/c?/x.txt", ["c?/x.txt"]),
        ("nope/*.txt", []),
        ("", []),
    ],
)
def test_a_folder_or_file_of_the_very_name_is_taken_and_nothing_else(tmp_path, monkeypatch, pattern, expected):
    tree(tmp_path, "a/x.txt", "[a]/x.txt", "[a]/y[1].txt", "a/b/c/z.txt", "a/[b]/q.txt", "c?/x.txt", "cd/x.txt")
    monkeypatch.chdir(tmp_path)
    assert matching(pattern) == expected
    absolute = f"{glob.escape(str(tmp_path))}/{pattern}" if "[" in str(tmp_path) else f"{tmp_path}/{pattern}"
    assert matching(absolute) == [f"{tmp_path}/{name}" for name in expected]


PARTS = st.sampled_from(["a", "b", "*", "?", "**", "[ab]", "*.txt", "x.txt", ".", ".."])


@given(parts=st.lists(PARTS, min_size=1, max_size=5))
def test_where_no_name_looks_like_a_pattern_it_means_what_glob_says(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "plain"
    tree(root, "a/x.txt", "a/y.txt", "a/b/x.txt", "b/b/a/z.txt", "x.txt", ".h/x.txt")
    pattern = f"{root}/{'/'.join(parts)}"
    assert matching(pattern) == sorted({name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)})
