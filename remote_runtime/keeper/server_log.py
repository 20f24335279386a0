"""The log of the Jupyter server, read over the connection that a keeper holds."""

from __future__ import annotations

from ..core.deadline import Deadline
from ..core.errors import LocalError, UsageError
from ..core.model import Profile
from ..jupyter import server
from ..lifecycle.bring_up import Resources
from ..state.log_file import redact
from .runtime_record import RuntimeRecord

READ_TIMEOUT_S = 15.0


def read_server_log(
    resources: Resources, record: RuntimeRecord, profile: Profile, offset: int | None, lines: int
) -> tuple[list[str], int]:
    """The lines after ``offset``, or the last ``lines`` where it is None, and where the next ones begin.

    Raises ``LocalError`` ``not-up`` while there is no connection, ``UsageError`` for a server that is not ours.
    """
    if record.runtime.server is not None and record.runtime.server.attached:
        why = "it is attached to a server that was started elsewhere, and its log is there"
        raise UsageError("usage", f"{profile.name} has no server log", why)
    session = resources.session
    if session is None or session.closed:
        raise LocalError("not-up", f"{profile.name} has no connection now", record.runtime.why)
    server_spec = server.ServerSpec(profile.name, record.runtime.client_id, profile.jupyter, profile.colab.origins)
    if offset is None:
        part = server.tail_log(session.run, server_spec, lines=lines, deadline=Deadline(READ_TIMEOUT_S))
    else:
        part = server.read_log(session.run, server_spec, offset=offset, deadline=Deadline(READ_TIMEOUT_S))
    return redact(part.text).splitlines(), part.offset
