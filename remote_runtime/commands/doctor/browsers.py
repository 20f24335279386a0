"""What each browser asks of a person, or of its settings, before Colab's page may reach this computer.

Measured with Chromium 156 and Firefox ESR 153; a page cannot answer these questions, nor can a server.
"""

from __future__ import annotations

import sys

from ...core.model import Finding
from .checklist import Checkup

CHECKS = ("chrome", "firefox", "safari")
CHROME = 'Chrome and Edge ask once for "Access other apps and services on this device": allow it'
FIREFOX = (
    "Firefox asks once whether the page may access this device: allow it; older versions also need "
    "network.websocket.allowInsecureFromHTTPS = true in about:config"
)


def tell(checkup: Checkup) -> None:
    checkup.note("chrome", CHROME)
    checkup.note("firefox", FIREFOX)
    if sys.platform == "darwin":
        why = "it blocks http://localhost on https pages"
        checkup.warn("safari", "Safari may not let the page connect", why, "Use Chrome")
    else:
        checkup.say(Finding("safari", "skipped", "skipped", "Safari is not on this system"))
