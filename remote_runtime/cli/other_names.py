"""Words that people type for a command: aliases where only one command can be meant, suggestions elsewhere.

What may start a machine that costs money has no alias but `start`.
"""

from __future__ import annotations

ALIASES = {"start": "up", "stop": "down", "ls": "status", "list": "status", "ps": "status"}
SUGGESTIONS = {
    "connect": ("up PROFILE", "ssh PROFILE"),
    "python": ("exec PROFILE FILE",),
    "shell": ("ssh PROFILE",),
    "launch": ("up PROFILE",),
    "restart": ("down PROFILE", "up PROFILE"),
    "shutdown": ("down PROFILE",),
    "kill": ("down PROFILE --force",),
    "rm": ("down PROFILE",),
    "delete": ("down PROFILE --purge",),
    "init": ("profiles new",),
    "create": ("profiles new",),
    "add": ("profiles new",),
    "config": ("profiles list", "profiles new"),
    "token": ("url PROFILE",),
    "browser": ("open PROFILE",),
    "colab": ("open PROFILE",),
    "lab": ("open PROFILE --lab",),
    "notebook": ("open PROFILE --lab",),
    "tail": ("logs PROFILE -f",),
    "watch": ("status --watch",),
    "top": ("status --watch",),
    "info": ("status PROFILE",),
    "diagnose": ("doctor PROFILE",),
    "debug": ("doctor PROFILE",),
    "install-completion": ("completion bash --install",),
}
