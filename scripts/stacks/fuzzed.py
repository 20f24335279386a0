"""What atheris runs: ``python -m scripts.stacks.fuzzed TARGET CORPUS [libFuzzer's options]``."""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["remote_runtime.bridge", "json", "urllib.parse", "base64", "ipaddress"]):
    from remote_runtime.bridge import protocol
    from tests.support.faults import bridge_fuzz


def message(data: bytes) -> None:
    bridge_fuzz.check_message(data)


def head(data: bytes) -> None:
    bridge_fuzz.check_head(data)


def credentials(data: bytes) -> None:
    query, _, host = data.decode("latin1").partition("\n")
    bridge_fuzz.check_credentials(query, host)


def version(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        protocol.is_newer(data.decode("utf-8", "replace"))


if __name__ == "__main__":
    targets = {each.__name__: each for each in (message, head, credentials, version)}
    atheris.Setup([sys.argv[0], *sys.argv[2:]], targets[sys.argv[1]])
    atheris.Fuzz()
