"""`outputs`: a runtime of this computer whose page is closed while its cell runs."""

from __future__ import annotations

import json
import stat

import nbformat

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import Done, World

CODE = """
import time
from IPython.display import Image, display
time.sleep(0.5)
for n in range(20):
    print('line', n, flush=True)
    time.sleep(0.01)
print('\\x1b]0;title\\x07safe')
display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(1000), format='png'))
1 / 0
"""


def test_outputs_of_a_closed_page_are_shown_and_written_as_a_notebook(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\njupyter: {install: never}\n")
    started = world.run("up", "here")
    assert "Outputs are recorded while no page is open" in started.err
    page = Page(started.out.strip())
    kernel = page.start_kernel()
    assert world.run("outputs", "here").out == ""
    page.begin(kernel, CODE)

    def with_the_error() -> Done | None:
        done = world.run("outputs", "here")
        return done if done.out.rstrip().endswith("division by zero") else None

    recorded = eventually(with_the_error, what="the error in the outputs")
    assert recorded is not None
    assert [line for line in recorded.out.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(20)]
    assert "\x1b" not in recorded.out
    assert "\nsafe\n[image/png, 1008 B]\n" in recorded.out
    assert "# In" not in recorded.out
    assert "import time" in recorded.out
    assert f"kernel {kernel[:8]}: " in recorded.err

    path = world.home / "away.ipynb"
    assert world.run("outputs", "here", "--notebook", str(path), "--kernel", kernel[:6]).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    [cell] = notebook["cells"]
    assert cell["source"] == CODE
    assert [output["output_type"] for output in cell["outputs"]] == ["stream", "display_data", "error"]
    assert cell["outputs"][0]["text"].startswith("line 0\nline 1\n")
    refused = world.run("outputs", "here", "--notebook", str(path))
    assert (refused.code, "--force" in refused.err) == (2, True)
    document = world.run("outputs", "here", "--json").document
    assert [each["id"] for each in document["kernels"]] == [kernel]
    assert document["kernels"][0]["cells"][0]["source"] == CODE

    assert world.look("here")["outputs"]["requests"] == 1
    status = world.run("status").out
    assert "outputs recorded: 1 request, " in status
    assert "show them: `remote-runtime outputs here`" in status
    unknown = world.run("outputs", "here", "--kernel", "x")
    assert (unknown.code, kernel[:8] in unknown.err) == (2, True)
    [folder] = (world.home / ".local/share/remote-runtime/servers").iterdir()
    assert stat.S_IMODE((folder / "outputs").stat().st_mode) == 0o700
    assert world.run("down", "here", "--force").code == 0
    assert not folder.exists()
