"""What tests of Identity-Aware Proxy need beside the relay: a machine that echoes, a CA made on the fly, a proxy."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from remote_runtime.core.model import Instance
from tests.support.faults.faulty_relay import FaultyRelay

from .tcp_server import Listening

ELSEWHERE = "relay.test"  # a name that only the proxy can resolve
INSTANCE = Instance("gce", "my-vm", zone="europe-west4-a", project="my-project", port=22)


class Machine(Listening):
    """Echoes, or (``says``) speaks and hangs up, or only listens. ``heard``: everything that was said to it, when it
    only listens."""

    def __init__(self, says: bytes | None = None, *, echoes: bool = True) -> None:
        self.echoes = echoes
        self.heard = bytearray()
        self._says = says
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._says is not None:
                connection.sendall(self._says)
                return
            while content := connection.recv(1 << 16):
                if self.echoes:
                    connection.sendall(content)
                else:
                    self.heard += content


@dataclass
class Field:
    """A relay, the machine behind it, and the environment in which the relay is Google's."""

    relay: FaultyRelay
    machine: Machine
    environ: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def relayed(
    *, tls: ssl.SSLContext | None = None, says: bytes | None = None, address: tuple[str, int] | None = None
) -> Iterator[Field]:
    """``address``: of the machine behind the relay, if it is not the ``Field``'s own."""
    machine = Machine(says)
    relay = FaultyRelay(lambda request: address or machine.address, tls=tls)
    try:
        environ = {"REMOTE_RUNTIME_IAP_URL": relay.url, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
        yield Field(relay, machine, environ)
    finally:
        relay.close()
        machine.close()


def authority(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for ``localhost``, and the file of the CA that vouches for it."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, name = _name("test CA"), _name("localhost")
    ca = _certificate(ca_name, ca_key, ca_name, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.DNSName(ELSEWHERE), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    )
    certificate = _certificate(name, key, ca_name, ca_key, names)
    ca_path, chain = directory / "ca.pem", directory / "server.pem"
    ca_path.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, ca_path


class Proxy(Listening):
    """An HTTP proxy that knows CONNECT. ``asked``: the heads of the requests; ``status``: what it answers."""

    def __init__(self, status: str = "200 Connection established") -> None:
        self.asked: list[str] = []
        self._status = status
        super().__init__()

    @property
    def at(self) -> str:
        host, port = self.address
        return f"{host}:{port}"

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        self.asked.append(head.decode())
        connection.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
        if self._status.startswith("200"):
            host, _, port = head.decode().split()[1].rpartition(":")
            server = self.keep(socket.create_connection(("127.0.0.1" if host == ELSEWHERE else host, int(port))))
            self.start(_copy, server, connection)
            _copy(connection, server)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)


def _name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - hour, now + hour
    )
    return builder.add_extension(extension, critical=False).sign(issuer_key, hashes.SHA256())
