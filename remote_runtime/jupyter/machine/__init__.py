"""What the launcher does on the machine: standard library only, Python 3.8 and newer, nothing of ours outside here.

The launcher makes the modules of ``SOURCES`` in memory there when they are needed; ``boot.py`` is written to a file.
"""

SOURCES = (
    "answers",
    "orders",
    "folder",
    "processes",
    "question",
    "proof",
    "logins",
    "candidates",
    "interpreters",
    "imports",
    "room",
    "environment",
    "kernels",
    "choice",
    "own_settings",
    "ending",
    "gpus",
    "kernelspecs",
    "listeners",
    "runtime_files",
    "attach",
    "runtime_folder",
    "server",
    "effort",
    "shells",
    "usage",
    "power",
    "reboot",
    "watchdog",
    "start",
    "stillness",
    "work",
)
