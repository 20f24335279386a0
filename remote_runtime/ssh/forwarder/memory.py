"""Buffers that cost memory only where they are used."""

from __future__ import annotations

import mmap


def mmap_buffer(size: int) -> memoryview:
    """``size`` zero bytes, of which the system provides a page when it is first written. A ``bytearray`` writes all."""
    return memoryview(mmap.mmap(-1, size))
