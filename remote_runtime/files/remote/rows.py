"""What a scan knows of each path, and tables of it as bytes: on the wire, in caches and in records.

A table is quick to write and to read: all paths, then all first numbers, all second numbers …, then all values.
"""

from __future__ import annotations

import functools
import sys
from array import array
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import NamedTuple

_HEADER = Struct("<4sIIQ")
_MAGIC = b"rrt1"
_MAX_INTEGERS = 8


class InvalidTable(ValueError):
    """The bytes are no table."""


class ScanRow(NamedTuple):
    """``mode``: with the kind, as in ``st_mode``. ``value``: the hash of a file, where a link points, or empty.
    ``ctime_ns``: ``UNSURE`` where the file can have changed since without another time."""

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    value: bytes


UNSURE = -1


def pack(paths: Sequence[bytes], columns: Sequence[Sequence[int]], values: Sequence[bytes]) -> bytes:
    """``columns``: 64-bit numbers, as many in each as there are paths. No path has a NUL or is empty."""
    names = b"\0".join(paths)
    lengths = array("q", map(len, values))
    arrays = [*(array("q", column) for column in columns), lengths]
    if sys.byteorder == "big":
        for each in arrays:
            each.byteswap()
    header = _HEADER.pack(_MAGIC, len(paths), len(columns), len(names))
    return b"".join([header, names, *(each.tobytes() for each in arrays), *values])


def unpack(data: bytes, columns: int) -> tuple[Sequence[bytes], Sequence[Sequence[int]], Sequence[bytes]]:
    """What was packed. Raises ``InvalidTable``."""
    try:
        magic, count, found, names_length = _HEADER.unpack_from(data)
        if magic != _MAGIC or found != columns or columns > _MAX_INTEGERS:
            raise InvalidTable("another format")
        at = _HEADER.size + names_length
        names = data[_HEADER.size : at].split(b"\0") if count else []
        arrays = []
        for _ in range(columns + 1):
            each = array("q")
            each.frombytes(data[at : at + 8 * count])
            if sys.byteorder == "big":
                each.byteswap()
            arrays.append(each)
            at += 8 * count
        lengths = arrays.pop()
        ok = len(names) == count == len(lengths) and all(names) and (not count or min(lengths) >= 0)
        if not ok or at + sum(lengths) != len(data):
            raise InvalidTable("its length is wrong")
    except InvalidTable:
        raise
    except Exception as exc:
        raise InvalidTable(str(exc)) from exc
    values = []
    for length in lengths:
        values.append(data[at : at + length])
        at += length
    return names, arrays, values


def pack_rows(rows: Mapping[bytes, ScanRow]) -> bytes:
    columns = list(zip(*rows.values())) if rows else [()] * len(ScanRow._fields)  # noqa: B905
    return pack(list(rows), columns[:-1], columns[-1])


def unpack_rows(data: bytes) -> dict[bytes, ScanRow]:
    """Raises ``InvalidTable``."""
    names, columns, values = unpack(data, len(ScanRow._fields) - 1)
    # A third of the time that ScanRow(...) takes.
    make = functools.partial(tuple.__new__, ScanRow)
    return dict(zip(names, map(make, zip(*columns, values))))  # noqa: B905  # Python 3.8 has no strict
