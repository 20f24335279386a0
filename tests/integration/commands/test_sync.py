"""`sync` through a real sshd: there and back, questions, and --watch over lost connections."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.commands.context import CommandContext, View
from remote_runtime.commands.cp import CopyProgress
from remote_runtime.commands.sync import SyncResult, parse_sync, sync
from remote_runtime.commands.sync_watch import watch
from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import Interrupted, UsageError
from remote_runtime.files.sync_plan import CHANGED
from tests.support.environment.world import World
from tests.support.machines.synced_folders import contents
from tests.support.servers.sshd import Sshd


@pytest.fixture
def here(world: World) -> Path:
    folder = world.home / "here"
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "file").write_bytes(b"content")
    return folder


def ignore(progress: CopyProgress) -> None:
    pass


def run(context: CommandContext, source: object, target: object, **options: bool) -> SyncResult:
    given = {"delete": False, "force": False, "yes": False, **options}
    return sync(parse_sync(str(source), str(target), **given), context, ignore)


def test_a_folder_goes_there_and_back_and_each_direction_has_its_own_record(
    world: World, context: CommandContext, here: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"

    assert run(context, here, f"box:{there}").copied == ("folder", "folder/file")
    assert contents(there) == contents(here)
    assert run(context, f"box:{there}", back).copied == ("folder", "folder/file")
    assert contents(back) == contents(here)
    (there / "folder" / "file").write_bytes(b"changed there")
    assert run(context, here, f"box:{there}").kept == {"folder/file": CHANGED}
    assert run(context, f"box:{there}", back).copied == ("folder/file",)
    assert (back / "folder" / "file").read_bytes() == b"changed there"


def test_the_result_is_also_json_and_a_path_that_failed_is_an_error(
    world: World, context: CommandContext, here: Path, tmp_path: Path
) -> None:
    os.mkfifo(here / "pipe")
    (here / "\x1b[31mred").touch()

    done = world.run("sync", str(here), f"box:{tmp_path}/there", "--json")

    assert done.code == 1
    assert done.document["copied"] == ["\x1b[31mred", "folder", "folder/file"]
    assert [each["path"] for each in done.document["failed"]] == ["pipe"]
    assert done.error["code"] == "sync-incomplete"
    shown = world.run("sync", str(here), f"box:{tmp_path}/there")
    assert "Nothing to copy: 3 paths the same on both sides" in shown.err
    assert "\x1b" not in shown.err
    assert "pipe: it is a device, a pipe or a socket" in shown.err


def test_a_large_first_sync_asks_and_nothing_is_copied_without_a_yes(
    context: CommandContext, here: Path, tmp_path: Path
) -> None:
    (here / "large").write_bytes(bytes(100))
    request = parse_sync(str(here), f"box:{tmp_path}/there", delete=False, force=False, yes=False)
    request = replace(request, ask_above_bytes=100)
    questions: list[str] = []

    class AskedView(View):
        interactive = True

        def confirm(self, name: str, question: str) -> bool:
            questions.append(question)
            return False

    with pytest.raises(UsageError, match=r"copies .* in 2 files") as alone:
        sync(request, context, ignore)
    with pytest.raises(UsageError) as asked:
        sync(request, replace(context, view=AskedView()), ignore)

    assert [alone.value.code, asked.value.code] == ["sync-not-confirmed"] * 2
    assert questions == ["The first sync of these folders copies 0.0 GB in 2 files. Continue?"]
    assert not (tmp_path / "there").exists()
    assert sync(replace(request, yes=True), context, ignore).bytes == 107


def test_a_watch_copies_each_change_also_after_the_connection_was_lost(
    sshd: Sshd, context: CommandContext, here: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    done: list[SyncResult] = []
    request = parse_sync(str(here), f"box:{there}", delete=True, force=False, yes=False)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            watch(request, context, ignore, done.append)
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: (there / "folder" / "file").exists())
        (here / "new").write_bytes(b"first")
        wait_for(lambda: (there / "new").exists())
        sshd.cut()
        (here / "new").write_bytes(b"second")
        (here / "folder" / "file").unlink()
        wait_for(lambda: (there / "new").read_bytes() == b"second" and not (there / "folder" / "file").exists())
    finally:
        context.cancelled.set()
        thread.join(30)
    assert len(ended) == 1
    assert contents(there) == contents(here)


def test_a_watch_ends_with_ctrl_c_and_prints_a_line_for_each_sync(
    world: World, context: CommandContext, here: Path, tmp_path: Path
) -> None:
    watching = world.start("sync", str(here), f"box:{tmp_path}/there", "--watch", "--json")
    wait_for(lambda: (tmp_path / "there" / "folder" / "file").exists())
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["copied"] == ["folder", "folder/file"]

    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0


def wait_for(holds: Callable[[], bool]) -> None:
    def safely() -> bool:
        try:
            return holds()
        except FileNotFoundError:
            return False

    wait_until(safely, Deadline(60), every_s=0.05, what="the sync")
