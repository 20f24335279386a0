"""A browser and a clipboard that write down what they are given, as programs of a desktop."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..environment.world import World

_BROWSER = """#!{python}
import os, re, stat, sys, urllib.request
url = sys.argv[1]
notes = [url, repr(sys.argv)]
if url.startswith("file://"):
    path = url[len("file://"):]
    notes.append(oct(stat.S_IMODE(os.stat(path).st_mode)))
    target = re.search('url=([^"]*)"', open(path).read())[1]
    notes.append(urllib.request.urlopen(target).read().decode())
open({notes!r}, "w").write("\\n".join(notes))
"""
_CLIPBOARD = """#!{python}
import sys
open({notes!r}, "w").write(sys.argv[1:].__repr__() + "\\n" + sys.stdin.read())
"""

# A server extension with JupyterLab's address, and nothing else of it.
LAB = """
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import authenticated

class Lab(JupyterHandler):
    @authenticated
    def get(self):
        self.finish("this is the lab")

def _jupyter_server_extension_points():
    return [{"module": "a_lab"}]

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [("/lab", Lab)])
"""


@dataclass(frozen=True)
class Desktop:
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"BROWSER": str(self.folder / "browser"), "DISPLAY": ":0"}

    def shown(self) -> list[str]:
        """The address, the argv, and for a file its mode and what its target answered."""
        return (self.folder / "shown").read_text().split("\n", 3)

    def copied(self) -> list[str]:
        """The options of the clipboard's program, and the text."""
        return (self.folder / "copied").read_text().split("\n", 1)


def a_desktop(folder: Path) -> Desktop:
    """``folder`` belongs on the PATH."""
    folder.mkdir()
    for name, text, notes in (("browser", _BROWSER, "shown"), ("xclip", _CLIPBOARD, "copied")):
        program = folder / name
        program.write_text(text.format(python=sys.executable, notes=str(folder / notes)))
        program.chmod(0o755)
    return Desktop(folder)


def with_a_lab(world: World) -> None:
    (world.home / "a_lab.py").write_text(LAB)
    (world.home / ".jupyter").mkdir()
    config = {"ServerApp": {"jpserver_extensions": {"a_lab": True}}}
    (world.home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(config))
    world.environ["PYTHONPATH"] = os.pathsep.join([str(world.home), world.environ["PYTHONPATH"]])
