"""Random edits of two folders that are synced, and what has to hold after each sync."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from remote_runtime.files.sync_plan import CHANGED, NO_RECORD
from tests.support.machines.synced_folders import contents

NAMES = (b"a", b"b", b"c d", b"\xff", b"e")
MAX_DEPTH = 3
SIZES = (0, 1, 10, 5000, 1 << 21)
Tree = Mapping[bytes, tuple[int, bytes]]


class RandomEdits:
    """Each content that it writes exists once: it begins with ``S`` in the source and with ``T`` in the target."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._count = 0

    def edit(self, root: Path, side: str, count: int) -> None:
        for _ in range(count):
            path = os.path.join(os.fsencode(root), *self._names())
            try:
                self._edit_one(path, side)
            except (NotADirectoryError, FileExistsError, FileNotFoundError):
                continue  # a file is where its folder would be

    def _names(self) -> list[bytes]:
        return [self._random.choice(NAMES) for _ in range(self._random.randint(1, MAX_DEPTH))]

    def _edit_one(self, path: bytes, side: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        kind = self._random.choice(["write", "write", "write", "append", "delete", "folder", "link", "mode"])
        self._count += 1
        text = b"%s%d " % (side.encode(), self._count)
        if kind == "append" and os.path.isfile(path) and not os.path.islink(path):
            # Of the same length, so that only the hash or the times tell it.
            with open(path, "r+b") as file:
                file.write(text)
        elif kind in ("write", "append"):
            _remove(path)
            with open(path, "wb") as file:
                file.write(text * (1 + self._random.choice(SIZES) // len(text)))
        elif kind == "delete":
            _remove(path)
        elif kind == "folder":
            os.mkdir(path)
        elif kind == "link":
            _remove(path)
            os.symlink(text, path)
        elif side == "S" and os.path.isfile(path) and not os.path.islink(path):
            os.chmod(path, self._random.choice([0o600, 0o644, 0o755]))


def violations(
    source: Tree, before: Tree, after: Tree, exceptions: Mapping[bytes, str], *, delete: bool, force: bool
) -> list[str]:
    """What a sync did wrong. ``before``, ``after``: the target. ``exceptions``: what it listed, with the reasons."""
    wrong = []
    for path in sorted(source.keys() | after.keys()):
        if source.get(path) != after.get(path) and path not in exceptions:
            wrong.append(f"{path!r} differs, and is not listed: {_shown(source, path)}, {_shown(after, path)}")
    for path, (_, value) in before.items():
        if path not in after and not delete:
            wrong.append(f"{path!r} was deleted")
        if is_theirs(value) and not force and after.get(path, (0, b""))[1] != value:
            wrong.append(f"a change of {path!r} on the target was lost")
        if exceptions.get(path) in (CHANGED, NO_RECORD) and not (is_theirs(value) or value == b"folder"):
            wrong.append(f"{path!r} was kept, and nobody had changed it there")
    if delete and force and dict(source) != dict(after):
        wrong.append("with --delete and --force the target is not the source")
    return wrong


def is_theirs(value: bytes) -> bool:
    """A content that was written on the target."""
    return value.startswith((b"file T", b"to T"))


def picture(root: Path) -> Tree:
    """``contents``, without what an interrupted copy left under names of its own."""
    return {path: value for path, value in contents(root).items() if not path.endswith(b".part")}


def _remove(path: bytes) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return


def _shown(tree: Tree, path: bytes) -> str:
    mode, value = tree.get(path, (0, b"nothing"))
    return f"{value[:20]!r} of {len(value)} bytes, mode {mode:o}"
