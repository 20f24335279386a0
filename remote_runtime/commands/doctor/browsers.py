"""What each browser asks of a person, or of its settings, before Colab's page may reach this computer.

Measured with Chromium 156 and Firefox ESR 153; a page cannot answer these questions, nor can a server.
"""

from __future__ import annotations

import sys

from ...core.model import Finding
from .checklist import Checklist

BROWSER_CHECKS = ("chrome", "firefox", "safari")
CHROME_NOTE = 'Chrome and Edge ask once for "Access other apps and services on this device": allow it'
FIREFOX_NOTE = (
    "Firefox asks once whether the page may access this device: allow it; older versions also need "
    "network.websocket.allowInsecureFromHTTPS = true in about:config"
)


def add_browser_notes(checklist: Checklist) -> None:
    checklist.note("chrome", CHROME_NOTE)
    checklist.note("firefox", FIREFOX_NOTE)
    if sys.platform == "darwin":
        why = "it blocks http://localhost on https pages"
        checklist.warn("safari", "Safari may not let the page connect", why, "Use Chrome")
    else:
        checklist.add(Finding("safari", "skipped", "skipped", "Safari is not on this system"))
