"""``scripts/bench tunnel``: remote-runtime beside OpenSSH, sshtunnel and asyncssh, in alternating rounds.

All forward to the same targets over one sshd, on loopback and over a link with delay (``tunnel_link``), in a network of
their own: a Jupyter server with the bridge, and programs without it; then over a link that dies, remote-runtime with
its keeper beside ssh with autossh. Each candidate is its own process. Prints the medians with their spread, each with
the ratio of remote-runtime to it, and then which goals are met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from . import jupyter_parts, table
from . import tunnel_candidates as candidates
from . import tunnel_link as link
from . import tunnel_loads as loads
from . import tunnel_parts as parts
from .jupyter_parts import Amount, JupyterParts
from .tunnel_candidates import Place, Tunnel
from .tunnel_dead import travellers
from .tunnel_machine import agreed_cipher, make_keys
from .tunnel_process import DEAD_LINK_TOOLS, LOAD_TOOLS, missing_tools, module, running
from .tunnel_table import Rows

LOOPBACK = "127.0.0.1"
NEARBY = tuple(name for name in candidates.ALL if name != candidates.CHANNELS)  # which differs for Jupyter only
FAR_AWAY = tuple(name for name in NEARBY if name not in (candidates.DIRECT, candidates.AES_GCM))
WITH_IDLE = (candidates.OURS, candidates.SSH, candidates.ASYNCSSH)
JUPYTER_FAR_AWAY = (candidates.OURS, candidates.CHANNELS, candidates.SSH, candidates.AES_GCM)
JUPYTER_WITH_IDLE = (candidates.OURS, candidates.CHANNELS, candidates.SSH, candidates.ASYNCSSH)
SHORT = (candidates.OURS, candidates.SSH)
PARTS = ("loopback", "idle", "50ms", "100ms", "dead")
TARGETS = ("jupyter", "others")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench tunnel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part of it; may be repeated")
    parser.add_argument("--target", choices=TARGETS, help="what is behind the tunnel (default: all)")
    parser.add_argument(
        "--short", action="store_true", help="little, to Jupyter alone, without delay: to see that it runs"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = options.only or list(PARTS)
    if options.short:
        options.target, options.rounds, chosen = "jupyter", 1, ["loopback", "idle"]
    if not options.inside:
        return _in_own_network(runnable_parts(chosen), options)
    link.prepare_network()
    rows = Rows()
    with _keys() as home:
        if "loopback" in chosen or "idle" in chosen:
            with running(module("tunnel_machine", LOOPBACK, str(home))) as (_, line):
                place = Place(LOOPBACK, json.loads(line), home)
                if not options.short:
                    _introduce(home, place)
                if "loopback" in chosen:
                    _loopback(rows, place, options)
                if "idle" in chosen:
                    _idle(rows, place, options)
                if options.short:
                    _far_away(rows, place, 50, options)
        for part, delay_ms in (("50ms", 50), ("100ms", 100)):
            if part in chosen:
                machine = module("tunnel_machine", link.FAR, str(home))
                with running(module("tunnel_link", str(delay_ms / 2), *machine)) as (_, line):
                    _far_away(rows, Place(link.FAR, json.loads(line), home), delay_ms, options)
    if "dead" in chosen:
        _dead(rows, options.rounds)
    return _report(rows, () if options.short else (*parts.GOALS, *jupyter_parts.GOALS))


def _report(rows: Rows, goals: Sequence[parts.Goal]) -> int:
    _say(rows.markdown())
    _say(rows.verdicts(goals))
    return 0


def _loopback(rows: Rows, place: Place, options: argparse.Namespace) -> None:
    if options.target != "jupyter":
        _rounds(rows, place, NEARBY, parts.on_loopback, options.rounds)
    if options.target != "others":
        of_jupyter = _of_jupyter(place, options)
        _rounds(rows, place, SHORT if options.short else tuple(candidates.ALL), of_jupyter.on_loopback, options.rounds)


def _idle(rows: Rows, place: Place, options: argparse.Namespace) -> None:
    of_jupyter = _of_jupyter(place, options)
    for number in range(options.rounds):
        for name in WITH_IDLE if options.target != "jupyter" else ():
            _progress(f"idle connections, round {number + 1} of {options.rounds}: {name}")
            rows.add(name, parts.with_idle_connections(name, place))
        if options.target == "others":
            continue
        for name in SHORT if options.short else JUPYTER_WITH_IDLE:
            _progress(f"idle WebSockets, round {number + 1} of {options.rounds}: {name}")
            rows.add(name, of_jupyter.with_idle_websockets(name))


def _far_away(rows: Rows, place: Place, delay_ms: int, options: argparse.Namespace) -> None:
    of_jupyter = _of_jupyter(place, options)
    if options.target != "jupyter":
        measure = parts.at_50_ms if delay_ms == 50 else parts.at_100_ms
        _rounds(rows, place, FAR_AWAY, measure, options.rounds)
    if options.target != "others":
        measure = of_jupyter.at_50_ms if delay_ms == 50 else of_jupyter.at_100_ms
        _rounds(rows, place, SHORT if options.short else JUPYTER_FAR_AWAY, measure, options.rounds)


def _of_jupyter(place: Place, options: argparse.Namespace) -> JupyterParts:
    return JupyterParts(jupyter_parts.SHORT if options.short else Amount(), place)


def runnable_parts(chosen: Sequence[str]) -> list[str]:
    """Those of ``chosen`` whose programs are here. Prints what the others lack, and how to get it."""
    missing = {part: missing_tools(DEAD_LINK_TOOLS if part == "dead" else LOAD_TOOLS) for part in chosen}
    tools = {tool: package for of_part in missing.values() for tool, package in of_part.items()}
    if tools:
        skipped = ", ".join(part for part in chosen if missing[part])
        sys.stderr.write(f"warning: skipping {skipped}: {', '.join(sorted(tools))} not found\n")
        sys.stderr.write(f"fix: apt-get install {' '.join(sorted(set(tools.values())))}\n")
    return [part for part in chosen if not missing[part]]


def _in_own_network(chosen: Sequence[str], options: argparse.Namespace) -> int:
    if not chosen:
        return table.CANNOT_RUN
    if os.geteuid() != 0:
        sys.stderr.write("error: only root can make a network with delay\nfix: run scripts/bench tunnel as root\n")
        return table.CANNOT_RUN
    command = ["unshare", "--net", sys.executable, "-m", "scripts.benchmarks", "tunnel", "--inside"]
    command += [f"--rounds={options.rounds}", *(f"--only={part}" for part in chosen)]
    command += [f"--target={options.target}"] if options.target else []
    command += ["--short"] if options.short else []
    return subprocess.run(command, check=False).returncode


@contextlib.contextmanager
def _keys() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        make_keys(Path(name))
        yield Path(name)


def _introduce(home: Path, place: Place) -> None:
    """What runs here, how it is run, and what each has agreed on with the server."""
    versions = table.versions(("paramiko", "cryptography", "sshtunnel", "asyncssh"))
    openssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    _say(f"{table.machine()}; {versions}; {openssh}")
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    _say(f"A link with delay: {link.MB_S * 8 / 1000:g} Gbit/s, MTU {link.MTU_BYTES}, TCP {control}, buffers to 64 MB")
    told = replace(place, ports={**place.ports, "ssh": place.ports["told"]})
    for name, opener in candidates.ALL.items():
        with opener(told) as tunnel:
            if tunnel.process is not None:
                words = " ".join(tunnel.process.cmdline()) if name.startswith("ssh ") else ""
                _say(f"{name}: {agreed_cipher(home)} {words}".rstrip())
            else:
                for command in (
                    loads.closing_requests_command(tunnel, 16, 1),
                    loads.requests_command(tunnel, 16, 1),
                    loads.iperf3_command(tunnel, "-R", "-n", "300M"),
                ):
                    _say(shlex.join(command))


def _rounds(
    rows: Rows, place: Place, names: Sequence[str], measure: Callable[[Tunnel], parts.Values], rounds: int
) -> None:
    """A peer that breaks is reported, loses that round, and is opened again for the next."""
    with contextlib.ExitStack() as stack:
        opened = {name: _open(name, place, stack) for name in names}
        for number in range(rounds):
            for name in names:
                _progress(f"{measure.__name__}, round {number + 1} of {rounds}: {name}")
                tunnel, its_own = opened[name]
                try:
                    rows.add(name, measure(tunnel))
                except (OSError, RuntimeError) as error:
                    if name == candidates.OURS:
                        raise
                    _say(f"{name} broke in round {number + 1}: {error}")
                    its_own.close()
                    opened[name] = _open(name, place, stack)


def _open(name: str, place: Place, stack: contextlib.ExitStack) -> tuple[Tunnel, contextlib.ExitStack]:
    its_own = stack.enter_context(contextlib.ExitStack())
    return its_own.enter_context(candidates.ALL[name](place)), its_own


def _dead(rows: Rows, rounds: int) -> None:
    with travellers() as dying:
        for number in range(rounds):
            for name, die in dying.items():
                _progress(f"a dead link, round {number + 1} of {rounds}: {name}")
                rows.add(name, die())


def _progress(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()


def _say(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
