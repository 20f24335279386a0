"""Copies with the agent in a process of its own: what arrives equals what was there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError, SshError
from remote_runtime.files.agent import Agent
from remote_runtime.files.items import part_key
from remote_runtime.files.remote.handlers import RESTARTED
from remote_runtime.files.transfer import Item, Transfer
from tests.support.machines.files_machine import FilesMachine, agent_of

NOT_UTF8 = b"caf\xe9 \n\xff"
OLD_NS = 1_600_000_000_123_456_789


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FilesMachine:
    return FilesMachine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def agent(machine: FilesMachine) -> Iterator[Agent]:
    with agent_of(machine) as agent:
        yield agent


def ignore(size: int, files: int) -> None:
    pass


def transfer(
    agent: Agent, here: Path, there: Path, *, on_progress: Callable[[int, int], None] = ignore, resume: bool = False
) -> Transfer:
    return Transfer(
        agent,
        local_root=os.fsencode(here),
        remote_root=os.fsencode(there),
        deadline=Deadline(60),
        on_progress=on_progress,
        resume=resume,
    )


def make_tree(root: Path) -> list[Item]:
    """A tree with one of each kind, and its items."""
    root.mkdir()
    base = os.fsencode(root)
    contents = {
        b"empty": b"",
        b"small": b"one\n",
        NOT_UTF8: b"name",
        b"deep/er/file": os.urandom(70_000),
        b"large": os.urandom((5 << 20) + 17),
        b"exact": os.urandom(1 << 20),
        **{b"many/%d" % number: b"%d" % number * number for number in range(700)},
    }
    items = []
    for folder in (b"deep", b"deep/er", b"many", b"hollow"):
        os.mkdir(os.path.join(base, folder))
    for name, content in contents.items():
        path = os.path.join(base, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o640 if name != b"small" else 0o444)
        os.utime(path, ns=(OLD_NS, OLD_NS))
        items.append(Item(name, name, "file", len(content), os.stat(path).st_mode & 0o777, OLD_NS))
    os.symlink("../nowhere", os.path.join(base, b"link"))
    items.append(Item(b"link", b"link", "link", link=b"../nowhere", mtime_ns=OLD_NS))
    folders = []
    for folder in (b"deep", b"deep/er", b"many", b"hollow"):
        os.utime(os.path.join(base, folder), ns=(OLD_NS, OLD_NS))
        folders.append(Item(folder, folder, "folder", mode=0o755, mtime_ns=OLD_NS))
    return [*folders, *items]


def picture(root: Path) -> dict[bytes, tuple[object, ...]]:
    """All below a folder: kind, mode, time and content of each."""
    found: dict[bytes, tuple[object, ...]] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if os.path.islink(path):
                content: object = os.readlink(path)
            else:
                content = Path(os.fsdecode(path)).read_bytes() if name in files else None
            mode = status.st_mode if not os.path.islink(path) else 0
            mtime_ns = status.st_mtime_ns if not os.path.islink(path) else 0
            found[os.path.relpath(path, base)] = (mode, mtime_ns, content)
    return found


def test_a_tree_arrives_as_it_is_and_comes_back(agent: Agent, tmp_path: Path) -> None:
    items = make_tree(tmp_path / "source")
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()
    seen: list[tuple[int, int]] = []
    up = transfer(agent, tmp_path / "source", there, on_progress=lambda size, files: seen.append((size, files)))
    assert up.upload(items) == []
    assert picture(there) == picture(tmp_path / "source")
    files = [item for item in items if item.kind == "file"]
    assert seen[-1] == (sum(item.size for item in files), len(files))
    assert transfer(agent, back, there).download(items) == []
    assert picture(back) == picture(tmp_path / "source")


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_that_is_cut_is_opened_again_and_nothing_is_lost(
    way: str, machine: FilesMachine, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    items = make_tree(source)
    target.mkdir()
    stop = threading.Event()

    def cut() -> None:
        for _ in range(6):
            stop.wait(0.02)
            machine.cut()

    with agent_of(machine) as agent:
        cutter = threading.Thread(target=cut)
        cutter.start()
        if way == "up":
            assert transfer(agent, source, target).upload(items) == []
        else:
            assert transfer(agent, target, source).download(items) == []
        cutter.join()
    assert picture(target) == picture(source)


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_copy_that_was_cancelled_continues_where_it_stopped(way: str, agent: Agent, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    items = make_tree(source)
    target.mkdir()
    copied = (source / "large").read_bytes()
    part = target / f".large.{part_key(items[[item.target for item in items].index(b'large')])}.part"
    part.write_bytes(copied[: 2 << 20] + bytes(1 << 20) + copied[3 << 20 : 4 << 20] + bytes((1 << 20) + 17))
    (target / "small").write_bytes(b"two\n")
    os.utime(target / "small", ns=(OLD_NS, OLD_NS))
    inode = part.stat().st_ino
    if way == "up":
        assert transfer(agent, source, target, resume=True).upload(items) == []
    else:
        assert transfer(agent, target, source, resume=True).download(items) == []
    assert picture(target) == picture(source)
    assert (target / "large").stat().st_ino == inode
    inodes = {path: path.lstat().st_ino for path in target.rglob("*")}
    if way == "up":
        assert transfer(agent, source, target, resume=True).upload(items) == []
    else:
        assert transfer(agent, target, source, resume=True).download(items) == []
    assert {path: path.lstat().st_ino for path in target.rglob("*")} == inodes


def test_an_item_that_fails_is_reported_and_the_others_arrive(agent: Agent, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (target / "taken").mkdir(parents=True)
    os.mkfifo(target / "pipe")
    for name in ("taken", "pipe", "good", "changed"):
        (source / name).write_bytes(b"new")
        os.utime(source / name, ns=(OLD_NS, OLD_NS))
    items = [Item(name, name, "file", 3, 0o600, OLD_NS) for name in (b"taken", b"pipe", b"good", b"absent")]
    items += [
        Item(b"changed", b"changed", "file", 4, 0o600, OLD_NS),
        Item(b"good", b"no/folder", "file", 3, 0o600, OLD_NS),
    ]
    for copy in (transfer(agent, source, target).upload, transfer(agent, target, source).download):
        failures = copy(items)
        assert {failure.item.target: failure.why for failure in failures} == {
            b"taken": "Is a directory",
            b"pipe": "a device, pipe or socket is in its place",
            b"absent": "No such file or directory",
            b"changed": "it changed while it was copied",
            b"no/folder": "No such file or directory",
        }
        assert (target / "good").read_bytes() == b"new"
        assert sorted(os.listdir(target)) == ["good", "pipe", "taken"]
        (target / "good").unlink()


def test_nothing_is_written_through_a_link_in_the_target(agent: Agent, tmp_path: Path) -> None:
    source, target, elsewhere = tmp_path / "source", tmp_path / "target", tmp_path / "elsewhere"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    elsewhere.mkdir()
    (source / "sub/file").write_bytes(b"x")
    (target / "sub").symlink_to(elsewhere)
    mtime_ns = (source / "sub/file").stat().st_mtime_ns
    items = [Item(b"sub", b"sub", "folder"), Item(b"sub/file", b"sub/file", "file", 1, 0o600, mtime_ns)]
    for copy in (transfer(agent, source, target).upload, transfer(agent, target, source).download):
        failures = copy(items)
        assert {failure.item.target for failure in failures} == {b"sub", b"sub/file"}
        assert all("symbolic link" in failure.why for failure in failures)
    assert not os.listdir(elsewhere)


@pytest.mark.parametrize("name", [b"../out", b"/etc/out", b"a/../../out", b"", b".", b"a//b", b"link/in", b"a\0b"])
def test_an_unsafe_name_is_refused_before_anything_is_written(agent: Agent, name: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "good").write_bytes(b"")
    items = [
        Item(b"good", b"good", "file", 0, 0o600, (source / "good").stat().st_mtime_ns),
        Item(b"link", b"link", "link", link=b"/etc"),
        Item(b"good", name, "file"),
    ]
    with pytest.raises(MachineError) as refused:
        transfer(agent, target, source).download(items)
    assert refused.value.code == "unsafe-name"
    assert not os.listdir(target)


def test_a_connection_that_ends_at_each_attempt_is_given_up(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"")
    mtime_ns = (tmp_path / "source" / "file").stat().st_mtime_ns
    not_a_number: Any = "0o600"
    item = Item(b"file", b"file", "file", 0, not_a_number, mtime_ns)
    with pytest.raises(SshError) as failed:
        transfer(agent, tmp_path / "source", tmp_path).upload([item])
    assert failed.value.code == "ssh-unreachable"


class RestartingMachine(FilesMachine):
    """``before_connect`` is called once, before the next connection."""

    before_connect: Callable[[], None] | None = None

    def connect(self, host: str, port: int, *, within_s: float = 10) -> socket.socket:
        call, self.before_connect = self.before_connect, None
        if call is not None:
            call()
            while os.path.exists(host):
                time.sleep(0.01)
        return super().connect(host, port, within_s=within_s)


def test_an_agent_that_was_started_again_replaces_nothing_that_the_former_one_should_check(tmp_path: Path) -> None:
    machine = RestartingMachine(tmp_path / "machine")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, content in ((here, b"ours"), (there, b"theirs")):
        folder.mkdir()
        (folder / "file").write_bytes(content)
    item = Item(b"file", b"file", "file", 4, 0o600, (here / "file").stat().st_mtime_ns)
    with agent_of(machine) as agent:
        checking = Transfer(
            agent,
            local_root=os.fsencode(here),
            remote_root=os.fsencode(there),
            deadline=Deadline(60),
            expected={b"file": None},
        )

        def end_agent() -> None:
            agent.call({"do": "stop"})
            machine.cut()

        machine.before_connect = end_agent
        (failure,) = checking.upload([item])
        assert failure.why == RESTARTED
        assert (there / "file").read_bytes() == b"theirs"
        (there / "file").unlink()
        assert not checking.upload([item])
    assert (there / "file").read_bytes() == b"ours"


def test_where_unix_sockets_are_not_forwarded_a_port_is_used(tmp_path: Path) -> None:
    source = tmp_path / "source"
    items = make_tree(source)
    (tmp_path / "there").mkdir()
    machine = FilesMachine(tmp_path / "machine", forwards=("tcp",))
    with agent_of(machine, python="/root/.pyenv/versions/3.8.18/bin/python") as agent:
        assert transfer(agent, source, tmp_path / "there").upload(items) == []
    assert picture(tmp_path / "there") == picture(source)


def test_where_nothing_is_forwarded_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(SshError) as refused, agent_of(FilesMachine(tmp_path / "machine", forwards=())):
        pass
    assert refused.value.code == "forwarding-disabled"


def test_the_agent_ends_with_its_client(tmp_path: Path) -> None:
    machine = FilesMachine(tmp_path / "machine")
    with agent_of(machine):
        (path,) = {str(sock.getpeername()) for sock in machine.open if sock.fileno() >= 0}
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    until = time.monotonic() + 10
    while os.path.exists(path):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
