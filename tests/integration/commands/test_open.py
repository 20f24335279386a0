"""Colab's page, JupyterLab and the clipboard: what a browser and other programs get to see of the token."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.commands.desktop import open_page
from tests.support.clients.desktop_programs import Desktop, a_desktop, with_a_lab
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

HERE = "version: 1\ntarget: {kind: local}\n"


@pytest.fixture
def desktop(world: World) -> Desktop:
    made = a_desktop(world.home / "desktop")
    world.environ |= made.environ
    world.environ["PATH"] = os.pathsep.join([str(made.folder), world.environ["PATH"]])
    world.profile("here", HERE)
    return made


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    """The runtime ``here`` is up, with a lab."""
    with tempfile.TemporaryDirectory(prefix="rr-open-") as home:
        world = World(Path(home))
        with_a_lab(world)
        world.profile("here", HERE)
        world.up("here")
        yield world
        world.end()


@pytest.fixture
def lab(started: World, tmp_path: Path) -> Iterator[tuple[World, Desktop]]:
    """``started``, at a desktop of the test's own."""
    made, before = a_desktop(tmp_path / "desktop"), dict(started.environ)
    started.environ |= made.environ
    started.environ["PATH"] = os.pathsep.join([str(made.folder), started.environ["PATH"]])
    yield started, made
    started.environ = before


def test_up_shows_colabs_page_and_copies_the_url_when_it_is_asked_to(world: World, desktop: Desktop) -> None:
    done = world.run("up", "here", "--open", "--copy")
    assert done.code == 0, done.err
    url = done.out.strip()
    assert desktop.shown()[0] == "https://colab.research.google.com/"
    assert desktop.copied() == ["['-selection', 'clipboard']", url]
    assert "Copied the URL to the clipboard." in done.err

    assert world.run("open", "here").out.strip() == url
    (desktop.folder / "copied").unlink()
    assert world.run("url", "here", "--copy").out.strip() == url
    assert desktop.copied()[1] == url
    missing = world.run("open", "here", "--lab", "--json")
    assert (missing.code, missing.error["code"]) == (1, "lab-missing")
    assert "-m pip install jupyterlab" in missing.error["hint"]
    for variable in ("BROWSER", "DISPLAY"):
        del world.environ[variable]
    headless = world.run("open", "here", "--lab")
    assert (headless.code, headless.out) == (1, ""), "no URL that answers 404"
    assert "error[lab-missing]" in headless.err


def test_the_lab_is_reached_by_way_of_a_private_file_that_goes_away(lab: tuple[World, Desktop]) -> None:
    world, desktop = lab
    token = world.run("url", "here").out.strip().partition("=")[2]
    before = world.look("here")["connections"]
    done = world.run("open", "here", "--lab")
    assert done.code == 0, done.err
    address, argv, mode, page = desktop.shown()
    assert address.startswith("file://")
    assert token not in argv
    assert mode == "0o600"
    assert page == "this is the lab"
    assert not (world.state / "here.html").exists()
    assert done.out.strip() == f"http://rr-here.localhost:{world.look('here')['local_port']}/lab"
    counted = world.look("here")["connections"]
    more = [counted[each] - before[each] for each in ("carried", "empty", "waiting")]
    assert more == [1, 0, 0], "the browser's alone"
    assert token not in done.out + done.err


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_the_private_file_goes_away_when_the_command_is_ended(lab: tuple[World, Desktop], sign: signal.Signals) -> None:
    world, desktop = lab
    (desktop.folder / "browser").write_text("#!/bin/sh\n")  # it never comes
    command = world.start("open", "here", "--lab")
    page = world.state / "here.html"
    eventually(lambda: page.exists() or None)
    command.send_signal(sign)
    command.communicate(timeout=60)
    assert command.returncode == 130
    assert not page.exists()


def test_without_a_desktop_up_warns_and_prints_the_url(world: World, desktop: Desktop) -> None:
    for variable in ("BROWSER", "DISPLAY"):
        del world.environ[variable]
    done = world.run("up", "here", "--open", "--copy")
    assert done.code == 0
    assert done.out.startswith("http://localhost:")
    assert "! Can't open a browser: no desktop runs in this session" in done.err
    assert "! This computer has no clipboard" in done.err
    again = world.run("up", "here", "--open", "--copy", "--json")
    assert again.code == 0
    assert [warning["code"] for warning in again.document["warnings"]] == ["no-clipboard", "no-browser"]
    world.environ["WAYLAND_DISPLAY"] = "wayland-0"
    told = world.run("up", str(world.profiles / "here.yaml"), "--copy", "--json")
    assert "Install wl-copy" in told.document["warnings"][0]["hint"]


def test_where_nothing_can_be_shown_or_copied_the_url_is_printed_with_what_to_do(lab: tuple[World, Desktop]) -> None:
    world, _ = lab
    url = world.run("url", "here").out.strip()
    for variable in ("BROWSER", "DISPLAY"):
        del world.environ[variable]
    for command, code, printed, next_ in (
        (("url", "--copy"), "no-clipboard", url, "by hand"),
        (("open",), "no-browser", url, "Open https://colab.research.google.com/ in a browser"),
        (("open", "--copy"), "no-clipboard", url, "Open https://colab.research.google.com/ in a browser"),
        (("open", "--lab"), "no-browser", url.replace("/?", "/lab?"), "Open the URL above"),
    ):
        verb, *options = command
        done = world.run(verb, "here", *options)
        assert (done.code, done.out.strip()) == (1, printed)
        assert f"error[{code}]" in done.err
        assert next_ in done.err
        told = world.run(verb, "here", *options, "--json")
        assert (told.code, told.document["url"], told.error["code"]) == (1, printed, code)


def test_what_fails_afterwards_leaves_the_runtime_up_and_is_told(lab: tuple[World, Desktop]) -> None:
    world, desktop = lab
    del world.environ["DISPLAY"]  # else another browser would be tried
    (desktop.folder / "browser").write_text("#!/bin/sh\nexit 1\n")
    done = world.run("up", "here", "--open")
    assert done.code == 0
    assert "! Can't start a browser" in done.err
    assert done.out.startswith("http://localhost:")
    assert world.look("here")["state"] == "ready"


def test_what_is_not_up_cannot_be_opened(world: World, desktop: Desktop) -> None:
    for options in ([], ["--lab"]):
        refused = world.run("open", "here", *options, "--json")
        assert (refused.code, refused.error["code"]) == (1, "not-up")
    assert not (desktop.folder / "shown").exists()


def test_a_page_is_shown_without_what_a_strangers_folder_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "webbrowser.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    open_page("http://localhost:1/", {**os.environ, "BROWSER": "true", "DISPLAY": ":0"})
