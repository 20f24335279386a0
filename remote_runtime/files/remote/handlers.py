"""The agent's answers. A JSON request is handled by a function of ``JSON_HANDLERS``; those with bodies are methods.

A client sends requests without waiting; the answers of one connection come in the order of its requests.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import source_files
from .blocks import hash_blocks, hash_left_over
from .names import from_home, to_path, to_text
from .source_files import Entry, OpenFiles
from .target_tree import TargetTree
from .wire import FrameSocket, InvalidFrame

if TYPE_CHECKING:
    from .wire import Header

    Answer = dict[str, Any] | Iterator[dict[str, Any]]

MAX_BODY_BYTES = 64 << 20
ENTRIES_PER_REPLY = 1000
RESTARTED = "the agent was started again meanwhile; sync once more"


class Trees:
    """The folders that are written to: all connections share them."""

    def __init__(self) -> None:
        self._trees: dict[str, TargetTree] = {}
        self._lock = threading.Lock()

    def at(self, root: str) -> TargetTree:
        with self._lock:
            if root not in self._trees:
                self._trees[root] = TargetTree(to_path(root))
            return self._trees[root]

    def of(self, request: Header) -> TargetTree:
        """The one that ``request`` names. Raises ``OSError`` if it relies on a request that a former agent got."""
        tree = self.at(request["root"])
        if request.get("checked") and not tree.is_checked:
            raise OSError(errno.EAGAIN, RESTARTED)
        return tree


class AgentConnection:
    """Serves one connection."""

    def __init__(self, connection: FrameSocket, trees: Trees, stop: Callable[[], None]) -> None:
        self._connection = connection
        self._trees = trees
        self._stop = stop
        self._files = OpenFiles()
        self._with_bodies = {"put": self._put, "write": self._write, "fetch": self._fetch, "read": self._read}

    def serve(self) -> None:
        """Until the connection ends: raises ``FrameSocketClosed`` or ``InvalidFrame``."""
        try:
            while True:
                request, body_length = self._connection.receive()
                if body_length > MAX_BODY_BYTES:
                    raise InvalidFrame("a body is too long")
                body = self._connection.receive_body(body_length)
                self._answer(request, memoryview(body))
        finally:
            self._files.close()

    def _answer(self, request: Header, body: memoryview) -> None:
        name = request.get("do")
        if name == "stop":
            self._stop()
            self._connection.send({"result": {}})
        elif name in self._with_bodies:
            try:
                self._with_bodies[name](request, body)
            except OSError as exc:
                self._connection.send({"error": _error(exc)})
        elif name in JSON_HANDLERS:
            self._answer_json(JSON_HANDLERS[name], request)
        elif name in SYNC_REQUESTS:
            from . import sync_requests  # a copy does without its modules

            self._answer_json(getattr(sync_requests, SYNC_REQUESTS[name]), request)
        else:
            self._connection.send({"error": {"errno": errno.ENOSYS, "why": "the agent does not have this request"}})

    def _answer_json(self, handler: Callable[[Header, Trees], Answer], request: Header) -> None:
        """One frame with ``result`` for a dict; for an iterator one a dict, then ``end``."""
        try:
            answer = handler(request, self._trees)
            if isinstance(answer, dict):
                self._connection.send({"result": answer})
                return
            for part in answer:
                self._connection.send({"result": part, "more": True})
            self._connection.send({"end": True})
        except OSError as exc:
            self._connection.send({"error": _error(exc)})

    def _put(self, request: Header, body: memoryview) -> None:
        """Small files: their contents are one after the other in the body."""
        tree, failures, offset = self._trees.of(request), [], 0
        for number, (name, size, mode, mtime_ns) in enumerate(request["files"]):
            try:
                tree.put(to_path(name), body[offset : offset + size], mode, mtime_ns)
            except OSError as exc:
                failures.append([number, _error(exc)])
            offset += size
        self._connection.send({"failures": failures})

    def _write(self, request: Header, body: memoryview) -> None:
        """A part of a large file."""
        tree = self._trees.of(request)
        try:
            tree.write(to_path(request["name"]), request["key"], request["offset"], body)
        except OSError as exc:
            self._connection.send({"error": _error(exc)})
        else:
            self._connection.send({})

    def _fetch(self, request: Header, body: memoryview) -> None:
        """Small files: ``[size, mtime_ns]`` or an error for each, and their contents in the body."""
        found: list[Any] = []
        contents: list[bytes] = []
        for path, size in request["files"]:
            try:
                content, mtime_ns = source_files.read_file(from_home(to_path(path)), size)
            except OSError as exc:
                found.append(_error(exc))
                continue
            found.append([len(content), mtime_ns])
            contents.append(content)
        self._connection.send({"files": found}, b"".join(contents))

    def _read(self, request: Header, body: memoryview) -> None:
        """A part of a large file; without a body where it is a hole."""
        offset, length = request["offset"], request["length"]
        try:
            descriptor = self._files.descriptor(from_home(to_path(request["path"])))
            status = os.fstat(descriptor)
            is_hole = source_files.may_have_holes(status) and source_files.is_hole(descriptor, offset, length)
        except OSError as exc:
            self._connection.send({"error": _error(exc)})
            return
        header = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if is_hole:
            self._connection.send({**header, "hole": True})
        else:
            self._connection.send_file(header, descriptor, offset, length)


def find(request: Header, trees: Trees) -> Answer:
    """What the paths mean: for each its matches, as `source_files.find_sources`."""
    found = []
    for path in request["paths"]:
        matches = source_files.find_sources(to_path(path))
        found.append([[to_text(match), _entry(entry), to_text(real)] for match, entry, real in matches])
    return {"found": found}


def list_tree(request: Header, trees: Trees) -> Iterator[dict[str, Any]]:
    """All below a folder."""
    entries: list[Any] = []
    for entry in source_files.list_tree(from_home(to_path(request["path"]))):
        entries.append(_entry(entry))
        if len(entries) == ENTRIES_PER_REPLY:
            yield {"entries": entries}
            entries = []
    yield {"entries": entries}


def stat_target(request: Header, trees: Trees) -> Answer:
    """``folder``, ``file``, or empty if there is nothing; a link is followed. ``root``: as an absolute path."""
    path = os.path.abspath(from_home(to_path(request["path"])))
    kind = "folder" if os.path.isdir(path) else "file" if os.path.lexists(path) else ""
    return {"kind": kind, "parent": os.path.isdir(os.path.dirname(path)), "path": to_text(path)}


def begin(request: Header, trees: Trees) -> Answer:
    tree = trees.of(request)
    tree.begin(to_path(request["name"]), request["key"], request["size"], request["needed"], keep=request["keep"])
    return {}


def left_overs(request: Header, trees: Trees) -> Answer:
    """What an earlier copy left of files, with hashes: ``blocks.hash_left_over``."""
    tree = trees.of(request)
    return {"hashes": [hash_left_over(tree, to_path(name), *rest) for name, *rest in request["files"]]}


def hashes(request: Header, trees: Trees) -> Answer:
    """``blocks.hash_blocks`` of files."""
    return {"hashes": [hash_blocks(from_home(to_path(path)), *rest) for path, *rest in request["files"]]}


def finish(request: Header, trees: Trees) -> Answer:
    tree = trees.of(request)
    tree.finish(to_path(request["name"]), request["key"], request["size"], request["mode"], request["mtime_ns"])
    return {}


def discard(request: Header, trees: Trees) -> Answer:
    trees.of(request).discard(to_path(request["name"]), request["key"])
    return {}


def make_folders(request: Header, trees: Trees) -> Answer:
    """``made``: the numbers of those that did not exist."""
    tree, made = trees.of(request), []

    def make(name: str, *_: Any) -> None:
        if tree.make_folder(to_path(name)):
            made.append(name)

    return {"failures": _each(request["folders"], make), "made": made}


def set_folders(request: Header, trees: Trees) -> Answer:
    """The mode and time of folders."""
    tree = trees.of(request)
    return {"failures": _each(request["folders"], lambda name, *rest: tree.set_folder(to_path(name), *rest))}


def make_links(request: Header, trees: Trees) -> Answer:
    tree = trees.of(request)
    return {
        "failures": _each(request["links"], lambda name, to, at: tree.make_link(to_path(name), to_path(to), at)),
    }


JSON_HANDLERS: dict[str, Callable[[Header, Trees], Answer]] = {
    "find": find,
    "list": list_tree,
    "stat": stat_target,
    "left-overs": left_overs,
    "hashes": hashes,
    "begin": begin,
    "finish": finish,
    "discard": discard,
    "folders": make_folders,
    "set-folders": set_folders,
    "links": make_links,
}

# Functions of ``sync_requests``.
SYNC_REQUESTS = {
    "sync-patterns": "read_patterns",
    "sync-scan": "scan",
    "sync-rows": "rows_now",
    "sync-remove": "remove",
    "sync-modes": "set_modes",
    "sync-expect": "expect",
}


def _each(items: list[list[Any]], work: Callable[..., None]) -> list[Any]:
    """``[number, error]`` of each that failed."""
    failures = []
    for number, item in enumerate(items):
        try:
            work(*item)
        except OSError as exc:
            failures.append([number, _error(exc)])
    return failures


def _entry(entry: Entry) -> list[Any]:
    return [to_text(entry.name), entry.kind, entry.size, entry.mode, entry.mtime_ns, to_text(entry.link)]


def _error(exc: OSError) -> dict[str, Any]:
    return {"errno": exc.errno or 0, "why": exc.strerror or str(exc)}
