"""The agent's answers to `sync`: a ``SyncedTree`` over the wire. Tables travel in base64, compressed."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from .names import from_home, to_path, to_text
from .rows import ScanRow, pack_rows, unpack_rows
from .scan_cache import ScanCache, default_folder
from .synced_tree import SyncedTree, patterns_of
from .target_tree import TargetTree

ROWS_PER_REPLY = 20_000
MAX_TABLE_BYTES = 256 << 20
_LEVEL = 1


class TargetTrees(Protocol):
    """``handlers.Trees``."""

    def at(self, root: str) -> TargetTree: ...


def read_patterns(request: dict[str, Any], trees: TargetTrees) -> dict[str, Any]:
    root = from_home(to_path(request["root"]))
    return {"patterns": to_text(patterns_of(root))}


def scan(request: dict[str, Any], trees: TargetTrees) -> Iterator[dict[str, Any]]:
    """Progress, then rows, then the rest. ``known``: the stamp of rows that the client has; it gets the differences if
    they are still kept."""
    synced = _synced(request, trees)
    for done, total in synced.scan():
        yield {"hashed": done, "of": total}
    found = synced.scanned
    is_difference = bool(found.cached_stamp) and found.cached_stamp.hex() == request["known"]
    old: Mapping[bytes, ScanRow] = found.cached if is_difference else {}
    if is_difference and found.stamp == found.cached_stamp:
        rows = {}
        gone: Iterable[bytes] = ()
    else:
        rows = {path: row for path, row in found.rows.items() if old.get(path) != row}
        gone = old.keys() - found.rows.keys()
    paths = list(rows)
    for start in range(0, len(paths), ROWS_PER_REPLY):
        yield {"rows": to_wire({path: rows[path] for path in paths[start : start + ROWS_PER_REPLY]})}
    yield {
        "exists": found.exists,
        "root": to_text(os.path.realpath(from_home(to_path(request["root"])))),
        "stamp": found.stamp.hex(),
        "difference": is_difference,
        "gone": [to_text(path) for path in gone],
        "problems": _texts(found.problems),
        "folds_case": found.folds_case,
    }


def rows_now(request: dict[str, Any], trees: TargetTrees) -> dict[str, Any]:
    paths = [to_path(path) for path in request["paths"]]
    stamp, rows, problems = _synced(request, trees).rows_now(paths, bytes.fromhex(request["stamp"]))
    return {"stamp": stamp.hex(), "rows": to_wire(rows), "problems": _texts(problems)}


def remove(request: dict[str, Any], trees: TargetTrees) -> dict[str, Any]:
    return {"problems": _texts(_synced(request, trees).remove(from_wire(request["rows"])))}


def set_modes(request: dict[str, Any], trees: TargetTrees) -> dict[str, Any]:
    modes = {to_path(path): (mode, mtime_ns) for path, mode, mtime_ns in request["modes"]}
    return {"problems": _texts(_synced(request, trees).set_modes(modes))}


def expect(request: dict[str, Any], trees: TargetTrees) -> dict[str, Any]:
    absent = [to_path(path) for path in request["absent"]]
    trees.at(request["root"]).expect({**from_wire(request["rows"]), **dict.fromkeys(absent)})
    return {}


def to_wire(rows: Mapping[bytes, ScanRow]) -> str:
    return base64.b64encode(zlib.compress(pack_rows(rows), _LEVEL)).decode()


def from_wire(text: str) -> dict[bytes, ScanRow]:
    """Raises ``ValueError``."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(base64.b64decode(text), MAX_TABLE_BYTES)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if not unpacker.eof:
        raise ValueError("a table is too long, or is cut off")
    return unpack_rows(data)


def _synced(request: dict[str, Any], trees: TargetTrees) -> SyncedTree:
    patterns = to_path(request["patterns"])
    return SyncedTree(trees.at(request["root"]), patterns, ScanCache(default_folder()))


def _texts(problems: Mapping[bytes, str]) -> list[list[str]]:
    return [[to_text(path), why] for path, why in problems.items()]
