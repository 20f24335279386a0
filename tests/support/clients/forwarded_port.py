"""A local port that leads to a service of the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from remote_runtime.core.model import Secret
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.session import Session
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder

from ..servers.echo_servers import Handler, Target


@contextlib.contextmanager
def leading_to(session: Session, handle: Handler, *, token: Secret | None = None) -> Iterator[PortForwarder]:
    with Target(handle) as target:
        opened = PortForwarder(ports.bind(None))
        try:
            opened.set_upstream(SessionUpstream(session, *target.address), token)
            yield opened
        finally:
            opened.close()
