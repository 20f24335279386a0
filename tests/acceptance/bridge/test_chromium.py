"""A real Chromium on a page of https://colab.research.google.com: both transports, and the browser's permission."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.profile import COLAB_ORIGINS
from tests.support.clients.chromium import Chromium, Tab, running_chromium
from tests.support.clients.colab_page import serving_page
from tests.support.clients.desktop_programs import a_desktop, with_a_lab
from tests.support.clients.page import COLAB, Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.servers.echo_servers import Target
from tests.support.servers.sshd import Sshd, running_sshd

EVIL = "https://evil.example"
# Chromium 145 split the first into the second and one for the local network, and asks for both on pages' behalf.
PERMISSIONS = ("local-network-access", "loopback-network")
SILENT_BROWSER = "Access other apps and services on this device"
PAGE_S = 120.0
MAX_CUTS, CUT_AFTER_S = 3, 2.0


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    """An SSH host, and the profile ``gpu`` that leads there."""
    with tempfile.TemporaryDirectory(prefix="rr-box-") as directory, running_sshd(Path(directory)) as sshd:
        ssh = world.home / ".ssh"
        ssh.mkdir(mode=0o700)
        (ssh / "known_hosts").write_text("".join(f"[127.0.0.1]:{sshd.port} {key}\n" for key in sshd.host_keys))
        world.profile(
            "gpu",
            "version: 1\n"
            f"target: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}}}\n",
        )
        yield sshd


@pytest.fixture
def chromium() -> Iterator[Chromium]:
    """It finds Colab and a page of somebody else at a public address; no permission is given yet."""
    hosts = [origin.removeprefix("https://") for origin in (*COLAB_ORIGINS, EVIL)]
    with ExitStack() as stack:
        port = stack.enter_context(serving_page(*hosts))
        rules = ",".join(f"MAP {host} 127.0.0.1:{port}" for host in hosts)
        yield stack.enter_context(
            running_chromium(
                f"--host-resolver-rules={rules}",
                "--ignore-certificate-errors",
                f"--ip-address-space-overrides=127.0.0.1:{port}=public",
            )
        )


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Session-scoped: the guards of each test hide the environment's REMOTE_RUNTIME_ variables."""
    kept = os.environ.get("REMOTE_RUNTIME_SCREENSHOTS")
    if kept is None:
        return tmp_path_factory.mktemp("screenshots")
    Path(kept).mkdir(parents=True, exist_ok=True)
    return Path(kept)


@contextlib.contextmanager
def cut_again_and_again(box: Sshd) -> Iterator[list[int]]:
    """While the block runs, at most ``MAX_CUTS`` times: how many SSH connections each cut has ended."""
    over, cuts = threading.Event(), list[int]()

    def cut() -> None:
        while len(cuts) < MAX_CUTS and not over.wait(CUT_AFTER_S):
            if box.live():
                cuts.append(box.cut())

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield cuts
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("transport", "colab"), [("bridge", COLAB), ("direct", "https://colab.google.com")])
def test_colabs_page_runs_cells_and_moves_files_while_the_ssh_connection_is_cut(
    world: World, box: Sshd, chromium: Chromium, screenshots: Path, transport: str, colab: str
) -> None:
    url = world.up("gpu")
    ready = world.look("gpu")
    counted = {*ready["connections"].values(), ready["page_requests"]}
    assert counted == {0}, "the keeper's own checks are no visitors"
    chromium.permit(colab, PERMISSIONS, "granted")

    tab = chromium.open(colab + "/")
    with cut_again_and_again(box) as cuts:
        found = connect(tab, url, transport)
    tab.screenshot(screenshots / f"{transport}.png")

    assert "failure" not in found, found
    assert any(cuts)
    assert "python3" in found["Kernelspecs"]
    assert found["print(6*7)"] == "42"
    assert found["Interrupt"] == "KeyboardInterrupt"
    assert found["Restart"] == "False", "nothing of the old kernel is left"
    assert found["Download"] == found["Upload"] == sha256(box.home / "upload.bin")
    assert "GiB memory" in found["Resources"]
    runtime = world.look("gpu")
    assert runtime["local_port"] != runtime["server"]["port"]
    assert runtime["connections"]["carried"] > 0
    assert runtime["page_requests"] > 0
    assert SILENT_BROWSER not in world.run("status").out


def test_without_the_permission_no_byte_is_sent_and_status_names_it(
    world: World, chromium: Chromium, screenshots: Path
) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    assert SILENT_BROWSER not in world.run("status").out

    # Nobody can answer the question of a headless browser: it denies by itself.
    unasked = chromium.open(COLAB + "/")
    assert fail_silently(world, unasked, url, "bridge") == "Error: WebSocket closed with 1006"
    eventually(lambda: world.look("here")["connections"]["empty"] >= 1, what="it has ended")
    assert SILENT_BROWSER in world.run("status").out

    chromium.permit(COLAB, PERMISSIONS, "denied")
    denied = chromium.open(COLAB + "/?denied")
    assert fail_silently(world, denied, url, "bridge") == "Error: WebSocket closed with 1006"
    assert fail_silently(world, denied, url, "direct") == "TypeError: Failed to fetch"
    denied.screenshot(screenshots / "denied.png")

    runtime = world.look("here")
    assert runtime["state"] == "ready"
    assert runtime["connections"]["carried"] == 0
    assert runtime["page_requests"] == 0
    assert origins_heard(url) <= {"none"}, "nobody but the keeper has asked the server anything"


def test_a_page_of_another_origin_gets_nothing_though_it_knows_the_url(
    world: World, chromium: Chromium, screenshots: Path
) -> None:
    world.profile("here", f"version: 1\ntarget: {{kind: local}}\njupyter: {{working_dir: {world.home}/work}}\n")
    (world.home / "work").mkdir()
    (world.home / "work" / "secret.js").write_text("stolen = 'api key 42';")
    (world.home / "work" / "secret.css").write_text("p { color: red; }")
    url = world.up("here")
    page = Page(url)
    kernel = page.start_kernel()
    page.run(kernel, "kept = 42")
    kernels, files = page.ask("GET", "/api/kernels")[1], page.ask("GET", "/api/contents")[1]["content"]
    chromium.permit(EVIL, PERMISSIONS, "granted")

    tab = chromium.open(EVIL + "/")
    got = tab.evaluate(f"trespass({url!r}, {kernel!r})", within_s=PAGE_S)
    tab.screenshot(screenshots / "other-origin.png")

    refused, closed, unseen = "TypeError: Failed to fetch", "Error: WebSocket closed with 1006", "opaque 0"
    assert got == {
        "Read": refused,
        "Start a kernel": refused,
        "Start a kernel unseen": unseen,
        "Restart a kernel unseen": unseen,
        "Read unseen": unseen,
        "Include a script": "Error: it was not loaded",
        "Include a style": "Error: it was not loaded",
        "Write a file": refused,
        "Kernel's channels": closed,
        "Bridge": closed,
        "Bridged channels": closed,
    }
    assert tab.evaluate("typeof stolen") == "undefined"
    assert EVIL in origins_heard(url), "the browser let it out: it was the server that refused"
    assert [each["id"] for each in page.ask("GET", "/api/kernels")[1]] == [each["id"] for each in kernels]
    assert page.run(kernel, "print(kept)") == "42", "the kernel was not restarted"
    assert page.ask("GET", "/api/contents")[1]["content"] == files


def test_the_login_cookie_of_jupyterlab_reaches_no_other_port_and_ends_with_the_browser(
    world: World, tmp_path: Path
) -> None:
    """By the page that `open --lab` makes. A cookie of localhost is heard by whatever port of it is visited then."""
    with_a_lab(world)
    desktop = a_desktop(world.home / "desktop")
    world.environ |= desktop.environ
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    with running_chromium() as chromium, Target(answer_with_what_was_heard) as stranger:
        (desktop.folder / "browser").write_text(f"#!/bin/sh\ncp ${{1#file://}} {tmp_path}/lab.html\n")
        command = world.start("open", "here", "--lab")
        eventually(lambda: (tmp_path / "lab.html").exists() or None, what="the page")
        redirect = chromium.command("Target.createTarget", {"url": (tmp_path / "lab.html").as_uri()})["targetId"]
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        lab = out.strip()
        assert lab.startswith("http://rr-here.localhost:")
        eventually(lambda: urls_of(chromium)[redirect].startswith(lab) or None, what="JupyterLab")

        by_hand = chromium.command("Target.createTarget", {"url": url.replace("/?", "/lab?")})["targetId"]
        eventually(lambda: urls_of(chromium)[by_hand].startswith(lab) or None, what="JupyterLab, with the URL of up")

        asks = "fetch('/api/kernelspecs').then((answer) => answer.status)"
        assert chromium.open(lab).evaluate(asks) == 200, "it is logged in there"
        cookies = chromium.command("Storage.getCookies")["cookies"]
        (login,) = [cookie for cookie in cookies if cookie["name"].startswith("username-")]
        assert (login["domain"], login["session"], login["httpOnly"]) == ("rr-here.localhost", True, True)
        assert all(cookie["session"] for cookie in cookies)

        heard = chromium.open(f"http://localhost:{stranger.address[1]}/").evaluate("document.body.innerText")
        assert "GET / HTTP/1.1" in heard
        assert "cookie" not in heard.lower()
    assert Page(url).token not in lab


def answer_with_what_was_heard(connection: socket.socket) -> None:
    heard = connection.recv(65536)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {len(heard)}\r\n\r\n"
    connection.sendall(head.encode() + heard)


def urls_of(chromium: Chromium) -> dict[str, str]:
    return {each["targetId"]: each["url"] for each in chromium.command("Target.getTargets")["targetInfos"]}


def connect(tab: Tab, url: str, transport: str) -> dict[str, Any]:
    """What each step of the page came to, by its name; ``failure`` when one did not."""
    return dict(tab.evaluate(f"connect({url!r}, {transport!r})", within_s=PAGE_S))


def fail_silently(world: World, tab: Tab, url: str, transport: str) -> str:
    """What the page gets to know; a connection that carried no byte has come by then."""
    before = silent(world)
    failure = connect(tab, url, transport)["failure"]
    eventually(lambda: silent(world) > before, what="a connection without a byte")
    return str(failure)


def silent(world: World) -> int:
    connections = world.look("here")["connections"]
    return int(connections["empty"] + connections["waiting"])


def origins_heard(url: str) -> set[str]:
    """Whose requests the server has seen, by the bridge's count."""
    ours = url.partition("/?")[0]
    status, document = Page(url, origin=ours).ask("GET", "/api/remote-runtime")
    assert status == 200, document
    return set(document["requests"]) - {ours}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
