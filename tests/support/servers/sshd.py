"""A real OpenSSH server for the tests: our own listener, one ``sshd -i`` for each accepted connection.

Because the bytes pass through us, a test can cut, freeze and refuse connections without firewall rules or races for
a port. Each server has fresh host keys, one authorized key, and a HOME of its own for the sessions.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.environment.processes import end_processes_of

SSHD = "/usr/sbin/sshd"
HOST_KEY_TYPES = ("ed25519", "ecdsa")


@contextlib.contextmanager
def running_sshd(directory: Path, *, config: Sequence[str] = (), within: Sequence[str] = ()) -> Iterator[Sshd]:
    """A server with its files in ``directory``; ``config``: lines that win over ours in sshd_config; ``within``: a
    command that runs the one after it, around each connection's sshd."""
    server = Sshd(directory, config=config, within=within)
    try:
        yield server
    finally:
        server.stop()


class Sshd:
    """``address``:``port`` is where it listens, ``key_path`` the private key it accepts, ``user`` whom it logs in,
    ``home`` the HOME of its sessions (with ``.profile`` and PATH beginning with this interpreter's directory)."""

    address = "127.0.0.1"

    def __init__(self, directory: Path, *, config: Sequence[str] = (), within: Sequence[str] = ()) -> None:
        self._command = [*within, SSHD]
        self.user = getpass.getuser()
        self.directory = directory / "sshd"
        self.home = directory / "home"
        self.key_path = self.directory / "client_key"
        self.log_path = self.directory / "log"
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._moving = threading.Event()
        self._moving.set()
        self._hanging_up = False
        self._by_hand: list[str] = []
        self._write_files(config)
        self._held = _bound_socket(self.address, 0)
        self.port: int = self._held.getsockname()[1]
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._listen()

    @property
    def host_keys(self) -> list[str]:
        """``TYPE BASE64`` of each host key."""
        return [" ".join(path.read_text().split()[:2]) for path in self._public_host_keys()]

    def fingerprints(self) -> list[str]:
        """``SHA256:…`` of each host key, as ssh-keygen computes them."""
        lines = [_ssh_keygen("-l", "-E", "sha256", "-f", str(path)) for path in self._public_host_keys()]
        return [line.split()[1] for line in lines]

    def rotate_host_keys(self) -> None:
        """The next connection sees other host keys."""
        for kind in HOST_KEY_TYPES:
            path = self.directory / f"host_{kind}"
            path.unlink(missing_ok=True)
            path.with_suffix(".pub").unlink(missing_ok=True)
            make_key(path, kind)

    def authorize(self, public_key: str) -> None:
        """Accept this ``TYPE BASE64`` line too (options may stand before it)."""
        self._by_hand.append(public_key.strip())
        with (self.directory / "authorized_keys").open("a") as file:
            file.write(public_key.strip() + "\n")

    def announce_address(self) -> None:
        """Sessions find the server's address in SSH_CONNECTION, as with a listening sshd. Ours gets a socket pair, so
        bash, which reads this file for sshd, sets the variable."""
        line = f"export SSH_CONNECTION='127.0.0.1 1024 {self.address} {self.port}'\n"
        (self.home / ".bashrc").write_text(line)

    def authorize_nobody(self) -> None:
        self._by_hand.clear()
        self.follow({})

    def follow(self, entries: Mapping[str, Sequence[str]]) -> None:
        """Accept the keys of ``user`` in ``entries``, and those authorized by hand: what a guest agent does."""
        lines = [*self._by_hand, *entries.get(self.user, ())]
        aside = self.directory / "authorized_keys.new"
        aside.write_text("".join(f"{line}\n" for line in lines))
        aside.replace(self.directory / "authorized_keys")

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def logins(self) -> int:
        """How many logins have succeeded so far."""
        return len(re.findall(r"^Accepted \S+ for ", self.log(), flags=re.MULTILINE))

    def live(self) -> int:
        """How many connections are open."""
        with self._lock:
            return sum(not connection.ended() for connection in self._connections)

    def cut(self) -> int:
        """Reset all live connections; how many those were."""
        with self._lock:
            live = [connection for connection in self._connections if not connection.ended()]
            self._connections.clear()
        for connection in live:
            connection.cut()
        return len(live)

    def cut_one(self, number: int) -> None:
        """Reset one of those that are open, counted from the oldest."""
        with self._lock:
            connection = [connection for connection in self._connections if not connection.ended()][number]
            self._connections.remove(connection)
        connection.cut()

    def end_cleanly(self) -> None:
        """Send all clients the end of the data (FIN), as a server does that is shut down."""
        with self._lock:
            live = [connection for connection in self._connections if not connection.ended()]
        for connection in live:
            connection.end_cleanly()

    def signal(self, sign: signal.Signals) -> None:
        """To all sshd that serve a connection."""
        with self._lock:
            live = [connection for connection in self._connections if not connection.ended()]
        for connection in live:
            connection.signal(sign)

    def move(self, address: str) -> None:
        """The machine has been restarted: its connections are gone, and it is at another address."""
        self._stop_listening()
        self._held.close()
        self.cut()
        self.address = address
        self._held = _bound_socket(address, self.port)
        self._listen()

    def freeze(self) -> None:
        """Move no bytes and reset nothing, on old connections and on new ones: a link that went silent."""
        self._moving.clear()

    def refuse(self, *, hang_up: bool = False) -> None:
        """New connections are refused, as by a closed port; with ``hang_up`` they are accepted and closed at once."""
        self._hanging_up = hang_up
        if not hang_up:
            self._stop_listening()

    def resume(self) -> None:
        """Undo ``freeze`` and ``refuse``."""
        self._hanging_up = False
        self._moving.set()
        if self._listener is None:
            self._listen()

    def stop(self) -> None:
        self._stop_listening()
        self._held.close()
        self.cut()
        self._moving.set()
        end_processes_of(self.home)

    def _write_files(self, config: Sequence[str]) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.directory.mkdir(parents=True)
        self.home.mkdir(exist_ok=True)
        self.log_path.touch()
        self.rotate_host_keys()
        make_key(self.key_path, "ed25519")
        self.authorize(self.key_path.with_suffix(".pub").read_text())
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        (self.home / ".profile").write_text(f"export PATH='{path}'\n")
        lines = [
            *config,
            *(f"HostKey {self.directory}/host_{kind}" for kind in HOST_KEY_TYPES),
            f"AuthorizedKeysFile {self.directory}/authorized_keys",
            f"SetEnv HOME={self.home} PATH={path}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "LogLevel VERBOSE",
            "PrintMotd no",
            "UseDNS no",
            "Subsystem sftp internal-sftp",
        ]
        (self.directory / "config").write_text("\n".join(lines) + "\n")

    def _public_host_keys(self) -> list[Path]:
        return [self.directory / f"host_{kind}.pub" for kind in HOST_KEY_TYPES]

    def _listen(self) -> None:
        listener = _bound_socket(self.address, self.port)
        listener.listen(128)
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._acceptor.start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        listener.close()
        if self._acceptor is not None:
            self._acceptor.join(5)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._hanging_up:
                client.close()
                continue
            connection = _Connection(client, self._command, self.directory / "config", self.log_path, self._moving)
            with self._lock:
                self._connections = [other for other in self._connections if not other.ended()]
                self._connections.append(connection)


class _Connection:
    """One accepted client, the ``sshd -i`` that serves it, and two threads that carry the bytes."""

    def __init__(
        self, client: socket.socket, command: Sequence[str], config: Path, log: Path, moving: threading.Event
    ) -> None:
        self._client = client
        self._moving = moving
        self._cut = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server, theirs = socket.socketpair()
        with theirs, log.open("ab") as log_file:
            self._process = subprocess.Popen(
                [*command, "-i", "-e", "-f", str(config)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=log_file,
            )
        self._ends = 2
        self._ends_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._carry, args=ends, daemon=True)
            for ends in ((client, self._server), (self._server, client))
        ]
        for thread in self._threads:
            thread.start()

    def ended(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def cut(self) -> None:
        self._cut = True
        with contextlib.suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A close() does not wake a thread that is inside recv(), and no reset is sent while it is there.
        for end, how in ((self._server, socket.SHUT_RDWR), (self._client, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)
        for thread in self._threads:
            thread.join(5)

    def end_cleanly(self) -> None:
        with contextlib.suppress(OSError):  # it has ended by itself
            self._client.shutdown(socket.SHUT_WR)

    def signal(self, sign: signal.Signals) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()):
                process.send_signal(sign)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                while not self._moving.wait(0.05):
                    if self._cut:
                        break
                if self._cut:
                    break
                target.sendall(data)
        if not self._cut:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
        with self._ends_lock:
            self._ends -= 1
            last = self._ends == 0
        if last:
            self._client.close()
            self._server.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)


def _bound_socket(address: str, port: int) -> socket.socket:
    """SO_REUSEPORT lets a bound socket that does not listen hold the port while the listening one is closed."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((address, port))
    return bound


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> None:
    """A new key pair at ``path`` and ``path.pub``."""
    _ssh_keygen("-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path))


def _ssh_keygen(*arguments: str) -> str:
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, text=True).stdout
