"""The tunnel without a keeper: ``python -m … ADDRESS SSH_PORT USER KEY TARGET_PORT …``; prints the local ports.

As in the keeper, a command has run on the connection before. It ends with its standard input.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import SshSettings
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder


def main() -> None:
    address, ssh_port, user, key, *targets = sys.argv[1:]
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
        for target in targets:
            front = PortForwarder(ports.bind(None))
            front.set_upstream(SessionUpstream(session, address, int(target)), None)
            fronts.append(front)
        sys.stdout.write(" ".join(str(front.port) for front in fronts) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        session.close()
        for front in fronts:
            front.close()


if __name__ == "__main__":
    main()
