"""What the launcher does on the machine: standard library only, Python 3.8 and newer, nothing of ours outside here.

The launcher makes these modules in memory there, in the order of ``SOURCES``; ``boot.py`` is written to a file.
"""

SOURCES = (
    "answers",
    "orders",
    "folder",
    "processes",
    "proof",
    "interpreters",
    "environment",
    "gpus",
    "kernelspecs",
    "listeners",
    "runtime_files",
    "attach",
    "server",
    "usage",
    "power",
    "reboot",
    "watchdog",
    "start",
    "work",
)
