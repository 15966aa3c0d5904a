"""Runs the notebooks of this folder and keeps their outputs: `python examples/refresh.py [NAME.ipynb ...]`.

A notebook runs in a temporary directory, on one thread, with this clone's `train` and `analyze`.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parent
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def execute(path: Path, directory: Path) -> NotebookNode:
    """The notebook with the outputs of a run in `directory`; what depends on machine and time is left out.

    So is tqdm's notice that a notebook without ipywidgets gets plain progress bars.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    paths = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute(env=env)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if "IProgress not found" not in output.get("text", "")]
    return notebook


if __name__ == "__main__":
    for path in [Path(word) for word in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as directory:
            nbformat.write(execute(path, Path(directory)), path)
        print(f"wrote {path}")
