"""A cluster's folder on this machine, ``clusters/KEY/``: certificates, the log, and which process runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...jupyter.remote import data_dir, host, processes
from ...launcher.remote.reply import ReplyWriter, ReportedError

CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
INFO, LOG, LOCK = "info.json", "log", "lock"
GRACE_S = 5.0
MAX_LOG_CHARS = 2000
WAITING = "Waiting for another remote-runtime that is using this cluster"


def path_of(key: str) -> str:
    return os.path.join(data_dir.root_dir(), "clusters", os.path.basename(key))


@contextlib.contextmanager
def locked(directory: str, reply: ReplyWriter) -> Iterator[None]:
    with data_dir.locked(os.path.join(directory, LOCK), reply, why=WAITING):
        yield


def write_credentials(directory: str, credentials: Mapping[str, str]) -> bool:
    """False if the folder had these before."""
    names = {CA: "ca", CERTIFICATE: "certificate", KEY: "key"}
    if all(processes.read_text(os.path.join(directory, name)) == credentials[key] for name, key in names.items()):
        return False
    for name, key in names.items():
        data_dir.write_private(os.path.join(directory, name), credentials[key])
    return True


def tls_options(directory: str) -> list[str]:
    files = {"--tls-ca-file": CA, "--tls-cert": CERTIFICATE, "--tls-key": KEY}
    return [part for option, name in files.items() for part in (option, os.path.join(directory, name))]


def load_info(directory: str) -> dict[str, Any]:
    return data_dir.load_json(os.path.join(directory, INFO))


def is_running(directory: str) -> bool:
    """Whether the process that was started last runs, on this machine."""
    return _pid(load_info(directory)) != 0


def start(
    directory: str, command: Sequence[str], env: Mapping[str, str], cwd: str, info: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    """In its own session, with its output in the log: it outlives the launcher."""
    path = os.path.join(directory, LOG)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(path, flags, 0o600), "ab") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            **processes.detached_popen_args(),
        )  # fmt: skip
    started = {"pid": process.pid, "birth": processes.start_id(process.pid), "host": host.host_info(), **info}
    data_dir.write_private(os.path.join(directory, INFO), json.dumps(started))
    return process


def wait_until(process: subprocess.Popen[bytes], directory: str, text: str, what: str, reply: ReplyWriter) -> None:
    """Until the log has ``text``. Raises ``ReportedError``, and ends the process: when it exits or the time is over."""
    try:
        while text not in read_log(directory):
            if process.poll() is not None:
                raise _start_error(directory, f"{what} ended with status {process.returncode}")
            if reply.remaining_s() == 0.0:
                raise _start_error(directory, f"{what} was not ready in time")
            reply.sleep(0.1)
    except BaseException:
        end(directory)
        process.poll()
        raise


def read_log(directory: str) -> str:
    """Its end."""
    path = os.path.join(directory, LOG)
    with contextlib.suppress(OSError), open(path, "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - processes.MAX_FILE_BYTES))
        return log.read(processes.MAX_FILE_BYTES).decode("utf-8", "replace")
    return ""


def end(directory: str) -> bool:
    """End what was started here, and its children. Returns whether something ran."""
    members = processes.process_tree(_pid(load_info(directory)), os.path.join(directory, ""))
    left = processes.terminate(members, GRACE_S)
    if left:
        raise ReportedError("cluster-not-stopped", "Dask does not exit", f"pid {', '.join(map(str, left))}")
    return bool(members)


def remove(directory: str, reply: ReplyWriter) -> bool:
    """End what runs, and remove the folder. Returns whether there was one."""
    if not os.path.isdir(directory):
        return False
    with locked(directory, reply):
        end(directory)
        shutil.rmtree(directory, ignore_errors=True)
    data_dir.remove_unused(reply)
    return True


def wait_for_change(directory: str, seen: str, reply: ReplyWriter, within_s: float) -> tuple[bool, str]:
    """Whether the scheduler runs, and its report, as soon as it differs from ``seen`` in more than its tasks, or the
    time is over."""
    until = time.monotonic() + min(within_s, reply.remaining_s())
    while True:
        report = processes.read_text(os.path.join(directory, "report.json"))
        if not is_running(directory):
            return False, "[]"
        if members(report) != members(seen) or time.monotonic() >= until:
            return True, report or "[]"
        reply.sleep(0.25)


def members(report: str) -> Any:
    try:
        return [[worker["name"], worker["address"]] for worker in json.loads(report or "[]")]
    except (ValueError, KeyError, TypeError):
        return None


def _pid(info: Mapping[str, Any]) -> int:
    """0 if it does not run here: a home folder may be another machine's too."""
    pid, recorded, here = info.get("pid"), info.get("host"), host.this_host()
    if not isinstance(pid, int) or not isinstance(recorded, dict) or recorded.get("boot") != here.boot:
        return 0
    return pid if processes.start_id(pid) == info.get("birth") != "" else 0


def _start_error(directory: str, why: str) -> ReportedError:
    log = read_log(directory)
    if "Address already in use" in log or "Errno 98" in log:
        return ReportedError("cluster-port-in-use", "The scheduler's port is in use on the machine", why)
    return ReportedError(
        "cluster-did-not-start", "Dask did not start", f"{why}; its log: {log[-MAX_LOG_CHARS:].strip()}"
    )
