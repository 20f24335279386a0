"""Checks of a runtime that is ready, and the load of its machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import HealthError, Interrupted, RemoteRuntimeError
from ..core.fast_dataclass import fast_dataclass
from ..core.metrics import MachineLoad
from ..core.model import Health, Verdict
from ..jupyter import health
from ..lifecycle.resources import Resources

log = logging.getLogger(__name__)
MIN_CHECK_TIMEOUT_S, MAX_CHECK_TIMEOUT_S = 2.0, 10.0
MAX_LOAD_AGE_S = 1.5
LOAD_TIMEOUT_S = 10.0
FIRST_LOAD_WAIT_S = 1.5
LOAD_WAIT_S = 0.3


@fast_dataclass(frozen=True)
class Monitor:
    """Changes nothing, except that a port is bound on [::1] as soon as this computer has IPv6."""

    resources: Resources
    cancelled: threading.Event
    endpoint: Callable[[], health.Endpoint]

    def find_problem(self, *, check_now: bool, within_s: float) -> tuple[tuple[Verdict, str] | None, Health | None]:
        """The problem, and the result of a check that found none. ``check_now``: check the connection also where
        nothing has failed."""
        problem = self.link_problem()
        if problem is not None or not (self.take_connection_failure() or check_now):
            return problem, None
        result = self.check_health(within_s)
        if result is not None and result.verdict != "ready":
            return (result.verdict, result.why), None
        return None, result

    def link_problem(self) -> tuple[Verdict, str] | None:
        """Why connections cannot be forwarded; None as far as is known."""
        session, upstream = self.resources.session, self.resources.upstream
        if session is None or session.closed:
            return "reconnecting", session.why_closed if session else "not connected"
        if upstream is None or upstream.closed:
            return "reconnecting", "the tunnel closed"
        if not self.resources.is_listening():
            return "reconnecting", "the local port is closed"
        if self.resources.bind_ipv6():
            return "reconnecting", self.resources.exposure_reason
        return None

    def is_jupyter_listening(self) -> bool:
        """Whether Jupyter's port accepts connections. True if that cannot be determined: the SSH link may be down."""
        session, server = self.resources.session, self.resources.server
        if session is None or session.closed or server is None:
            return True
        try:
            session.dial(*server.address, within_s=MIN_CHECK_TIMEOUT_S).close()
        except HealthError:
            return False
        except RemoteRuntimeError as error:
            log.info("can't check whether Jupyter listens: %s", error)
        return True

    def take_connection_failure(self) -> bool:
        """Whether a forwarded connection failed to reach Jupyter since the last call."""
        forwarder = self.resources.forwarder
        if forwarder is None or forwarder.failure is None:
            return False
        forwarder.failure = None
        return True

    def check_health(self, within_s: float) -> Health | None:
        """Checks the connection from end to end; None if a request interrupted that."""
        within_s = min(MAX_CHECK_TIMEOUT_S, max(MIN_CHECK_TIMEOUT_S, within_s))
        try:
            return health.quick_check(self.endpoint(), Deadline(within_s, self.cancelled))
        except Interrupted:
            return None


class LoadSampler:
    """Reads the machine's load only when asked, once at a time, in its own thread: a GPU may take a second to answer.
    Callers wait a moment and take what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load: MachineLoad | None = None
        self._sampled_at = 0.0
        self._thread: threading.Thread | None = None

    def load(self, endpoint: health.Endpoint) -> MachineLoad | None:
        """The latest load; None before the first."""
        with self._lock:
            thread, previous = self._thread, self._load
            if thread is None and time.monotonic() - self._sampled_at > MAX_LOAD_AGE_S:
                self._thread = thread = threading.Thread(
                    target=self._sample, args=(endpoint,), daemon=True, name="load-sampler"
                )
                thread.start()
        if thread is not None:
            thread.join(FIRST_LOAD_WAIT_S if previous is None else LOAD_WAIT_S)
        return self._load

    def _sample(self, endpoint: health.Endpoint) -> None:
        try:
            self._load = health.read_load(endpoint, Deadline(LOAD_TIMEOUT_S))
        except RemoteRuntimeError as error:
            log.info("can't read the machine's load: %s", error)
        finally:
            with self._lock:
                self._thread, self._sampled_at = None, time.monotonic()
