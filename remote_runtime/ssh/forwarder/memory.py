"""Buffers that cost memory only where they are used."""

from __future__ import annotations

import mmap


def mmap_buffer(size: int) -> memoryview:
    """``size`` zero bytes that use memory only once they are written, page by page; a ``bytearray`` writes them all."""
    return memoryview(mmap.mmap(-1, size))
