"""The tunnel without a keeper: ``python -m … ADDRESS SSH_PORT USER KEY streams|channels JUPYTER TARGET_PORT …``; prints
the local ports.

As in the keeper, a command has run on the connection before. ``channels``: Jupyter's connections have a channel each,
as where the server has no bridge that supports streams. ``JUPYTER``: see ``tunnel_machine``. It ends with its standard
input.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Instance, Secret
from remote_runtime.core.profile import SshSettings
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.streams.client_streams import ClientStreams
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder

from .tunnel_machine import KINDS, LOOPBACK


def main() -> None:
    address, ssh_port, user, key, way, jupyter, *targets = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        deadline = Deadline(30)
        request = ssh.ConnectRequest(
            Instance("ssh", "bench", address=address, port=int(ssh_port), host_key_name=f"[{address}]:{ssh_port}"),
            SshSettings(user=user, identity_file=key, host_key="accept-new"),
            deadline,
            pins=Path(home, "pins"),
            keys=ssh.Keys(),
            prompt=lambda prompt, *, secret, code: "",
            progress=lambda text: None,
            environ={**os.environ, "HOME": home},
            respond_by=deadline,
        )
        session = ssh.connect(request)
        fronts = []
        for kind, target in zip(KINDS, targets, strict=True):
            front = PortForwarder(ports.bind(None))
            streams = ClientStreams() if way == "streams" and kind == "jupyter" else None
            token = Secret(json.loads(Path(jupyter).read_text())["token"]) if kind == "jupyter" else None
            front.set_upstream(SessionUpstream(session, LOOPBACK, int(target), streams=streams), token)
            fronts.append(front)
        sys.stdout.write(" ".join(str(front.port) for front in fronts) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        session.close()
        for front in fronts:
            front.close()


if __name__ == "__main__":
    main()
