"""What the bridge adds to a process is gone with its server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import gc, json, logging, sys, weakref
from jupyter_server.serverapp import ServerApp
from remote_runtime.bridge.extension import load

def places():
    loggers = [logging.getLogger(), *map(logging.getLogger, ["tornado.access", "ServerApp", "asyncio"])]
    return sum(len(place.filters) for logger in loggers for place in (logger, *logger.handlers)) + len(
        logging.lastResort.filters)

before, seen, apps = places(), [], []
for number in range(4):
    app = ServerApp(log_level=50, root_dir=sys.argv[1], token="a" * 20)
    app.initialize([], new_httpserver=False)
    load(app)
    seen.append(places())
    apps.append(weakref.ref(app))
    ServerApp.clear_instance()
    del app
    gc.collect()
# Jupyter's own singletons keep the first and the last.
alive = [bool(ref()) for ref in apps[1:-1]]
gc.collect()
print(json.dumps({"grown": places() - seen[1], "had": seen[0] > before, "alive": alive}))
"""


def test_the_log_filters_of_a_server_that_ended_are_gone_and_keep_nothing_alive(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip().splitlines()[-1:] == ['{"grown": 0, "had": true, "alive": [false, false]}'], (
        done.stdout + done.stderr
    )
