"""Which Python of a machine runs Jupyter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote.interpreters import PROBE, Interpreter, choose, probe
from remote_runtime.jupyter.remote.private_venv import choose_base
from remote_runtime.jupyter.remote.python_candidates import find_candidates
from remote_runtime.launcher.remote.reply import ReplyWriter

BARE = Interpreter("/usr/bin/python3", "3.12.3", pip=True)
PLAIN = Interpreter("/opt/plain/bin/python", "3.10.2", jupyter_server="2.14.0", ipykernel="6.29")
FRAMEWORKS = Interpreter(
    "/opt/conda/bin/python", "3.10.2", jupyter_server="1.24.0", ipykernel="6.29", frameworks=("torch",)
)


@pytest.mark.parametrize(
    ("versions", "kind"),
    [
        ({"jupyter_server": "2.21.1", "ipykernel": "7.0"}, "server2"),
        ({"jupyter_server": "1.24.0", "notebook": "6.4.12", "ipykernel": "6"}, "server1"),
        ({"notebook": "6.5.7", "ipykernel": "6"}, "notebook6"),
        ({"notebook": "6.3.0", "ipykernel": "6"}, ""),
        ({"notebook": "7.2.0", "ipykernel": "6"}, ""),
        ({"jupyter_server": "1.23.6", "ipykernel": "6"}, ""),
        ({"jupyter_server": "2.0.0rc1", "ipykernel": "6"}, "server2"),
        ({"jupyter_server": "2.14.0"}, ""),
    ],
)
def test_what_counts_as_a_usable_jupyter(versions: dict[str, str], kind: str) -> None:
    assert Interpreter("/x/python", "3.10.1", **versions).kind == kind  # type: ignore[arg-type]  # only texts are in it


def test_the_one_with_frameworks_wins_over_an_earlier_bare_one() -> None:
    assert choose([BARE, PLAIN, FRAMEWORKS]) == FRAMEWORKS
    assert choose([BARE, PLAIN]) == PLAIN
    assert choose([BARE]) is None


def test_a_private_environment_is_made_from_the_newest_python_or_one_that_lends_frameworks() -> None:
    lending = Interpreter("/opt/dl/bin/python", "3.9.1", frameworks=("torch",))
    assert choose_base([Interpreter("/usr/bin/python3", "99.1.0", pip=True), PLAIN]).python == "99.1.0"
    assert choose_base([BARE, lending]) == lending


def test_a_probe_does_not_import_from_the_folder_it_runs_in(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(5)\n")
    subprocess.run([sys.executable, "-c", PROBE], cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)


def test_a_jupyter_script_on_the_path_leads_to_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "environment" / "bin"
    hidden.mkdir(parents=True)
    (hidden / "python3.11").symlink_to(sys.executable)
    scripts = tmp_path / "bin"
    scripts.mkdir()
    (scripts / "jupyter").write_text(f"#!{hidden}/python3.11\nprint()\n")
    (scripts / "jupyter").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{scripts}:{os.environ['PATH']}")
    found = find_candidates(os.environ)
    assert f"{hidden}/python3.11" in found
    assert len({os.path.realpath(os.path.dirname(path)) for path in found}) == len(found)


def test_a_python_that_says_nonsense_or_does_not_run_is_not_usable(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho remote-runtime-probe:nonsense\n")
    script.chmod(0o755)
    with open(os.devnull, "w") as nobody:
        nonsense, missing, real = probe(
            [str(script), "/no/such", sys.executable], os.environ, ReplyWriter("", nobody, 30)
        )
    assert (nonsense.python, nonsense.kind, missing.kind) == ("", "", "")
    assert nonsense.unusable_reason() == "Python does not run"
    assert real.kind == "server2"
