"""The state directory: one JSON file a runtime, written by its keeper alone, with the lock files beside it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..core import file_lock
from ..core.access import InstalledKey
from ..core.codec import from_json, to_json
from ..core.errors import LocalError, RemoteRuntimeError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Runtime
from ..core.private_file import ensure_private_dir, read_private, socket_path, write_private

log = logging.getLogger(__name__)
SCHEMA_VERSION = 1
PROBE_BYTES = 1 << 14  # as much as a state file takes, and a beginning of a log


@fast_dataclass(frozen=True)
class StateDir:
    """Where runtimes are kept: ``$REMOTE_RUNTIME_STATE_DIR``, else the platform's place for state."""

    path: Path

    def file_path(self, name: str, kind: str) -> Path:
        """``kind``: json, alive, busy, sock, key, log, port, html or machine."""
        return self.path / f"{name}.{kind}"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"


def open_state_dir(environ: Mapping[str, str]) -> StateDir:
    """Make the directory (0700) if it is missing. Raises ``LocalError`` ``state-dir-unusable``."""
    path = state_dir_path(environ)
    try:
        ensure_private_dir(path)
    except OSError as error:
        at = Path(os.fsdecode(error.filename or path))
        why, hint = f"{at}: {error.strerror or error}", "Set `REMOTE_RUNTIME_STATE_DIR` to a directory of your own"
        if at.parent == path:
            hint = f"If you don't need it: `rm {shlex.quote(str(at))}`. Or set `REMOTE_RUNTIME_STATE_DIR`"
        raise LocalError("state-dir-unusable", f"The state directory {path} cannot be used", why, hint) from error
    return StateDir(path)


def check_writable(state: StateDir) -> None:
    """Raises ``LocalError`` ``state-dir-unusable`` where what a keeper writes would have no room."""
    probe = state.path / f"probe.{secrets.token_hex(4)}"  # several `up`s of one command look at the same time
    try:
        write_private(probe, bytes(PROBE_BYTES))
        probe.unlink()
    except OSError as error:
        raise not_writable_error(state, error) from error
    if sys.platform != "win32":
        import socket

        try:
            with socket_path(probe) as address, socket.socket(socket.AF_UNIX) as made:
                made.bind(address)
            probe.unlink()
        except OSError as error:
            raise no_sockets_error(state, error) from error


def not_writable_error(state: StateDir, error: OSError) -> LocalError:
    return LocalError(
        "state-dir-unusable", f"The state directory {state.path} cannot be written", error.strerror or str(error)
    )


def no_sockets_error(state: StateDir, error: OSError) -> LocalError:
    what, why = f"The state directory {state.path} can't hold Unix sockets", error.strerror or str(error)
    return LocalError("state-dir-unusable", what, why, "Set `REMOTE_RUNTIME_STATE_DIR` to a directory on a local disk")


def state_dir_path(environ: Mapping[str, str]) -> Path:
    """Where the directory is, or would be."""
    return Path(environ.get("REMOTE_RUNTIME_STATE_DIR") or _default_dir()).expanduser().absolute()


def list_names(state: StateDir) -> list[str]:
    """The runtimes there are, up or not."""
    return sorted(path.stem for path in state.path.glob("*.json"))


def load(state: StateDir, name: str) -> Runtime | None:
    """What the keeper last wrote. Raises ``LocalError`` ``state-unreadable``."""
    path = state.file_path(name, "json")
    try:
        document = json.loads(read_private(path))
        if document["schema"] > SCHEMA_VERSION:
            raise ValueError(f"it was written by remote-runtime {document['runtime']['tool_version']}, which is newer")
        return from_json(Runtime, document["runtime"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        # A key that is missing says only its name.
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise LocalError(
            "state-unreadable",
            f"The state file {path} cannot be read",
            why,
            "`remote-runtime down PROFILE --force` ends its processes here and removes the file",
        ) from error


def load_if_readable(state: StateDir, name: str) -> Runtime | None:
    """None also for a file that cannot be read or understood."""
    try:
        return load(state, name)
    except RemoteRuntimeError:
        return None


def save(state: StateDir, runtime: Runtime) -> None:
    """Write it aside, then put it in place. Only the keeper calls this."""
    document = {"schema": SCHEMA_VERSION, "runtime": to_json(runtime)}
    write_private(state.file_path(runtime.name, "json"), json.dumps(document, indent=1).encode())


def remove_files(state: StateDir, name: str) -> None:
    """Remove what a runtime leaves, except its locks, its log, its pins and its remembered port."""
    kinds = (
        ("json", "key", "html") if is_alive(state, name) else ("json", "key", "html", "sock")
    )  # a keeper closes its own socket
    for kind in kinds:
        state.file_path(name, kind).unlink(missing_ok=True)


def is_alive(state: StateDir, name: str) -> bool:
    """Whether a keeper lives for this name."""
    return file_lock.is_locked(state.file_path(name, "alive"))


@fast_dataclass(frozen=True)
class LastRun:
    """What outlives `down`: the local port used last, and the id that keys our folder on the machine. ``failure``: how
    the last `up` failed, an error's ``as_dict()`` with ``at`` (ISO 8601). ``keys``: those of ours that are still there.
    ``profile_path``: the file that it was brought up from last. ``folder``: our folder may be on the machine."""

    client_id: str
    local_port: int | None = None
    failure: Mapping[str, str] | None = None
    keys: tuple[InstalledKey, ...] = ()
    profile_path: str = ""
    folder: bool = False


def load_last_run(state: StateDir, name: str) -> LastRun:
    """What is remembered of this name; a new client id when there is nothing readable."""
    try:
        document = json.loads(read_private(state.file_path(name, "port")))
        port = document["local_port"]
        client_id = document["client_id"]
        if isinstance(client_id, str) and client_id.isalnum() and (port is None or isinstance(port, int)):
            failure = document.get("failure")
            keys = tuple(from_json(InstalledKey, key) for key in document.get("keys", ()))
            failure = failure if isinstance(failure, dict) else None
            path, folder = str(document.get("profile_path") or ""), document.get("folder") is not False
            return LastRun(client_id, port, failure, keys, path, folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # Nothing depends on it: a new id and port serve as well.
        return LastRun(secrets.token_hex(4))
    return LastRun(secrets.token_hex(4))


def assign_new_client_id(state: StateDir, name: str) -> None:
    """The next `up` has another folder on the machine: the server in this one is given up, and may go on."""
    save_last_run(state, name, replace(load_last_run(state, name), client_id=secrets.token_hex(4)))


def save_last_run(state: StateDir, name: str, last_run: LastRun) -> None:
    """A convenience of the next `up`: a disk that is full only makes it forgetful."""
    try:
        write_private(state.file_path(name, "port"), json.dumps(to_json(last_run)).encode())
    except OSError as error:
        log.warning("what is to be remembered of %s could not be kept: %s", name, error)


def _default_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("remote-runtime", appauthor=False))
