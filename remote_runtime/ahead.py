"""What is done while the machine says which server it has: what the checks need is imported, and the path is led to the
server that was there last, and checked. The machine's word still counts: where it names another, that is led to."""

from __future__ import annotations

import logging
import threading

from . import health
from .errors import RemoteRuntimeError
from .held import Held, door
from .model import Health, Server
from .story import Story
from .waits import Deadline
from .ways import SessionWay, leads_to_sockets

log = logging.getLogger(__name__)
# What is sent to the machine is put together first: both would share one processor, and the machine would wait.
HEAD_START_S = 0.02
WITHIN_S = 5.0
END_S = 20.0


class Ahead:
    """In a thread of its own, from the beginning to the end of its block."""

    def __init__(self, story: Story, held: Held) -> None:
        self._story = story
        self._held = held
        self._known = _known_server(story, held)
        self._seen: Health | None = None
        self._called_off = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._known is None:
            return
        if not self._is_known(self._held.server):
            self._called_off.set()
            if self._held.front is not None:
                self._held.front.hold()  # ends what the check waits for
        self._thread.join(END_S)

    def seen(self) -> Health | None:
        """What the whole check saw of the server that is held now; None when it did not succeed, or saw another."""
        return self._seen if self._is_known(self._held.server) else None

    def _is_known(self, server: Server | None) -> bool:
        known = self._known
        return known is not None and server is not None and (server.at, server.token) == (known.at, known.token)

    def _run(self) -> None:
        self._called_off.wait(HEAD_START_S)
        try:
            health.checks.load()
            if self._known is not None:
                self._seen = self._look(self._known)
        except RemoteRuntimeError as error:
            log.info("the server that was there is not reached: %s: %s", error.code, error)
        except Exception:
            log.exception("a bug of ours in a look ahead")

    def _look(self, known: Server) -> Health:
        held = self._held
        if held.front is None or held.session is None:
            raise ValueError("the machine is entered first")
        held.way = SessionWay(held.session, *known.at)
        held.front.through(held.way, known.token)
        profile, deadline = self._story.profile, Deadline(WITHIN_S, self._called_off)
        return health.check(door(held.front.port, known, profile, held.front), deadline)


def _known_server(story: Story, held: Held) -> Server | None:
    """The server that was there last, if it can be tried: on the machine that was entered, and able to prove itself."""
    known, machine, session = story.known_server, story.known, held.session
    if known is None or machine is None or held.instance is None or held.instance.id != machine.id:
        return None
    can_try = known.proves_itself and not known.attached and leads_to_sockets(story.profile)
    return known if can_try and session is not None and session.is_fast else None
