"""A local port that leads to a service of the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from remote_runtime.core.model import Secret
from remote_runtime.lifecycle.upstream import SessionWay
from remote_runtime.ssh.session import Session
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import Front

from .targets import Handler, Target


@contextlib.contextmanager
def leading_to(session: Session, handle: Handler, *, token: Secret | None = None) -> Iterator[Front]:
    with Target(handle) as target:
        opened = Front(ports.bind(None))
        try:
            opened.through(SessionWay(session, *target.address), token)
            yield opened
        finally:
            opened.close()
