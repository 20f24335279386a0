"""Where this machine can be reached, and which of the scheduler's addresses answers with the cluster's certificate."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
from typing import Any

from ...jupyter.remote import processes
from ...launcher.remote.reply import ReplyWriter, ReportedError
from .folder import CA, CERTIFICATE, KEY

CONNECT_TIMEOUT_S = 5.0
MAX_ADDRESSES = 16
LOOPBACK = "127.0.0.1"


def own_addresses() -> list[str]:
    """Those of this machine, the one that the SSH server was reached at first; loopback last: for a worker here."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    found = words[2:3]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks the routing table
            found.append(probe.getsockname()[0])
        except OSError:
            pass  # no default route
    found += processes.output_of("hostname", "-I").split()
    usable = [each for each in found if is_usable(each)]
    return [*list(dict.fromkeys(usable))[: MAX_ADDRESSES - 1], LOOPBACK]


def is_usable(address: str) -> bool:
    """Whether other machines may reach it: sshd says UNKNOWN where it has no socket."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)


def find_reachable(addresses: list[str], port: int, directory: str, reply: ReplyWriter) -> tuple[str, str]:
    """The first of the scheduler's addresses that answers with the cluster's certificate, and this machine's address
    on that way. Raises ``ReportedError`` ``cluster-network``."""
    results: dict[str, Any] = {}

    def try_one(address: str) -> None:
        try:
            results[address] = connect(address, port, directory, CONNECT_TIMEOUT_S)
        except OSError as error:
            results[address] = error

    threads = [threading.Thread(target=try_one, args=(each,), daemon=True) for each in addresses]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not isinstance(results.get(addresses[0]), str):
        reply.sleep(0.05)
    for address in addresses:
        if isinstance(results.get(address), str):
            return address, results[address]
    tried = "; ".join(f"{each}: {describe(results.get(each))}" for each in addresses if each != LOOPBACK)
    raise ReportedError(
        "cluster-network", f"The worker can't reach the scheduler's port {port}", tried or "it has no address",
        "Let the worker's network connect to that port, and the machines to each other: a firewall rule for TCP",
    )  # fmt: skip


def connect(address: str, port: int, directory: str, timeout_s: float) -> str:
    """This machine's address of a connection whose other end has the cluster's certificate. Raises ``OSError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the CA has signed one certificate only
    context.load_verify_locations(os.path.join(directory, CA))
    context.load_cert_chain(os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY))
    with socket.create_connection((address, port), timeout_s) as plain, context.wrap_socket(plain) as encrypted:
        return str(encrypted.getsockname()[0])


def describe(error: OSError | None) -> str:
    if isinstance(error, ssl.SSLError):
        return "another program answers, without this cluster's certificate"
    return "no reply" if error is None or isinstance(error, socket.timeout) else str(error.strerror or error)


def url(address: str, port: int) -> str:
    return f"tls://[{address}]:{port}" if ":" in address else f"tls://{address}:{port}"
