"""``scripts/fuzz``: coverage-guided fuzzing of what the bridge takes from pages, in an environment with atheris.

What must hold is in tests/support/faults/bridge_fuzz.py; hypothesis checks the same in every run of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from . import venvs

TARGETS = ("message", "head", "credentials", "version")
# Where the search starts: one good input each. From these it finds the odd ones sooner than from nothing.
AUTH = b"min_version=1&jupyter_http_over_ws_auth_url=http%3A%2F%2Flocalhost%3A1%2F%3Ftoken%3DT"
SEEDS = {
    "message": b'{"path": "/api?a=1", "method": "POST", "message_id": "1", "body": "x", "body_base64": "eA=="}',
    "head": b"GET /http_over_websocket/proxied_ws/ws?" + AUTH + b" HTTP/1.1\r\nHost: localhost:1\r\n"
    b"Upgrade: websocket\r\nOrigin: https://evil.example\r\nVary: a\r\n\r\n",
    "credentials": AUTH + b"&token=U\nlocalhost:1",
    "version": b"v1.0.7rc2.post1.dev3+local.1",
}
WORDS = (
    *(
        "path",
        "method",
        "message_id",
        "body",
        "body_base64",
        "token=",
        "jupyter_http_over_ws_auth_url=",
        "min_version=",
    ),
    *("http://", "https://", "ws://", "localhost:1", "127.0.0.1", "[::1]", "%00", "%0d%0a", "%25", "\\ud800", "1e999"),
    *(
        "Origin: ",
        "Sec-WebSocket-Origin: ",
        "Upgrade: websocket",
        "null",
        "/http_over_websocket/proxied_ws/",
        "OPTIONS",
    ),
)
PACKAGES = ("atheris", "tornado")
PYTHON = "3.11"
LONGEST_INPUT_BYTES = 4096


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=5, help="for each target (default: 5)")
    asked = parser.parse_args(arguments)
    if set(asked.targets) - set(TARGETS):
        parser.error(f"the targets are {', '.join(TARGETS)}")
    python = venvs.ensure("fuzz", PYTHON, PACKAGES)
    return max([_run(python, target, round(asked.minutes * 60)) for target in asked.targets or TARGETS])


def _run(python: Path, target: str, seconds: int) -> int:
    """libFuzzer's exit code: 0 when the time went by without a finding. Inputs worth keeping stay for the next run."""
    corpus = venvs.VENVS / "fuzz" / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "seed").write_bytes(SEEDS[target])
    words = venvs.VENVS / "fuzz" / "words"
    words.write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
    options = [
        f"-dict={words}",
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    command = [str(python), "-m", "scripts.stacks.fuzzed", target, str(corpus), *options]
    done = subprocess.run(
        command, cwd=venvs.ROOT, env={**os.environ, "PYTHONPATH": str(venvs.ROOT)}, stderr=subprocess.PIPE, check=False
    )
    lines = done.stderr.decode(errors="replace").splitlines()
    shown = [line for line in lines if line.startswith(("stat::", "Done"))] if done.returncode == 0 else lines[-60:]
    sys.stdout.write("\n".join([f"{target}: {'no finding' if done.returncode == 0 else 'a finding'}", *shown, ""]))
    sys.stdout.flush()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
