"""The state directory: one JSON file for each runtime, which only its keeper writes, and its lock files."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from ..core import file_lock
from ..core.access import InstalledKey
from ..core.codec import from_json, to_json
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, LocalError, RemoteRuntimeError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Runtime
from ..core.private_file import ensure_private_dir, read_private, socket_path, write_private
from ..core.shell_command import shell_command

log = logging.getLogger(__name__)
SCHEMA_VERSION = 1
PROBE_BYTES = 1 << 14  # room for a state file and the beginning of a log


@fast_dataclass(frozen=True)
class StateDir:
    """``$REMOTE_RUNTIME_STATE_DIR``, else the platform's directory for state."""

    path: Path

    def file_path(self, name: str, kind: str) -> Path:
        """``kind``: json, alive, busy, login, sock, key, log, port, html, hostkeys or machine."""
        return self.path / f"{name}.{kind}"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"


def open_state_dir(environ: Mapping[str, str]) -> StateDir:
    """Make the directory, mode 0700, if it is missing. Raises ``LocalError`` ``state-dir-unusable``."""
    path = state_dir_path(environ)
    try:
        ensure_private_dir(path)
    except OSError as error:
        at = Path(os.fsdecode(error.filename or path))
        why, hint = f"{at}: {error.strerror or error}", "Set `REMOTE_RUNTIME_STATE_DIR` to a directory of your own"
        if at.parent == path:
            hint = f"If you don't need it, run {shell_command('rm', str(at))}, or set `REMOTE_RUNTIME_STATE_DIR`"
        raise LocalError("state-dir-unusable", f"Can't use the state directory {path}", why, hint) from error
    return StateDir(path)


def check_writable(state: StateDir) -> None:
    """Raises ``LocalError`` ``state-dir-unusable`` if a keeper could not write its files or bind its socket there."""
    probe = state.path / f"probe.{secrets.token_hex(4)}"  # `up a b` checks in two threads
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
        "state-dir-unusable", f"Can't write to the state directory {state.path}", error.strerror or str(error)
    )


def no_sockets_error(state: StateDir, error: OSError) -> LocalError:
    what, why = f"The state directory {state.path} can't hold Unix sockets", error.strerror or str(error)
    return LocalError("state-dir-unusable", what, why, "Set `REMOTE_RUNTIME_STATE_DIR` to a directory on a local disk")


def state_dir_path(environ: Mapping[str, str]) -> Path:
    """The path of the directory, which might not exist."""
    return Path(environ.get("REMOTE_RUNTIME_STATE_DIR") or _default_dir()).expanduser().absolute()


def list_names(state: StateDir) -> list[str]:
    """The names of all runtimes, running or not."""
    return sorted(path.stem for path in state.path.glob("*.json"))


def list_last_runs(state: StateDir) -> list[str]:
    """The names that were brought up from here before."""
    return sorted(path.stem for path in state.path.glob("*.port"))


def load(state: StateDir, name: str) -> Runtime | None:
    """What the keeper wrote last. Raises ``LocalError`` ``state-unreadable``."""
    path = state.file_path(name, "json")
    try:
        document = json.loads(read_private(path))
        if document["schema"] > SCHEMA_VERSION:
            raise ValueError(f"it was written by remote-runtime {document['runtime']['tool_version']}, which is newer")
        return from_json(Runtime, document["runtime"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        # A KeyError has only the key's name.
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise LocalError(
            "state-unreadable",
            f"Can't read the state file {path}",
            why,
            "Run `remote-runtime down PROFILE --force` to end its processes here and delete the file",
        ) from error


def load_if_readable(state: StateDir, name: str) -> Runtime | None:
    """None also for a file that cannot be read or understood."""
    try:
        return load(state, name)
    except RemoteRuntimeError:
        return None


def save(state: StateDir, runtime: Runtime) -> None:
    """Write the state file, atomically. Only the keeper calls this."""
    document = {"schema": SCHEMA_VERSION, "runtime": to_json(runtime)}
    write_private(state.file_path(runtime.name, "json"), json.dumps(document, indent=1).encode())


def remove_files(state: StateDir, name: str) -> None:
    """Remove a runtime's files, except its locks, its log and what its next `up` uses."""
    for kind in ("json", "key", "html", "sock"):
        if kind != "sock" or not is_alive(state, name):  # a keeper removes its own socket
            state.file_path(name, kind).unlink(missing_ok=True)


def forget(state: StateDir, name: str) -> None:
    """Remove all files of a runtime that was never up, unless another command or a keeper works on it."""
    with suppress(DeadlinePassed, PermissionError), ExitStack() as stack:  # Windows keeps the file of a lock in use
        for kind in ("busy", "alive"):
            stack.enter_context(file_lock.locked(state.file_path(name, kind), Deadline(0.0)))
        if not state.file_path(name, "json").exists():
            for kind in ("key", "html", "sock", "port", "log", "alive", "busy"):
                state.file_path(name, kind).unlink(missing_ok=True)


def is_alive(state: StateDir, name: str) -> bool:
    """Whether the keeper of this runtime runs."""
    return file_lock.is_locked(state.file_path(name, "alive"))


@fast_dataclass(frozen=True)
class LastRun:
    """What the next `up` uses after a `down`. ``client_id``: part of the name of its folder on the machine.
    ``failure``: the error of the last `up` as ``as_dict()``, with ``at`` (ISO 8601). ``keys``: installed keys that
    still exist. ``profile_path``: the profile's file. ``folder``: the machine may have a remote-runtime directory."""

    client_id: str
    local_port: int | None = None
    failure: Mapping[str, str] | None = None
    keys: tuple[InstalledKey, ...] = ()
    profile_path: str = ""
    folder: bool = False


def load_last_run(state: StateDir, name: str) -> LastRun:
    """The last run of this name; a new client id if nothing readable is saved."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        document = json.loads(read_private(state.file_path(name, "port")))
        client_id, port, failure = document["client_id"], document["local_port"], document.get("failure")
        if isinstance(client_id, str) and client_id.isalnum() and (port is None or isinstance(port, int)):
            return LastRun(
                client_id,
                port,
                failure if isinstance(failure, dict) else None,
                tuple(from_json(InstalledKey, key) for key in document.get("keys", ())),
                str(document.get("profile_path") or ""),
                document.get("folder") is not False,
            )
    return LastRun(secrets.token_hex(4))  # another id and port will do


def assign_new_client_id(state: StateDir, name: str) -> None:
    """The next `up` uses another folder on the machine. The server in the former one is abandoned, and may keep
    running."""
    save_last_run(state, name, replace(load_last_run(state, name), client_id=secrets.token_hex(4)))


def save_last_run(state: StateDir, name: str, last_run: LastRun) -> None:
    """An error is logged only: the next `up` works without it."""
    try:
        write_private(state.file_path(name, "port"), json.dumps(to_json(last_run)).encode())
    except OSError as error:
        log.warning("the last run of %s could not be saved: %s", name, error)


def _default_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("remote-runtime", appauthor=False))
