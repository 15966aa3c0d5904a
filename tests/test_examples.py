"""The notebooks of examples/ run, and what is committed of them is what they give."""

import re
from pathlib import Path

import nbformat
import pytest

from examples.refresh import NOTEBOOKS, execute

LOCAL = re.compile(r"/tmp/|/home/|/root/|/work/|/Users/|site-packages")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_committed_outputs_are_whole_and_name_no_place_of_the_machine(path: Path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    for output in outputs:
        assert output.get("name") != "stderr"
        texts = [
            output.get("text", ""),
            *(str(part) for kind, part in output.get("data", {}).items() if "png" not in kind),
        ]
        assert not [text for text in texts if LOCAL.search(text)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own libraries, which run the kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_an_empty_directory(path: Path, tmp_path: Path):
    executed, committed = execute(path, tmp_path), nbformat.read(path, as_version=4)
    kinds = [
        [[output.output_type for output in cell.get("outputs", ())] for cell in each.cells]
        for each in (executed, committed)
    ]
    assert kinds[0] == kinds[1]
