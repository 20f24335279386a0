"""Notebooks executed in a kernel of a real Jupyter server, held against nbclient's."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import LocalError
from remote_runtime.jupyter import running_kernels
from remote_runtime.jupyter.health import Endpoint
from remote_runtime.jupyter.notebook_file import read_notebook, write_notebook_file
from remote_runtime.jupyter.notebook_run import NotebookEnd, NotebookRun
from tests.integration.jupyter.test_program_run import Reader

LIMIT_S = 60.0
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CELLS = (
    "x = 1\nx",
    "import sys\nprint('one'); print('two', file=sys.stderr); print('three')",
    "from IPython.display import HTML, Image, JSON, clear_output, display, update_display\n"
    "display(HTML('<b>b</b>\\n<i>i</i>'))\nhandle = display({'a': 1}, display_id='shown')",
    f"import base64\nImage(data=base64.b64decode('{PNG}'))",
    "print('gone'); clear_output(); print('stays')\nclear_output(wait=True)\nprint('instead')",
    "update_display(HTML('later'), display_id='shown')",
    "   ",
    "JSON({'list': [1, 2]})",
    "!echo from a shell",
    "await __import__('asyncio').sleep(0)\n{'dict': None}",
    "1 / 0",
    "'not reached without permission'",
)


NBCLIENT = """
import sys
import nbclient, nbformat
nbformat.validate(nbformat.read(sys.argv[2], 4))
notebook = nbformat.read(sys.argv[1], 4)
try:
    nbclient.NotebookClient(notebook, record_timing=False).execute()
finally:
    nbformat.write(notebook, sys.argv[1])
"""


def notebook(*codes: str) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "source": code,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, code in enumerate(codes)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def kernel(endpoint: Endpoint) -> Iterator[str]:
    """A new one: its execution counts begin at 1."""
    started = running_kernels.start_kernel(endpoint, "", Deadline(LIMIT_S))
    yield started.id
    running_kernels.end_kernel(endpoint, started.id, Deadline(LIMIT_S))


def executed(endpoint: Endpoint, kernel: str, document: dict[str, Any], **options: Any) -> tuple[NotebookEnd, Reader]:
    reader = Reader()
    return NotebookRun(endpoint, kernel, document, reader, threading.Event(), **options).run(), reader


def comparable(document: dict[str, Any]) -> list[Any]:
    """Outputs and counts, with the streams of a cell that follow each other as one, without process ids."""
    cells = []
    for cell in document["cells"]:
        outputs: list[dict[str, Any]] = []
        for output in cell.get("outputs", ()):
            last = outputs[-1] if outputs else {}
            if output["output_type"] == "stream" and last.get("name") == output["name"]:
                last["text"] = last["text"] + output["text"]
            else:
                outputs.append(dict(output))
        cells.append(["".join(cell["source"]), cell.get("execution_count"), outputs])
    return list(json.loads(re.sub(r"ipykernel_\d+", "ipykernel", json.dumps(cells))))


def test_the_outputs_are_those_of_nbclient(endpoint: Endpoint, kernel: str, tmp_path: Path) -> None:
    document = notebook(*CELLS, "print('skipped')")
    document["cells"][-1]["metadata"]["tags"] = ["skip-execution"]
    document["cells"].insert(0, {"cell_type": "markdown", "id": "m", "source": "# Title", "metadata": {}})
    path, other = tmp_path / "own.ipynb", tmp_path / "other.ipynb"
    for each in (path, other):
        write_notebook_file(each, document)
    own = read_notebook(path)
    ended, reader = executed(endpoint, kernel, own)
    write_notebook_file(path, own)
    command = [sys.executable, "-c", NBCLIENT, str(other), str(path)]
    by_nbclient = subprocess.run(command, cwd=tmp_path, check=False, timeout=LIMIT_S, capture_output=True, text=True)
    assert "CellExecutionError" in by_nbclient.stderr
    expected = read_notebook(other)
    assert comparable(read_notebook(path)) == comparable(expected)
    assert own["metadata"] == expected["metadata"]
    assert (ended.status, ended.failed) == (1, 11)
    assert b"one\nthree\n" in reader.output["stdout"]
    assert b"ZeroDivisionError" in reader.output["stderr"]


def test_a_cell_may_fail_if_its_tag_says_so(endpoint: Endpoint, kernel: str) -> None:
    own = notebook("1 / 0", "2", "exit(")
    own["cells"][0]["metadata"]["tags"] = ["raises-exception"]
    ended, _ = executed(endpoint, kernel, own)
    assert (ended.status, ended.cells, ended.failed) == (1, 3, 3)
    assert own["cells"][1]["outputs"][0]["data"]["text/plain"] == ["2"]
    again, _ = executed(endpoint, kernel, own, allow_errors=True)
    assert (again.status, again.cells, again.failed) == (0, 3, None)


def test_a_notebook_keeps_its_mode_its_link_and_all_that_is_not_output(tmp_path: Path) -> None:
    target, link = tmp_path / "target.ipynb", tmp_path / "link.ipynb"
    document = {"nbformat_minor": 4, "nbformat": 4, "metadata": {"own": {"ä": 1}}, "cells": []}
    target.write_text(json.dumps(document))
    target.chmod(0o640)
    link.symlink_to(target)
    write_notebook_file(link, copy.deepcopy(read_notebook(link)))
    assert link.is_symlink()
    assert (target.stat().st_mode & 0o777, json.loads(target.read_text())) == (0o640, document)
    write_notebook_file(tmp_path / "new.ipynb", document)
    assert (tmp_path / "new.ipynb").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"target.ipynb", "link.ipynb", "new.ipynb"}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"cells": [1], "nbformat": 4}', '{"cells": [], "nbformat": 3}', "[" * 100_000]
)
def test_what_is_no_notebook_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "no.ipynb").write_text(text)
    with pytest.raises(LocalError) as caught:
        read_notebook(tmp_path / "no.ipynb")
    assert caught.value.code == "code-unreadable"
