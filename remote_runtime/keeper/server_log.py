"""The log of the Jupyter server, read over the connection that a keeper holds."""

from __future__ import annotations

from ..core.deadline import Deadline
from ..core.errors import LocalError, UsageError
from ..core.model import Profile
from ..jupyter import server
from ..lifecycle.bring_up import Held
from ..state.log_file import redacted
from .runtime_record import Record

WITHIN_S = 15.0


def read(held: Held, record: Record, profile: Profile, offset: int | None, lines: int) -> tuple[list[str], int]:
    """The lines after ``offset``, or the last ``lines`` where it is None, and where the next ones begin.

    Raises ``LocalError`` ``not-up`` while there is no connection, ``UsageError`` for a server that is not ours.
    """
    if record.runtime.server is not None and record.runtime.server.attached:
        why = "it is attached to a server that was started elsewhere, and its log is there"
        raise UsageError("usage", f"{profile.name} has no server log", why)
    session = held.session
    if session is None or session.closed:
        raise LocalError("not-up", f"{profile.name} has no connection now", record.runtime.why)
    wanted = server.Wanted(profile.name, record.runtime.client_id, profile.jupyter, profile.colab.origins)
    if offset is None:
        part = server.log_tail(session.run, wanted, lines=lines, deadline=Deadline(WITHIN_S))
    else:
        part = server.log_from(session.run, wanted, offset=offset, deadline=Deadline(WITHIN_S))
    return redacted(part.text).splitlines(), part.offset
