"""When uv installs Jupyter and when pip does, and what is said when one of them, or JupyterLab, fails."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import private_venv
from remote_runtime.jupyter.remote.installer import Installer, find_uv
from remote_runtime.jupyter.remote.interpreters import Interpreter
from remote_runtime.jupyter.remote.python_choice import missing_packages_notes
from remote_runtime.launcher.remote.reply import ReplyWriter, ReportedError

NO_PATH = {"PATH": ""}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def venv(home: Path) -> Path:
    """A private environment whose pip installs everything but what is in the file ``refused``."""
    folder = home / ".local/share/remote-runtime/venv"
    program(
        folder / "bin" / "python",
        f'for p do :; done; cat "$p" >> {home}/installed\n'
        f'if grep -q -f {home}/refused "$p"; then echo "ERROR: No matching distribution found"; exit 1; fi',
    )
    (home / "refused").write_text("")
    return folder


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def told_by(folder: Path, uv: str, packages: list[str]) -> tuple[list[str], list[str]]:
    """The notes, and the progress texts."""
    stream = io.StringIO()
    installer = Installer(str(folder), os.environ, ReplyWriter("", stream, 30.0), uv)
    installer.install(packages)
    return installer.notes, [json.loads(line).get("say", "") for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("folder", [".local/bin", ".cargo/bin", "elsewhere"])
def test_uv_is_found_on_the_path_and_where_its_installers_put_it(home: Path, folder: str) -> None:
    assert find_uv(NO_PATH) == ""
    uv = program(home / folder / "uv", "")
    assert find_uv({"PATH": str(home / "elsewhere")}) == str(uv)
    assert find_uv({**NO_PATH, "UV": str(uv)}) == str(uv)


def test_pip_is_used_where_only_pip_is_configured_for_an_index(home: Path) -> None:
    uv = str(program(home / ".local/bin/uv", ""))
    mirror: Mapping[str, str] = {**NO_PATH, "PIP_INDEX_URL": "https://mirror.example/simple"}
    assert find_uv(mirror) == ""
    assert find_uv({**mirror, "UV_DEFAULT_INDEX": "https://mirror.example/simple"}) == uv
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[global]\ntimeout = 60\n")
    assert find_uv(NO_PATH) == uv
    config.write_text("[global]\nextra-index-url = https://mirror.example/simple\n")
    assert find_uv(NO_PATH) == ""
    (home / ".config" / "uv").mkdir()
    (home / ".config" / "uv" / "uv.toml").write_text("")
    assert find_uv(NO_PATH) == uv


def test_uv_installs_and_pip_does_not_run(home: Path, venv: Path) -> None:
    uv = program(home / "uv", f'echo "$@" > {home}/uv-argv; echo Resolved 3 packages in 1ms; sleep 0.5')
    notes, told = told_by(venv, str(uv), ["numpy"])
    assert notes == []
    assert told == ["Installing Jupyter with uv", "Installing Jupyter: Resolved 3 packages in 1ms"]
    assert f"pip install --python {venv}/bin/python -r " in (home / "uv-argv").read_text()
    assert not (home / "installed").exists()
    assert not (venv / "requirements.txt").exists()


def test_when_uv_fails_pip_installs_and_the_reason_is_a_note_without_passwords(home: Path, venv: Path) -> None:
    failure = "error: Failed\\n  cause: retried\\n  cause: no `https://me:hunter2@mirror.example/simple/`"
    uv = program(home / "uv", f"printf '{failure}'; exit 2")
    notes, told = told_by(venv, str(uv), ["numpy"])
    (note,) = notes
    assert note.startswith("uv failed, so pip installed Jupyter: Failed: no `https://***@mirror.example")
    assert "hunter2" not in note + "".join(told)
    assert told[-1] == "Installing Jupyter with pip"
    assert (home / "installed").read_text() == "numpy\n"


def test_a_package_that_pip_refuses_is_named_with_the_end_of_its_output(home: Path, venv: Path) -> None:
    (home / "refused").write_text("nowhere\n")
    with pytest.raises(ReportedError) as caught:
        told_by(venv, "", ["nowhere @ https://me:hunter2@host.example/x"])
    error = caught.value.error
    assert error["what"] == "Can't install nowhere @ https://***@host.example/x with pip"
    assert error["why"] == "ERROR: No matching distribution found"


def complete(venv: Path, *, done: list[str], lab: bool) -> list[str]:
    reply = ReplyWriter("", io.StringIO(), 30.0)
    return private_venv.complete(str(venv), [], done, os.environ, reply, "", lab=lab)


def test_jupyterlab_is_installed_after_the_rest_and_added_to_an_older_environment(home: Path, venv: Path) -> None:
    assert complete(venv, done=[], lab=True) == []
    assert (home / "installed").read_text().splitlines() == [
        *private_venv.REQUIRED,
        *private_venv.REQUIRED,
        private_venv.LAB,
    ]
    assert private_venv.is_complete([], lab=True)

    (venv / private_venv.COMPLETE).write_text(json.dumps({"packages": private_venv.REQUIRED}))
    assert private_venv.is_complete([], lab=False)
    assert not private_venv.is_complete([], lab=True)
    assert complete(venv, done=private_venv.REQUIRED, lab=True) == []
    assert private_venv.is_complete([], lab=True)


@pytest.mark.parametrize("done", [[], private_venv.REQUIRED])
def test_jupyter_runs_without_the_lab_that_cannot_be_installed_and_is_tried_again_after_a_day(
    home: Path, venv: Path, done: list[str]
) -> None:
    (home / "refused").write_text("jupyterlab\n")
    (note,) = complete(venv, done=done, lab=True)
    assert note.startswith(
        "JupyterLab is not installed, so `open --lab` does not work. Can't install JupyterLab with pip: "
    )
    assert "No matching distribution found" in note
    assert "jupyter.lab: never" in note
    assert private_venv.is_complete([], lab=True)
    state = json.loads((venv / private_venv.COMPLETE).read_text())
    assert state["packages"] == private_venv.REQUIRED
    state["lab_failed"] -= private_venv.LAB_RETRY_S + 1
    (venv / private_venv.COMPLETE).write_text(json.dumps(state))
    assert not private_venv.is_complete([], lab=True)


def test_an_environment_that_was_never_complete_is_removed_and_a_complete_one_is_kept(home: Path, venv: Path) -> None:
    (home / "refused").write_text("jupyter_server\n")
    with pytest.raises(ReportedError):
        complete(venv, done=["ipykernel"], lab=True)
    assert venv.exists()
    with pytest.raises(ReportedError):
        complete(venv, done=[], lab=True)
    assert not venv.exists()


@pytest.mark.parametrize(
    ("missing", "frameworks", "is_private", "note"),
    [
        (("numpy", "pandas", "torch"), (), True, "This environment has no numpy, pandas or torch. Add them to "
         "jupyter.packages in the profile, or set another Python as jupyter.python"),
        (("pandas", "torch"), ("jax",), False, "/x/python has no pandas. Install them there, or set another Python "
         "as jupyter.python in the profile"),
        (("torch",), (), True, ""),
        ((), ("torch",), False, ""),
    ],
)  # fmt: skip
def test_a_note_names_the_packages_without_which_a_first_cell_fails(
    missing: tuple[str, ...], frameworks: tuple[str, ...], is_private: bool, note: str
) -> None:
    kernel = Interpreter("/x/python", "3.12.3", frameworks=frameworks, missing=missing)
    assert missing_packages_notes(kernel, is_private=is_private) == ([note] if note else [])


def test_the_time_of_an_installation_is_not_taken_from_the_start() -> None:
    reply = ReplyWriter("", io.StringIO(), within_s=12.0, install_s=10.0)
    assert 1.0 < reply.remaining_s() <= 2.0
    with reply.installing():
        assert 11.0 < reply.remaining_s() <= 12.0
        time.sleep(0.3)
    assert 1.9 < reply.remaining_s() <= 2.0


def test_an_installation_that_takes_all_of_its_time_leaves_none_but_what_was_left() -> None:
    reply = ReplyWriter("", io.StringIO(), within_s=0.4, install_s=0.2)
    with reply.installing():
        time.sleep(0.5)
    assert reply.remaining_s() == 0.0
