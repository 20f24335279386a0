"""The checks of doctor: for each its group, and its title as within a sentence. The names are those of the
JSON output."""

from __future__ import annotations

from collections.abc import Mapping

# In the order in which doctor runs them.
GROUPS = (
    *("Computer", "Profile", "Google Cloud", "Machine", "SSH", "Jupyter", "Tunnel", "Browser"),
    *("Runtimes", "Cleanup"),
)
CHECKS: Mapping[str, tuple[str, str]] = {
    "version": ("Computer", "version"),
    "state-folder": ("Computer", "state directory"),
    "profile": ("Profile", "profile"),
    "profiles": ("Profile", "profiles"),
    "credentials": ("Google Cloud", "credentials"),
    "instance": ("Google Cloud", "VM"),
    "permissions": ("Google Cloud", "permissions"),
    "creation": ("Google Cloud", "new VM"),
    "apis": ("Google Cloud", "APIs"),
    "creation-permissions": ("Google Cloud", "permissions to create it"),
    "quota": ("Google Cloud", "quota"),
    "network": ("Google Cloud", "network"),
    "creation-firewall": ("Google Cloud", "firewall for SSH"),
    "egress": ("Google Cloud", "internet access"),
    "start": ("Google Cloud", "last start"),
    "machine": ("Machine", "address"),
    "firewall": ("SSH", "firewall"),
    "ssh": ("SSH", "SSH connection"),
    "host-key": ("SSH", "host key"),
    "login": ("SSH", "login"),
    "agent": ("SSH", "SSH agent"),
    "interpreter": ("Jupyter", "Python"),
    "jupyter": ("Jupyter", "Jupyter server"),
    "bridge": ("Jupyter", "Colab extension"),
    "idle": ("Jupyter", "idle stop"),
    "port": ("Tunnel", "local port"),
    "keeper": ("Tunnel", "background process"),
    "forward": ("Tunnel", "port forwarding"),
    "answer": ("Tunnel", "HTTP"),
    "token": ("Tunnel", "token"),
    "cors": ("Browser", "CORS"),
    "private-network": ("Browser", "private network access"),
    "websocket": ("Browser", "WebSocket"),
    "kernel": ("Browser", "notebook cell"),
    "colab": ("Browser", "Colab"),
    "chrome": ("Browser", "Chrome and Edge"),
    "firefox": ("Browser", "Firefox"),
    "safari": ("Browser", "Safari"),
    "undo": ("Cleanup", "cleanup"),
}
RUNTIME_PREFIX = "runtime "
# Neither a page nor a server can read these settings: they are advice, and no result.
BROWSER_ADVICE = ("chrome", "firefox", "safari")


def group_of(check: str) -> str:
    return "Runtimes" if check.startswith(RUNTIME_PREFIX) else CHECKS[check][0]


def title_of(check: str) -> str:
    return check.removeprefix(RUNTIME_PREFIX) if check.startswith(RUNTIME_PREFIX) else CHECKS[check][1]
