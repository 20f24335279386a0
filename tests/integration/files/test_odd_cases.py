"""Files that are not like others, each way: what docs/how-to/copy.md says of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.files.agent import Agent
from remote_runtime.files.transfer import Item, ItemFailure, Transfer
from tests.support.environment.mounts import within_mount
from tests.support.machines.files_machine import FilesMachine, agent_of

MB = 1 << 20
Copy = Callable[[Path, Path, list[Item]], list[ItemFailure]]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with agent_of(FilesMachine(tmp_path_factory.mktemp("machine"))) as agent:
        yield agent


def transfer(agent: Agent, here: Path, there: Path) -> Transfer:
    return Transfer(agent, local_root=os.fsencode(here), remote_root=os.fsencode(there), deadline=Deadline(60))


@pytest.fixture(params=["up", "down"])
def copy(request: pytest.FixtureRequest, agent: Agent) -> Copy:
    def run(source: Path, target: Path, items: list[Item]) -> list[ItemFailure]:
        if request.param == "up":
            return transfer(agent, source, target).upload(items)
        return transfer(agent, target, source).download(items)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def item(root: Path, name: str, target: str = "") -> Item:
    """Of what is there."""
    path, to = root / name, os.fsencode(target or name)
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if path.is_symlink():
        return Item(os.fsencode(name), to, "link", link=os.fsencode(os.readlink(path)), mtime_ns=status.st_mtime_ns)
    return Item(os.fsencode(name), to, "file", status.st_size, mode, status.st_mtime_ns)


def test_a_sparse_file_stays_sparse(copy: Copy, source: Path, target: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.truncate(40 * MB + 5)
        file.seek(20 * MB)
        file.write(b"x" * MB)
    assert copy(source, target, [item(source, "sparse")]) == []
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < 4 * MB


def test_a_file_that_is_only_a_hole_is_copied(copy: Copy, source: Path, target: Path) -> None:
    with (source / "hole").open("wb") as file:
        file.truncate(3 * MB)
    assert copy(source, target, [item(source, "hole")]) == []
    assert (target / "hole").read_bytes() == bytes(3 * MB)


@pytest.mark.parametrize("size", [0, 1, MB, MB + 1])
def test_a_size_at_a_boundary_is_copied(size: int, copy: Copy, source: Path, target: Path) -> None:
    (source / "file").write_bytes(os.urandom(size))
    assert copy(source, target, [item(source, "file")]) == []
    assert (target / "file").read_bytes() == (source / "file").read_bytes()


def test_the_longest_names_and_names_with_every_byte_are_copied(copy: Copy, source: Path, target: Path) -> None:
    names = ["n" * 255, "é" * 127, "-rf", "~", "a b", "new\nline", "\x1b[31m", "*?[", "a:b", "\\", "\udcff\udc80"]
    for name in names:
        (source / name).write_bytes(os.fsencode(name))
    assert copy(source, target, [item(source, name) for name in names]) == []
    assert {name: (target / name).read_bytes() for name in os.listdir(target)} == {
        name: os.fsencode(name) for name in names
    }


def test_links_are_copied_as_links_wherever_they_point(copy: Copy, source: Path, target: Path) -> None:
    links = {"up": "../../secret", "absolute": "/etc/passwd", "dangling": "nothing", "loop": "loop", "odd": "\udcff"}
    for name, to in links.items():
        (source / name).symlink_to(to)
    (target / "up").symlink_to("former")
    (target / "absolute").write_bytes(b"former")
    assert copy(source, target, [item(source, name) for name in links]) == []
    assert {name: os.readlink(target / name) for name in os.listdir(target)} == links


def test_a_link_in_the_place_of_the_target_is_replaced_and_not_followed(copy: Copy, source: Path, target: Path) -> None:
    (source / "file").write_bytes(b"new")
    (source / "elsewhere").write_bytes(b"kept")
    (target / "file").symlink_to(source / "elsewhere")
    assert copy(source, target, [item(source, "file")]) == []
    assert not (target / "file").is_symlink()
    assert (source / "elsewhere").read_bytes() == b"kept"


def test_a_read_only_file_is_replaced_and_special_bits_are_not_copied(copy: Copy, source: Path, target: Path) -> None:
    (source / "file").write_bytes(b"new")
    (source / "file").chmod(0o6555)
    (target / "file").write_bytes(b"old")
    (target / "file").chmod(0o400)
    assert copy(source, target, [item(source, "file")]) == []
    assert (target / "file").read_bytes() == b"new"
    assert stat.S_IMODE((target / "file").stat().st_mode) == 0o555


def test_what_is_no_file_any_more_is_not_read(copy: Copy, source: Path, target: Path) -> None:
    for name in ("pipe", "link", "large"):
        (source / name).write_bytes(bytes(2 * MB if name == "large" else 3))
    items = [item(source, name) for name in ("pipe", "link", "large")]
    for name in ("pipe", "link", "large"):
        (source / name).unlink()
    os.mkfifo(source / "pipe")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "large")
    assert {failure.item.target for failure in copy(source, target, items)} == {b"pipe", b"link", b"large"}
    assert not os.listdir(target)


@pytest.mark.skipif(os.getuid() != 0, reason="a mount takes root")
@pytest.mark.parametrize(
    ("options", "copied", "why"),
    [
        ("size=4m", {"small", "fits"}, "No space left on device"),
        ("size=40m,ro", set(), "Read-only file system"),
    ],
)
def test_a_disk_there_that_is_full_or_read_only_is_named(
    options: str, copied: set[str], why: str, source: Path, target: Path, tmp_path: Path
) -> None:
    machine = FilesMachine(tmp_path / "machine")
    machine.run_within(within_mount(f"-t tmpfs -o {options} tmpfs {target}"))
    for name, size in (("small", 100), ("too-large", 9 * MB), ("fits", 2 * MB)):
        (source / name).write_bytes(os.urandom(size))
    items = [item(source, name) for name in ("small", "too-large", "fits")]
    back = tmp_path / "back"
    back.mkdir()
    with agent_of(machine) as agent:
        failures = transfer(agent, source, target).upload(items)
        arrived = [each for each in items if os.fsdecode(each.target) in copied]
        assert transfer(agent, back, target).download(arrived) == []
    assert {os.fsdecode(failure.item.target) for failure in failures} == {"small", "too-large", "fits"} - copied
    assert {failure.why for failure in failures} == {why}
    assert {name: (back / name).read_bytes() for name in copied} == {
        name: (source / name).read_bytes() for name in copied
    }
