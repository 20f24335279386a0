"""``scripts/bench copy``: `cp` beside ``scp`` and ``rsync``, in alternating rounds, each as a whole command.

`cp` uses the connection of a runtime that is ready; `cp alone` logs in by itself, as the others do. One large file and
many small ones, in both directions, over loopback and over a link with 100 ms of round trip (``tunnel_link``), to an
sshd in a network of its own. CPU is that of both ends, with the keeper. With delay ``scp`` copies fewer of the small
files: each takes it several round trips, and what is compared is files a second. Then `sync` of files that have not
changed, beside ``rsync -a``.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from . import table
from . import tunnel_link as link
from .copy_machine import socket_path
from .copy_unchanged import UnchangedRows
from .tunnel_machine import make_keys
from .tunnel_process import NETWORK_TOOLS, missing_tools, module, running

TOOLS = {**NETWORK_TOOLS, "scp": "openssh-client", "rsync": "rsync"}
LOOPBACK = "127.0.0.1"
OURS, ALONE, SCP, RSYNC = "cp", "cp alone", "scp", "rsync"
CANDIDATES = (OURS, ALONE, SCP, RSYNC)
MEMORY = Path("/dev/shm")  # noqa: S108  # the disk is not what is measured
WAYS = ("upload", "download")
LINKS = ("loopback", "100ms")
SMALL_BYTES = 2000


@dataclass(frozen=True)
class Amount:
    """``slow_files``: how many small files scp copies over the link with delay."""

    mb: int
    files: int
    slow_files: int
    ways: int = 2


@dataclass(frozen=True)
class Bench:
    """``home``: keys, profiles and files. ``address``, ``port``: the sshd's."""

    home: Path
    address: str
    port: int

    def cpu_s(self) -> float:
        """Of the machine and the keeper, so far."""
        state = json.loads((self.home / "state" / f"{OURS}.json").read_text())
        keeper = psutil.Process(state["runtime"]["keeper_pid"]).cpu_times()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(socket_path(self.home, self.address)))
            return float(connection.makefile().read()) + float(keeper.user) + float(keeper.system)


@dataclass
class Values:
    """Row → candidate → a value of each round."""

    cells: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, candidate: str, value: float) -> None:
        self.cells.setdefault(row, {}).setdefault(candidate, []).append(value)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench copy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=LINKS, action="append", help="a link; may be repeated")
    parser.add_argument("--short", action="store_true", help="little, over loopback alone, and no figure is judged")
    parser.add_argument("--unchanged", action="store_true", help="only the sync of unchanged files")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if missing := missing_tools(TOOLS):
        sys.stderr.write(f"error: {', '.join(missing)} not found\nfix: apt-get install {' '.join(missing.values())}\n")
        return table.CANNOT_RUN
    if os.geteuid() != 0:
        sys.stderr.write("error: only root can make a network with delay\nfix: run scripts/bench copy as root\n")
        return table.CANNOT_RUN
    if not options.inside:
        command = ["unshare", "--net", *module("__main__", "copy", "--inside", *arguments)]
        return subprocess.run(command, check=False).returncode
    amount = Amount(4, 60, 6, ways=1) if options.short else Amount(500, 5000, 100)
    rounds = 1 if options.short else options.rounds
    link.prepare_network()
    values, unchanged = Values(), []
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        home = Path(name)
        make_keys(home)
        _make_files(home, amount)
        for kind in options.only or (LINKS[:1] if options.short else LINKS):
            with _machine(home, kind) as bench:
                for number in range(0 if options.unchanged else rounds):
                    _round(bench, kind, amount, values, f"{kind}, round {number + 1} of {rounds}")
                _progress(f"{kind}: unchanged files")
                unchanged.append(_unchanged(bench, kind, 200 if options.short else 20_000))
                unchanged[-1].measure(home, rounds, with_runtime=not options.short)
    return _report(values, [row for each in unchanged for row in each.rows()], judged=not options.short)


def _unchanged(bench: Bench, kind: str, files: int) -> UnchangedRows:
    shell = " ".join(["ssh", "-p", str(bench.port), *_ssh_options(bench)])
    remote = f"{getpass.getuser()}@{bench.address}:"
    return UnchangedRows(files, kind, _environ(bench), ["rsync", "-a", "-e", shell], remote)


@contextlib.contextmanager
def _machine(home: Path, kind: str) -> Iterator[Bench]:
    address = LOOPBACK if kind == "loopback" else link.FAR
    command = module("copy_machine", address, str(home))
    if kind != "loopback":
        command = module("tunnel_link", "50", *command)
    with running(command) as (_, line):
        bench = Bench(home, address, int(line))
        _write_profiles(bench)
        try:
            _remote_runtime(bench, "up", OURS)
            yield bench
        finally:
            _remote_runtime(bench, "down", OURS, "--yes")


def _round(bench: Bench, kind: str, amount: Amount, values: Values, words: str) -> None:
    for way in WAYS[: amount.ways]:
        for candidate in CANDIDATES:
            _progress(f"{words}: {way} of the large file with {candidate}")
            took_s, cpu_s = _timed(bench, candidate, way, "large", 0)
            values.add(f"{way} {amount.mb} MB, {kind}, MB/s", candidate, amount.mb / took_s)
            values.add(f"{way} {amount.mb} MB, {kind}, CPU s", candidate, cpu_s)
        for candidate in CANDIDATES:
            is_slow = candidate == SCP and kind != "loopback"
            files = amount.slow_files if is_slow else amount.files
            _progress(f"{words}: {way} of {files} small files with {candidate}")
            took_s, _ = _timed(bench, candidate, way, "few" if is_slow else "many", files)
            values.add(f"{way} {amount.files} small files, {kind}, files/s", candidate, files / took_s)


def _timed(bench: Bench, candidate: str, way: str, name: str, files: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of both ends; what arrived is compared."""
    source, target = bench.home / "source" / name, bench.home / "target" / name
    shutil.rmtree(bench.home / "target", ignore_errors=True)
    target.parent.mkdir()
    command = COMMANDS[candidate](bench, way == "upload", source, target)
    before_s = bench.cpu_s()
    begun_at = time.monotonic()
    process = subprocess.Popen(command, env=_environ(bench), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.monotonic() - begun_at
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{candidate} failed: {' '.join(command)}")
    is_same = filecmp.cmp(source, target, shallow=False) if not files else len(list(target.iterdir())) == files
    if not is_same:
        raise RuntimeError(f"{candidate} copied something else")
    return took_s, usage.ru_utime + usage.ru_stime + bench.cpu_s() - before_s


def _cp(bench: Bench, is_upload: bool, source: Path, target: Path, profile: str = OURS) -> list[str]:
    sides = [str(source), f"{profile}:{target}"] if is_upload else [f"{profile}:{source}", str(target)]
    return [sys.executable, "-m", "remote_runtime", "cp", "-q", "-r", *sides]


def _cp_alone(bench: Bench, is_upload: bool, source: Path, target: Path) -> list[str]:
    return _cp(bench, is_upload, source, target, "alone")


def _ssh_options(bench: Bench) -> list[str]:
    options = {"IdentityFile": bench.home / "client", "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
    return [*(f"-o{name}={value}" for name, value in options.items()), "-oLogLevel=ERROR", "-F/dev/null"]


def _scp(bench: Bench, is_upload: bool, source: Path, target: Path) -> list[str]:
    remote = f"{getpass.getuser()}@{bench.address}:"
    sides = [str(source), f"{remote}{target}"] if is_upload else [f"{remote}{source}", str(target)]
    return ["scp", "-q", "-r", "-p", "-P", str(bench.port), *_ssh_options(bench), *sides]


def _rsync(bench: Bench, is_upload: bool, source: Path, target: Path) -> list[str]:
    remote = f"{getpass.getuser()}@{bench.address}:"
    end = "/" if source.is_dir() else ""
    sides = [f"{source}{end}", f"{remote}{target}"] if is_upload else [f"{remote}{source}{end}", str(target)]
    shell = " ".join(["ssh", "-p", str(bench.port), *_ssh_options(bench)])
    return ["rsync", "-a", "--whole-file", "-e", shell, *sides]


COMMANDS: dict[str, Callable[[Bench, bool, Path, Path], list[str]]] = {
    OURS: _cp,
    ALONE: _cp_alone,
    SCP: _scp,
    RSYNC: _rsync,
}


def _remote_runtime(bench: Bench, *arguments: str) -> None:
    command = [sys.executable, "-m", "remote_runtime", *arguments, "-q"]
    subprocess.run(command, env=_environ(bench), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def _write_profiles(bench: Bench) -> None:
    config = bench.home / "config" / "profiles"
    config.mkdir(parents=True, exist_ok=True)
    for name in (OURS, "alone", "bench"):
        (config / f"{name}.yaml").write_text(
            f"version: 1\ntarget: {{kind: ssh, host: {bench.address}, port: {bench.port}}}\n"
            f"ssh: {{user: {getpass.getuser()}, identity_file: {bench.home}/client, host_key: accept-new}}\n"
            f"jupyter: {{python: {sys.executable}}}\n"
        )


def _environ(bench: Bench) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("REMOTE_RUNTIME_")},
        "HOME": str(bench.home),
        "REMOTE_RUNTIME_CONFIG_DIR": str(bench.home / "config"),
        "REMOTE_RUNTIME_STATE_DIR": str(bench.home / "state"),
    }


def _make_files(home: Path, amount: Amount) -> None:
    source = home / "source"
    (source / "many").mkdir(parents=True)
    (source / "few").mkdir()
    with (source / "large").open("wb") as file:
        for _ in range(amount.mb):
            file.write(os.urandom(1_000_000))
    for number in range(amount.files):
        (source / "many" / f"file-{number}").write_bytes(os.urandom(SMALL_BYTES))
    for number in range(amount.slow_files):
        (source / "few" / f"file-{number}").write_bytes(os.urandom(SMALL_BYTES))


def _report(values: Values, unchanged: list[table.Row], *, judged: bool) -> int:
    sys.stdout.write(f"{table.machine()}; {_openssh()}\n")
    rows = []
    for name, cells in values.cells.items():
        goal, at_least = _goal(name)
        rows.append(table.Row(f"{name}, beside scp", cells[OURS], cells[SCP], goal, at_least=at_least))
    rows += unchanged
    sys.stdout.write(f"{table.table(rows)}\n\n")
    beside = [
        f"{name}, {other}: {table.spread(cells[other])}, cp has {table.ratio(cells[OURS], cells[other]):.2f} of that"
        for other in (ALONE, RSYNC)
        for name, cells in values.cells.items()
    ]
    sys.stdout.write("\n".join(beside) + "\n")
    return 0 if not judged or all(row.is_met for row in rows) else 1


def _goal(row: str) -> tuple[float, bool]:
    """The ratio to scp, and whether it is a least one."""
    if row.endswith("CPU s"):
        return 1.5, False
    if "loopback" in row:
        return 1.0, True
    return (5.0 if "small" in row else 3.0), True


def _openssh() -> str:
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


def _progress(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
