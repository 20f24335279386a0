"""The host name at which a browser opens the server's own pages.

Browsers send cookies of ``localhost`` to every port of this computer (RFC 6265, 8.5), and the login cookie is worth the
token. ``*.localhost`` is this computer too (RFC 6761, 6.3), with cookies of its own.
"""

from __future__ import annotations

import hashlib
import re

MAX_LABEL_CHARS = 40  # a label has at most 63 characters


def page_host(name: str) -> str:
    """For the runtime of this name, and for no other."""
    label = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_LABEL_CHARS]
    if label != name:
        label += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"rr-{label}.localhost"
