"""The names, reprs and arguments of ``import remote_runtime``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import remote_runtime
from remote_runtime.api import ApiRuntime, MaskedUrl, ReadyRuntime
from remote_runtime.core import errors
from remote_runtime.core.model import Instance, Secret, Server

TOKEN = "5ec3e7" * 6
VM = Instance("gce", "my-vm", address="192.0.2.1", zone="us-central1-a", host_keys=("ssh-ed25519 AAAA",))
SERVER = Server(8888, 1, Secret(TOKEN), "/dir", True, "2.14", "1", "3.11", "/usr/bin/python3")


def ready(**changes: object) -> ReadyRuntime:
    fields = {
        "name": "work", "profile_path": "/p.yaml", "target": {"kind": "gce"}, "client_id": "c", "state": "ready",
        "profile_text": "version: 1\n" * 50, "instance": VM, "server": SERVER, "local_port": 8889,
    }  # fmt: skip
    return ReadyRuntime(**{**fields, **changes})  # type: ignore[arg-type]


def test_dir_lists_what_is_public_and_all_of_it_exists() -> None:
    assert dir(remote_runtime) == sorted(remote_runtime.__all__)
    for name in remote_runtime.__all__:
        assert getattr(remote_runtime, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        remote_runtime.nothing_of_the_kind  # noqa: B018  # to look is the test


def test_every_error_that_a_caller_can_catch_is_exported() -> None:
    public = set(errors.ERROR_CLASSES) - {errors.Bug}
    exported = {getattr(remote_runtime, name) for name in remote_runtime.__all__ if not name.endswith("Runtime")}
    assert public | {errors.RemoteRuntimeError} <= exported
    assert all(issubclass(each, remote_runtime.RemoteRuntimeError) for each in public)


def test_a_runtime_is_printed_in_one_line_without_its_token() -> None:
    assert str(ready()) == (
        "<remote_runtime.ReadyRuntime work: ready, my-vm in us-central1-a, "
        "http://localhost:8889/?token=*** (url.reveal() returns the URL with its token)>"
    )


def test_a_runtime_that_is_down_shows_the_reason_and_no_url() -> None:
    down = ApiRuntime(**vars(ready(state="down", why="the VM is gone")))
    assert str(down) == "<remote_runtime.ApiRuntime work: down, my-vm in us-central1-a, the VM is gone>"
    assert down.url is None


def test_a_host_and_this_computer_are_named_too() -> None:
    assert ready(instance=Instance("ssh", "box")).machine == "box"
    assert ready(instance=None, target={"kind": "local"}).machine == "local"


def test_a_notebook_shows_a_table_with_escaped_text_and_without_the_token() -> None:
    shown = ready(why="<script>")._repr_html_()
    assert "<caption>work</caption>" in shown
    assert "<th>machine</th><td>my-vm in us-central1-a</td>" in shown
    assert "&lt;script&gt;" in shown
    assert TOKEN not in shown


def test_a_url_says_how_to_get_all_of_it() -> None:
    url = ready().url
    assert TOKEN not in str(url) + repr(url)
    assert "reveal()" in str(url)
    assert url.reveal() == f"http://localhost:8889/?token={TOKEN}"
    assert url == MaskedUrl(url.reveal())


def test_a_runtime_without_a_url_is_not_ready() -> None:
    with pytest.raises(ValueError, match="work is not ready"):
        ready(server=None).url  # noqa: B018  # to read it is the test


def test_the_former_name_of_on_progress_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="use `on_progress") as caught:
        remote_runtime.open("nobody-has-it", tell=print)
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match="both `on_progress` and `tell`"):
        remote_runtime.open("nobody-has-it", tell=print, on_progress=print)


def test_a_state_file_that_cannot_be_read_hides_no_other_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTE_RUNTIME_STATE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    for name, text in (("broken", "{"), ("newer", json.dumps({"schema": 99, "runtime": {"tool_version": "9"}}))):
        (tmp_path / f"{name}.json").write_text(text)
    assert [(each.name, each.state) for each in remote_runtime.status()] == [("broken", "down"), ("newer", "down")]
