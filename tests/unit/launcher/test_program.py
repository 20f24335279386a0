"""What the machine has to compile and import before it can look at a server."""

from __future__ import annotations

import json
import subprocess
import sys

from remote_runtime.launcher.call import direct_command, launcher_input

FOR_A_START = {
    "start",
    "installer",
    "private_venv",
    "interpreters",
    "python_candidates",
    "python_choice",
    "login_environment",
    "kernelspec",
    "disk_space",
    "user_settings",
    "start_failure",
    "attach",
    "listeners",
    "activity",
    "shutdown",
    "autostart",
    "listen_address",
}


def modules_after(module: str) -> set[str]:
    """Everything that a Python has imported which was sent the launcher and loaded ``module`` of it."""
    length, _, rest = launcher_input("jupyter", {}).partition(b"\n")
    launcher, orders = rest[: int(length)], rest[int(length) :]
    script = (
        f"names = {{'__name__': 'launcher'}}\nexec({launcher.decode()!r}, names)\n"
        f"import json, sys\nnames['load'](json.loads({orders.decode()!r})['sources'], 'jupyter.remote.' + {module!r})\n"
        "sys.__stdout__.write(json.dumps(sorted(sys.modules)))"
    )
    python, *options, _, _ = direct_command(sys.executable, "ready")
    sent = [python, *options, "-"]
    done = subprocess.run(sent, input=script, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_a_look_compiles_nothing_that_only_a_start_needs() -> None:
    loaded = {
        name.rpartition(".")[2] for name in modules_after("dispatch") if name.startswith("remote_runtime_machine.")
    }
    assert {"dispatch", "server", "server_client", "idle_watchdog"} <= loaded
    assert not loaded & FOR_A_START


def test_a_look_imports_no_slow_library() -> None:
    slow = {"http.client", "urllib.request", "ssl", "email", "site", "asyncio", "dataclasses", "subprocess", "random"}
    assert not modules_after("dispatch") & slow


def test_what_a_start_needs_is_sent_too() -> None:
    for name in sorted(FOR_A_START):
        assert f"remote_runtime_machine.jupyter.remote.{name}" in modules_after(name)
