"""The machine of ``scripts/bench tunnel``: an sshd on an address, and what the tunnels forward to on its loopback.

``python -m … ADDRESS DIRECTORY``: prints the ports as JSON in one line, ends with its standard input. ``DIRECTORY``
has the keys (``make_keys``) and takes the configuration files. ``http``: nginx, 1 KB on a new connection each;
``iperf``: iperf3; ``echo`` repeats what it hears; ``jupyter``: a Jupyter server with the bridge and a kernel, whose
token and path are in ``DIRECTORY/jupyter.json``; ``ssh``: the sshd; ``told``: another one, which writes down what it
agrees on.
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from tests.support.servers.jupyter import JupyterServer

from .tunnel_process import ended, free_port, wait_for_port

KINDS = ("jupyter", "http", "iperf", "echo")
LOOPBACK = "127.0.0.1"
JUPYTER = "jupyter.json"
SSHD = "/usr/sbin/sshd"
PATH_WITH_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NGINX = """\
daemon off; master_process off; pid {home}/nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; default_type text/plain;
  keepalive_timeout 0; client_header_timeout 600s; client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{ listen {address}:{port} backlog=1024; root {home}/www; }}
}}
"""


def main() -> None:
    address, home = sys.argv[1], Path(sys.argv[2])
    with contextlib.ExitStack() as stack:
        log = home / f"iperf3-{address}.log"
        ports = {kind: free_port(address) for kind in ("ssh", "told")}
        ports.update((kind, free_port()) for kind in ("http", "iperf"))
        (home / "www").mkdir(exist_ok=True)
        (home / "www" / "index.html").write_bytes(b"x" * 1024)
        (home / "nginx.conf").write_text(_NGINX.format(home=home, address=LOOPBACK, port=ports["http"]))
        for kind, level in (("ssh", "ERROR"), ("told", "DEBUG1")):
            (home / f"{kind}.conf").write_text(sshd_config(home, address, ports[kind], level))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for command in (
            ["nginx", "-p", str(home), "-c", str(home / "nginx.conf")],
            ["iperf3", "-s", "-B", LOOPBACK, "-p", str(ports["iperf"]), "--logfile", str(log), "--forceflush"],
            [SSHD, "-D", "-f", str(home / "ssh.conf")],
            [SSHD, "-D", "-f", str(home / "told.conf"), "-E", str(home / "told.log")],
        ):
            stack.enter_context(
                ended(
                    subprocess.Popen(
                        command, env={"PATH": PATH_WITH_SBIN}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                    )
                )
            )
        ports["jupyter"] = stack.enter_context(_jupyter(home / JUPYTER))
        wait_for_port(ports["http"])
        for kind in ("ssh", "told"):
            wait_for_port(ports[kind], address)
        while not log.is_file() or "listening" not in log.read_text():  # it minds visitors that say nothing
            time.sleep(0.02)
        listener = socket.create_server((LOOPBACK, 0), backlog=2048)
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        sys.stdout.write(json.dumps({**ports, "echo": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


@contextlib.contextmanager
def _jupyter(known: Path) -> Iterator[int]:
    """Its port."""
    quiet = {"ServerApp": {"log_level": 40}}
    with JupyterServer(extra_config=quiet, extensions=("scripts.benchmarks.jupyter_extension",)) as server:
        with contextlib.closing(HTTPConnection(LOOPBACK, server.port)) as connection:
            connection.request("POST", "/api/kernels", b"{}", {"Authorization": f"token {server.token}"})
            kernel = json.load(connection.getresponse())["id"]
        known.touch(mode=0o600)
        known.write_text(json.dumps({"token": server.token, "channels": f"/api/kernels/{kernel}/channels"}))
        yield server.port


def make_keys(home: Path) -> None:
    for key in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / key], check=True)
    (home / "authorized").write_text((home / "client.pub").read_text())


def agreed_cipher(home: Path) -> str:
    """Of the latest connection to ``told``."""
    found: list[str] = re.findall(r"kex: server->client cipher: (\S+)", (home / "told.log").read_text())
    return found[-1]


def sshd_config(home: Path, address: str, port: int, level: str) -> str:
    options = {
        "HostKey": home / "host", "AuthorizedKeysFile": home / "authorized", "PidFile": "none", "UsePAM": "no",
        "StrictModes": "no", "ListenAddress": address, "Port": port, "MaxStartups": "1000", "LogLevel": level,
        "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    return "".join(f"{name} {value}\n" for name, value in options.items())


def _echo(listener: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    _repeat(selector, key.fileobj)


def _repeat(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    try:
        data = connection.recv(1 << 16)
        if data:
            connection.sendall(data)
            return
    except OSError:
        pass  # the client had enough
    selector.unregister(connection)
    connection.close()


if __name__ == "__main__":
    main()
