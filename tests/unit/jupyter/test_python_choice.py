"""Which Python is taken when some of them turn out to be broken, and what is said when none is left."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import private_venv, server_client
from remote_runtime.jupyter.remote.interpreters import Interpreter
from remote_runtime.jupyter.remote.kernelspec import overridden_notes
from remote_runtime.jupyter.remote.python_candidates import find_candidates, find_environments
from remote_runtime.jupyter.remote.python_choice import BrokenPython, PythonSearch
from remote_runtime.jupyter.remote.request import BridgeFiles, LaunchSpec
from remote_runtime.launcher.remote.reply import ReplyWriter, ReportedError

WHY = "Traceback\nImportError: jinja2 of another age"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def wish(**changes: object) -> LaunchSpec:
    facts: dict[str, object] = {
        "python": "auto", "install": "auto", "working_dir": "~", "port": None, "env": {}, "args": [], "packages": [],
        "origins": [], "socket": False, "bridge": BridgeFiles("", "", {}), "boot": "",
    }  # fmt: skip
    return LaunchSpec(**{**facts, **changes})  # type: ignore[arg-type]  # a test's table of changes


def answers(within_s: float = 30.0) -> ReplyWriter:
    return ReplyWriter("", io.StringIO(), within_s)


def test_one_that_the_profile_names_is_not_replaced_and_the_command_that_repairs_it_is_named(home: Path) -> None:
    search = PythonSearch(wish(python=sys.executable), os.environ, answers())
    assert search.find().server.path == sys.executable
    search.exclude(BrokenPython(sys.executable, "ipykernel", WHY))
    with pytest.raises(ReportedError) as caught:
        search.find()
    error = caught.value.error
    assert (error["code"], error["why"]) == ("jupyter-did-not-start", WHY)
    assert error["what"].startswith("ipykernel can't be imported")
    assert f"{sys.executable} -m pip install" in error["hint"]


def test_when_all_are_broken_and_none_may_be_made_each_is_named_with_its_reason(home: Path) -> None:
    env = {"PATH": str(Path(sys.executable).parent)}
    search = PythonSearch(wish(install="never"), env, answers())
    first = search.find().server.path
    search.exclude(BrokenPython(first, "Jupyter", WHY))
    with pytest.raises(ReportedError) as caught:
        search.find()
    error = caught.value.error
    assert error["code"] == "jupyter-missing"
    assert f"{first}: ImportError: jinja2 of another age" in error["why"]
    assert "jupyter.python" in error["hint"]


def test_our_own_environment_without_its_python_is_made_again_at_once(home: Path) -> None:
    """As after an upgrade of the distribution's Python."""
    venv = home / ".local/share/remote-runtime/venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/usr/bin/python3.0")
    (venv / private_venv.COMPLETE).write_text(json.dumps({"packages": private_venv.REQUIRED}))
    said = io.StringIO()
    with pytest.raises(ReportedError) as caught:
        private_venv.ensure([], [], os.environ, ReplyWriter("", said, 0.2), "")
    assert caught.value.error["what"] == "Installing Jupyter took too long"
    assert "Recreating the private environment for Jupyter: Python does not run" in said.getvalue()


def test_an_application_and_every_jupyter_on_the_path_lead_to_their_pythons(home: Path) -> None:
    """pipx links the application's own command only; the first ``jupyter`` need not be the one with a server."""
    pythons = []
    for name, command in (("kernel-only", "jupyter"), ("good", "jupyter"), ("pipx", "jupyter-lab")):
        python = fake_python(home / "envs" / name)
        (home / name).mkdir()
        (home / name / command).write_text(f"#!{python}\n")
        (home / name / command).chmod(0o755)
        pythons.append(str(python))
    found = find_candidates({"PATH": os.pathsep.join(str(home / name) for name in ("kernel-only", "good", "pipx"))})
    assert [path for path in found if path in pythons] == pythons


def test_environments_off_the_path_are_seen_by_what_is_in_them(home: Path) -> None:
    (home / ".conda").mkdir()
    listed = home / "elsewhere"
    (home / ".conda" / "environments.txt").write_text(f"{home}/gone\n{listed}\nnot a path\n")
    share = home / ".local" / "share"
    places = [
        listed, home / "miniconda3/envs/ml", home / "from variable/envs/a", share / "pipx/venvs/jupyterlab",
        share / "uv/tools/jupyterlab", home / ".virtualenvs/nb", home / ".pyenv/versions/3.12.1",
    ]  # fmt: skip
    for place in places:
        (place / "lib/python3.12/site-packages/jupyter_server").mkdir(parents=True)
    other = home / "miniconda3/envs/black"
    (other / "lib/python3.12/site-packages/black").mkdir(parents=True)
    pythons = [str(fake_python(place)) for place in [*places, other]]
    found = find_environments({"MAMBA_ROOT_PREFIX": str(home / "from variable")}, [pythons[0]])
    assert sorted(found) == sorted(pythons[1:-1])


def test_a_conda_environment_is_taken_rather_than_a_new_one_and_only_named_beside_a_jupyter_on_the_path(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(fake_python(home / "bare", jupyter_server="")))
    ml = home / "miniconda3" / "envs" / "ml"
    fake_python(ml, frameworks=("torch",))
    (ml / "lib/python3.12/site-packages/torch").mkdir(parents=True)
    env = {"PATH": str(home / "plain" / "bin")}
    alone = PythonSearch(wish(install="never"), env, answers()).find()
    assert (alone.server.path, alone.kernel.path, alone.notes) == (f"{ml}/bin/python", f"{ml}/bin/python", [])
    fake_python(home / "plain")
    beside = PythonSearch(wish(), env, answers()).find()
    assert beside.server.path == f"{home}/plain/bin/python3"
    assert beside.notes == [f"{ml}/bin/python has torch. `jupyter.python: {ml}/bin/python` uses it"]


def test_a_kernel_of_the_users_that_names_another_python_is_told(home: Path) -> None:
    python = Interpreter("/opt/jv/bin/python", "3.12.1", ipykernel="7")
    spec = home / ".local/share/jupyter/kernels/python3/kernel.json"
    assert overridden_notes({"HOME": str(home)}, python) == []
    spec.parent.mkdir(parents=True)
    for program, told in (
        ("python3", ""), ("/opt/jv/bin/python3", ""), ("/gone/bin/python", "does not exist"),
        (sys.executable, f"`jupyter.python: {sys.executable}`"),
    ):  # fmt: skip
        spec.write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"]}))
        notes = overridden_notes({"HOME": str(home)}, python)
        assert bool(notes) == bool(told)
        assert all(told in note and str(spec) in note and python.path in note for note in notes)
    spec.write_text("not JSON")
    assert overridden_notes({"HOME": str(home)}, python) == []


def test_a_default_kernel_whose_program_is_gone_is_named_with_its_file(home: Path) -> None:
    """``described`` is a part of what Jupyter's ``GET /api/kernelspecs`` answers."""
    spec = home / "data" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    for program, told in ((sys.executable, False), ("python3", False), ("/opt/gone/bin/python", True)):
        described = {"argv": [program, "-m", "ipykernel_launcher"], "display_name": "Python 3", "language": "python"}
        spec.write_text(json.dumps(described))
        specs = [server_client.describe_kernelspec("python3", described)]
        notes = server_client.missing_kernel_notes(specs, {"JUPYTER_PATH": str(home / "data")})
        assert bool(notes) == told
        assert all(str(spec) in note and program in note and "ipykernel install" in note for note in notes)
    assert server_client.missing_kernel_notes([], {}) == []
    assert (
        "has no kernel python3, only ir"
        in server_client.missing_kernel_notes([server_client.describe_kernelspec("ir", {})], {})[0]
    )


def fake_python(prefix: Path, **changes: object) -> Path:
    """A program that answers as a probe does."""
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "executable": str(python), "python": "3.12.1", "jupyter_server": "2.14.0", "notebook": "", "ipykernel": "6.29",
        "frameworks": [], "missing": [], "own_environment": True, "pip": True, **changes,
    }  # fmt: skip
    python.write_text(f"#!/bin/sh\necho 'remote-runtime-probe:{json.dumps(facts)}'\n")
    python.chmod(0o755)
    (prefix / "bin" / "python3").symlink_to("python")
    return python
