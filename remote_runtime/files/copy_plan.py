"""What a copy consists of: finds the sources, and decides under which name each arrives, as ``scp`` does."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from ..launcher.call import invalid_reply
from .agent import Agent
from .endpoint import FileEndpoint
from .items import Item, ItemFailure
from .remote import source_files
from .remote.names import to_path, to_text
from .remote.source_files import Entry, describe

KINDS = ("file", "folder", "link", source_files.SPECIAL, source_files.ERROR)
MAX_WHY_CHARS = 300
MAX_ENTRIES = 20_000_000
NO_NAME = (b"", b".", b"..")  # of such a source the contents are copied


@fast_dataclass(frozen=True)
class CopySource:
    """One source that was found. ``path``: real and absolute. ``name``: its own; empty if only what is in it is
    copied."""

    path: bytes
    name: bytes
    entry: Entry


@fast_dataclass(frozen=True)
class CopyTarget:
    """``name``: of the only source in the folder ``root``; empty if sources keep their names."""

    root: bytes
    name: bytes


@fast_dataclass(frozen=True)
class CopyPlan:
    """``failures``: what can't be copied, known before anything is."""

    root: bytes
    items: tuple[Item, ...]
    failures: tuple[ItemFailure, ...]


def local_sources(endpoints: Sequence[FileEndpoint]) -> list[CopySource]:
    found = []
    for endpoint in endpoints:
        path = os.path.abspath(endpoint.path_bytes)
        name = os.path.basename(endpoint.path_bytes.rstrip(_SEPARATORS))
        real = os.path.realpath(path)
        found.append(CopySource(real, b"" if name in NO_NAME else name, describe(real, b"")))
    return found


def remote_sources(agent: Agent, endpoints: Sequence[FileEndpoint]) -> list[CopySource]:
    """``*``, ``?`` and ``[`` match names on the machine."""
    answer = agent.call({"do": "find", "paths": [to_text(endpoint.path_bytes) for endpoint in endpoints]})
    found: list[CopySource] = []
    match answer:
        case {"found": list(lists)} if len(lists) == len(endpoints):
            for endpoint, matches in zip(endpoints, lists, strict=True):
                found += _matches(endpoint, matches) if matches else [_missing(endpoint)]
            return found
    raise invalid_reply("expected the files that were requested")


def local_target(endpoint: FileEndpoint, sources: Sequence[CopySource]) -> CopyTarget:
    """Raises ``UsageError`` ``target-folder-missing``."""
    path = os.path.abspath(endpoint.path_bytes)
    return _target(
        endpoint, sources, path, os.path.isdir(path), os.path.lexists(path), os.path.isdir(os.path.dirname(path))
    )


def remote_target(agent: Agent, endpoint: FileEndpoint, sources: Sequence[CopySource]) -> CopyTarget:
    """As ``local_target``."""
    match agent.call({"do": "stat", "path": to_text(endpoint.path_bytes)}):
        case {"kind": str(kind), "parent": bool(has_parent), "path": str(path)}:
            return _target(endpoint, sources, to_path(path), kind == "folder", bool(kind), has_parent)
    raise invalid_reply("expected the kind of the target")


def plan_upload(sources: Sequence[CopySource], target: CopyTarget, *, recursive: bool) -> CopyPlan:
    return _plan(sources, target, recursive, lambda source: source_files.list_tree(source.path))


def plan_download(agent: Agent, sources: Sequence[CopySource], target: CopyTarget, *, recursive: bool) -> CopyPlan:
    """Raises ``MachineError`` ``machine-answer-invalid``. The names are checked when they are copied."""
    return _plan(sources, target, recursive, lambda source: _remote_tree(agent, source.path))


def _plan(sources: Sequence[CopySource], target: CopyTarget, recursive: bool, list_tree: Any) -> CopyPlan:
    items: list[Item] = []
    failures: list[ItemFailure] = []
    names: set[bytes] = set()
    for source in sources:
        name = target.name or source.name or b"."
        top = _item(source.path, name, source.entry)
        if name != b"." and name in names:
            failures.append(ItemFailure(top, "another source has the same name"))
        elif why := _obstacle(source.entry, recursive):
            failures.append(ItemFailure(top, why))
        else:
            names.add(name)
            items.append(top)
            if source.entry.kind == source_files.FOLDER:
                _add_tree(source.path, b"" if name == b"." else name + b"/", list_tree(source), items, failures)
    return CopyPlan(target.root, tuple(items), tuple(failures))


def _add_tree(
    path: bytes, prefix: bytes, entries: Iterable[Entry], items: list[Item], failures: list[ItemFailure]
) -> None:
    for entry in entries:
        item = _item(os.path.join(path, entry.name), prefix + entry.name, entry)
        if why := _obstacle(entry, recursive=True):
            failures.append(ItemFailure(item, why))
        else:
            items.append(item)


def _item(source: bytes, target: bytes, entry: Entry) -> Item:
    kind: Any = entry.kind if entry.kind in ("folder", "link") else "file"
    return Item(source, target, kind, entry.size, entry.mode, entry.mtime_ns, entry.link)


def _obstacle(entry: Entry, recursive: bool) -> str:
    """Why it is not copied; empty if it is."""
    if entry.kind == source_files.ERROR:
        return clean_line(entry.link.decode("utf-8", "replace"), MAX_WHY_CHARS) or "it can't be read"
    if entry.kind == source_files.SPECIAL:
        return "it is a device, pipe or socket"
    if entry.kind == source_files.FOLDER and not recursive:
        return "it is a folder, which takes -r"
    return ""


def _target(
    endpoint: FileEndpoint, sources: Sequence[CopySource], path: bytes, is_folder: bool, exists: bool, has_parent: bool
) -> CopyTarget:
    if is_folder:
        return CopyTarget(path, b"")
    wants_folder = len(sources) > 1 or (
        endpoint.path.endswith("/") and not all(source.entry.kind == source_files.FOLDER for source in sources)
    )
    if not has_parent or wants_folder:
        what = f"{clean_line(str(endpoint), MAX_WHY_CHARS)} is not a folder"
        why = "there is a file of this name" if exists else "it does not exist"
        if not has_parent:
            what, why = f"The folder for {clean_line(str(endpoint), MAX_WHY_CHARS)} does not exist", ""
        raise UsageError("target-folder-missing", what, why)
    return CopyTarget(os.path.dirname(path), os.path.basename(path))


def _matches(endpoint: FileEndpoint, matches: object) -> Iterator[CopySource]:
    """The machine chooses among names that match the pattern, and no others."""
    typed = os.path.basename(endpoint.path_bytes.rstrip(b"/"))
    if not isinstance(matches, list):
        raise invalid_reply("expected a list of files")
    for each in matches:
        match each:
            case [str(path), list(fields), str(real)]:
                entry, name = _entry(fields), os.path.basename(_path(path).rstrip(b"/"))
                if not fnmatch.fnmatchcase(name, typed) and name != typed:
                    raise invalid_reply("a file that was not requested")
                yield CopySource(_path(real), b"" if typed in NO_NAME or typed == b"~" else name, entry)
            case _:
                raise invalid_reply("a file of an unknown kind")


def _missing(endpoint: FileEndpoint) -> CopySource:
    name = os.path.basename(endpoint.path_bytes.rstrip(b"/"))
    return CopySource(endpoint.path_bytes, name, Entry(b"", source_files.ERROR, link=b"No such file or directory"))


def _remote_tree(agent: Agent, path: bytes) -> Iterator[Entry]:
    count = 0
    for answer in agent.stream({"do": "list", "path": to_text(path)}):
        entries = answer.get("entries")
        if not isinstance(entries, list):
            raise invalid_reply("expected a list of files")
        count += len(entries)
        if count > MAX_ENTRIES:
            raise invalid_reply("its list of files does not end")
        yield from map(_entry, entries)


def _entry(fields: object) -> Entry:
    match fields:
        case [str(name), str(kind), int(size), int(mode), int(mtime_ns), str(link)] if kind in KINDS and size >= 0:
            return Entry(_path(name), kind, size, mode, mtime_ns, _path(link))
    raise invalid_reply("a file of an unknown kind")


def _path(text: str) -> bytes:
    try:
        return to_path(text)
    except ValueError as error:
        raise invalid_reply("a name that no file has") from error


_SEPARATORS = b"/" + (os.sep.encode() if os.sep != "/" else b"")
