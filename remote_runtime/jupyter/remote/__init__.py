"""What the launcher does on the machine: standard library only, Python 3.8 and newer, nothing of ours outside here.

The launcher makes the modules of ``SOURCES`` in memory there when they are needed; ``run_server.py`` is written to a
file.
"""

SOURCES = (
    "reply",
    "request",
    "data_dir",
    "processes",
    "host",
    "server_client",
    "login_environment",
    "python_candidates",
    "interpreters",
    "disk_space",
    "private_venv",
    "kernelspec",
    "python_choice",
    "user_settings",
    "start_failure",
    "gpus",
    "listeners",
    "attach",
    "runtime_dir",
    "server",
    "resource_use",
    "idle_shells",
    "activity",
    "shutdown",
    "autostart",
    "idle_watchdog",
    "listen_address",
    "start",
    "dispatch",
)
