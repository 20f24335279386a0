"""The keeper's log: what is never written, who may read it, and how it is read."""

from __future__ import annotations

import json
import logging
import stat
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from remote_runtime.commands.logs import read_log
from remote_runtime.state.log_file import append_private, last_line, log_to_file, parse_line, redact, tail
from remote_runtime.state.store import StateDir

TOKEN = "0123456789abcdef" * 3
URL = f"http://localhost:8888/?token={TOKEN}"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    for handler in [handler for handler in logger.handlers if handler not in handlers]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"GET /api/kernels?token={TOKEN}&x=1 HTTP/1.1",
        f"auth_url={urllib.parse.quote(URL, safe='')}",
        f"auth_url={urllib.parse.quote(urllib.parse.quote(URL, safe=''), safe='')}",
        f"Authorization: token {TOKEN}",
        f"authorization: Bearer {TOKEN}",
        f"Authorization: {TOKEN}",
        str({"Authorization": f"token {TOKEN}"}),
        json.dumps({"Authorization": f"Bearer {TOKEN}"}),
        json.dumps({"token": TOKEN, "port": 8888}),
        json.dumps(json.dumps({"token": TOKEN})),
        repr(json.dumps(json.dumps({"token": TOKEN}))),
        f"Server(token={TOKEN!r}, port=1)",
        f"--ServerApp.token={TOKEN}",
        f"IdentityProvider.token = '{TOKEN}'",
        f"_xsrf={TOKEN}; username=x",
        f"PASSWORD: {TOKEN}",
        f"passphrase = {TOKEN}",
    ],
)
def test_a_secret_is_recognised_by_what_stands_before_it(text: str) -> None:
    assert TOKEN not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["the token was refused", "GET /api/kernels 200", "tokens: none", "Bearer", "a password is asked for"]
)
def test_words_about_secrets_stay(text: str) -> None:
    assert redact(text).replace("***", "") in (text, "tokens: ")


def test_whatever_a_library_logs_the_file_is_private_and_without_secrets(tmp_path: Path, root: logging.Logger) -> None:
    path = tmp_path / "work.log"
    log_to_file(path)
    logging.getLogger("a.dependency").warning("asked %s", URL)
    try:
        raise ValueError(f"bad url {URL}")
    except ValueError:
        logging.getLogger("websockets").exception("failed")
    written = path.read_text()
    assert "a.dependency: asked http://localhost:8888/?token=***" in written
    assert "ValueError: bad url" in written
    assert TOKEN not in written
    assert mode(path) == 0o600


def test_a_rotated_log_stays_private_and_bounded(tmp_path: Path, root: logging.Logger) -> None:
    path = tmp_path / "work.log"
    log_to_file(path)
    for number in range(50):
        root.warning("%d %s", number, "x" * 100_000)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["work.log", "work.log.1", "work.log.2"]
    assert [mode(file) for file in files] == [0o600] * 3
    assert all(file.stat().st_size <= 1 << 20 for file in files)
    assert " 49 xx" in path.read_text()


def test_what_is_appended_is_private_too(tmp_path: Path) -> None:
    append_private(tmp_path / "bugs.log", "one\n")
    append_private(tmp_path / "bugs.log", "two\n")
    assert (tmp_path / "bugs.log").read_text() == "one\ntwo\n"
    assert mode(tmp_path / "bugs.log") == 0o600


def test_the_tail_is_whole_lines_without_secrets_or_escape_sequences(tmp_path: Path) -> None:
    path = tmp_path / "work.log"
    path.write_text(f"first\n\x1b[31mred\x1b[0m \x1b]0;title\x07\n{URL}\nlast")
    assert tail(path, 3) == ["red ", "http://localhost:8888/?token=***", "last"]
    assert tail(path, 100)[0] == "first"
    assert tail(tmp_path / "none.log", 3) == []


def test_a_line_that_is_cut_where_reading_begins_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "work.log"
    path.write_text(f"token={TOKEN * 60}\nlast\n")
    assert tail(path, 2) == ["last"]


def test_the_last_line_that_says_something_is_short(tmp_path: Path) -> None:
    path = tmp_path / "work.log"
    path.write_text("x" * 400 + "\n  \n\n")
    assert last_line(path) == "x" * 300
    path.write_text("")
    assert last_line(path) == ""


def test_a_followed_log_goes_on_with_whole_lines_and_through_a_rotation(tmp_path: Path) -> None:
    state, stop = StateDir(tmp_path), threading.Event()
    path = tmp_path / "work.log"
    path.write_text("old\n")
    lines = read_log("work", server=False, follow=True, state=state, stop=stop)
    assert next(lines) == "old"
    more = threading.Timer(0.05, lambda: path.write_text(f"old\n{URL}\nhalf a li"))
    more.start()
    assert next(lines) == "http://localhost:8888/?token=***"
    more.join()
    path.rename(tmp_path / "work.log.1")
    rotated = threading.Timer(1.3, lambda: path.write_text("new\n"))
    rotated.start()
    assert next(lines) == "new"
    rotated.join()
    stop.set()
    assert list(lines) == []


def test_an_entry_has_a_time_with_its_zone(tmp_path: Path, root: logging.Logger) -> None:
    path = tmp_path / "work.log"
    log_to_file(path)
    before = datetime.now(timezone.utc)
    logging.getLogger("a.b").warning("it: %s", "happens")
    entry = parse_line(path.read_text().rstrip())
    assert entry is not None
    assert (entry.level, entry.source, entry.text) == ("WARNING", "a.b", "it: happens")
    assert timedelta(seconds=-0.01) < entry.time - before < timedelta(seconds=10)
    older = parse_line("2026-11-30 10:00:00,250 INFO a.b: of an older version")
    assert older is not None
    assert older.time == datetime(2026, 11, 30, 10, 0, 0, 250_000).astimezone()
    for line in ("Traceback (most recent call last):", "2026-99-30 10:00:00,250 INFO a.b: no such month"):
        assert parse_line(line) is None


def test_lines_are_limited_by_number_and_by_time_also_in_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "work.log"
    (tmp_path / "work.log.1").write_text(
        "2026-11-30T10:00:00.000+00:00 INFO a: one\n2026-11-30T12:30:00.000+02:00 ERROR a: two\n  File x\n"
    )
    path.write_text("2026-11-30T11:00:00.000+00:00 INFO a: three\n")

    def last_words(lines: int, since: datetime | None) -> list[str]:
        state, stop = StateDir(tmp_path), threading.Event()
        found = read_log("work", server=False, follow=False, state=state, stop=stop, lines=lines, since=since)
        return [line.split()[-1] for line in found]

    half_past = datetime(2026, 11, 30, 10, 30, tzinfo=timezone.utc)
    assert last_words(100, half_past) == ["two", "x", "three"]
    assert last_words(2, half_past) == ["x", "three"]
    assert last_words(100, None) == ["three"]
    assert last_words(0, None) == last_words(0, half_past) == []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
