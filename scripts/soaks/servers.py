"""SSH servers other than OpenSSH's: connections that end in every way, by hundreds.

What is not installed is fetched from PyPI and npm into a folder of the soak's own."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.clients.ssh_client import Visitor
from tests.support.faults.connection_endings import MANNERS, wrong_endings
from tests.support.servers.asyncssh_server import running_asyncssh
from tests.support.servers.other_ssh_servers import Server, running_dropbear, running_paramiko
from tests.support.servers.sshd import running_sshd

from .faults import tell

GCM, CTR = "aes128-gcm@openssh.com", "aes128-ctr"
CONCH_NAME = "Twisted Conch, which passes no half-close on (`ssh -L` neither)"
CONCH = """
import sys
from twisted.conch import avatar
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.interfaces import ISession
from twisted.conch.ssh import connection, factory, forwarding, keys, session, userauth
from twisted.cred import portal
from twisted.internet import reactor
from twisted.python import components
from zope.interface import implementer

class Avatar(avatar.ConchUser):
    def __init__(self):
        super().__init__()
        self.channelLookup[b"session"] = session.SSHSession
        self.channelLookup[b"direct-tcpip"] = forwarding.openConnectForwardingClient

@implementer(ISession)
class Session:
    def __init__(self, avatar):
        pass
    def execCommand(self, protocol, command):
        reactor.spawnProcess(protocol, b"/bin/sh", [b"sh", b"-c", command])
    def eofReceived(self):
        pass
    def closed(self):
        pass

@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, name, mind, *interfaces):
        return interfaces[0], Avatar(), lambda: None

class Factory(factory.SSHFactory):
    services = {b"ssh-userauth": userauth.SSHUserAuthServer, b"ssh-connection": connection.SSHConnection}
    def getPrimes(self):
        return {}

components.registerAdapter(Session, Avatar, ISession)
host, accepted = keys.Key.fromFile(sys.argv[1]), keys.Key.fromFile(sys.argv[2])
Factory.publicKeys, Factory.privateKeys = {b"ssh-ed25519": host.public()}, {b"ssh-ed25519": host}
checker = SSHPublicKeyChecker(InMemorySSHKeyDB({sys.argv[3].encode(): [accepted]}))
served = Factory()
served.portal = portal.Portal(Realm(), [checker])
print(reactor.listenTCP(0, served, interface="127.0.0.1").getHost().port, flush=True)
reactor.run()
"""
SSH2 = """
const {Server, utils} = require('ssh2'), fs = require('fs'), net = require('net');
const accepted = utils.parseKey(fs.readFileSync(process.argv[3]));
const is = context => context.method === 'publickey' && context.key.data.equals(accepted.getPublicSSH())
    && (!context.signature || accepted.verify(context.blob, context.signature, context.hashAlgo) === true);
new Server({hostKeys: [fs.readFileSync(process.argv[2])]}, client => {
    client.on('error', () => {});
    client.on('authentication', context => is(context) ? context.accept() : context.reject(['publickey']));
    client.on('ready', () => {
        client.on('session', accept => accept().on('exec', begin => {
            const channel = begin();
            channel.exit(0);
            channel.end();
        }));
        client.on('tcpip', (accept, reject, to) => {
            const target = net.connect({port: to.destPort, host: to.destIP, allowHalfOpen: true});
            let channel = null;
            target.on('error', () => channel ? channel.close() : reject());
            target.on('connect', () => {
                channel = accept();
                channel.on('error', () => target.destroy()).on('close', () => target.destroy());
                target.pipe(channel).pipe(target);
            });
        });
    });
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
"""


@contextlib.contextmanager
def _conch(folder: Path) -> Iterator[Server]:
    environment = folder / "environment"
    _fetched([sys.executable, "-m", "venv", str(environment)])
    python = str(environment / "bin" / "python")
    _fetched([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "twisted[conch]"])
    with _program(folder, [python, "-c", CONCH]) as server:
        yield server


@contextlib.contextmanager
def _ssh2(folder: Path) -> Iterator[Server]:
    folder.mkdir()
    _fetched(
        ["npm", "install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", str(folder), "ssh2"]
    )
    with _program(folder, ["node", "-e", SSH2, "x"], NODE_PATH=str(folder / "node_modules")) as server:
        yield server


@contextlib.contextmanager
def _program(folder: Path, command: list[str], **environ: str) -> Iterator[Server]:
    """Says its port when it listens; gets the files of its host key and of the key that it accepts, and a name."""
    server = Server(folder)
    files = [str(folder / "host_key"), str(folder / "client_key.pub"), getpass.getuser()]
    child = subprocess.Popen([*command, *files], env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True)
    with child:
        try:
            server.port = int(child.stdout.readline()) if child.stdout else 0
            yield server
        finally:
            child.kill()


def _fetched(command: list[str]) -> None:
    """Raises ``RuntimeError``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().rpartition("\n")[2][:80])


SERVERS: dict[str, Callable[[Path], Any]] = {
    "OpenSSH": running_sshd,
    "OpenSSH, no AES-GCM": lambda folder: running_sshd(folder, config=[f"Ciphers {CTR}"]),
    "dropbear": running_dropbear,
    CONCH_NAME: _conch,
    "asyncssh": running_asyncssh,
    "npm ssh2": _ssh2,
    "paramiko": lambda folder: running_paramiko(folder, cipher=GCM),
    "paramiko, no AES-GCM": lambda folder: running_paramiko(folder, cipher=CTR),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="of each of six connections at a time")
    parser.add_argument("--bytes", type=int, default=1_000_000, help="that a connection carries")
    parser.add_argument("--only", default="", help="the servers whose name holds this")
    given = parser.parse_args(arguments)
    failed = 0
    tell(f"{6 * given.rounds} connections each, a quarter of them {', '.join(MANNERS)}")
    tell("| Server | Engine | Seconds | Wrong |\n| --- | --- | --- | --- |")
    for name, running in SERVERS.items():
        if given.only in name:
            with tempfile.TemporaryDirectory(prefix="rr-") as folder:
                failed += _row(name, running, Path(folder), rounds=given.rounds, size=given.bytes)
    return 1 if failed else 0


def _row(name: str, running: Callable[[Path], Any], folder: Path, *, rounds: int, size: int) -> int:
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running(folder / "server"))
        except RuntimeError as error:
            tell(f"| {name} | – | – | not tried: {error} |")
            return 0
        session = stack.enter_context(Visitor(server, folder / "visitor").enter())
        began = time.monotonic()
        manners = [each for each in MANNERS if not (each == "half-closing" and name == CONCH_NAME)]
        wrong = Counter(wrong_endings(session, rounds=rounds, size=size, manners=manners))
        engine = "fast" if session.is_fast else "paramiko's channels"
        words = "; ".join(f"{count} × {what}" for what, count in wrong.most_common(3)) or "–"
        tell(f"| {name} | {engine} | {time.monotonic() - began:.1f} | {words} |")
    return len(wrong)
