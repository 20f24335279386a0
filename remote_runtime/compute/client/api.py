"""One conversation with the Compute Engine API: its clients, and requests that are bounded, repeated and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import DeadlinePassed
from . import credentials, error_mapping, gcloud_config, lazy_import

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15.0
# An API that never answered is most likely a wrong address or a computer that is offline; one that did will come back.
FIRST_RETRY_S = 3.0
LATER_RETRY_S = 60.0
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass
class Api:
    """``project``: where it looks, empty until that is settled. ``project_metadata``: None until it was read. ``told``:
    the last news that ``tell`` was given. ``allows``: what sets the deadline, as a hint; empty where nobody can."""

    endpoint: str
    identity: credentials.Identity
    instances: compute_v1.InstancesClient
    operations: compute_v1.ZoneOperationsClient
    projects: compute_v1.ProjectsClient
    progress: Progress
    deadline: Deadline
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    project: str = ""
    project_metadata: Mapping[str, str] | None = None
    retry_s: float = field(default=FIRST_RETRY_S)
    last_message: str = ""
    timeout_hint: str = ""

    def __post_init__(self) -> None:
        progress = self.progress

        def remember(text: str) -> None:
            self.last_message = text
            progress(text)

        self.progress = remember

    def client(self, kind: Callable[..., T]) -> T:
        """Another of Google's clients, for the same API and as the same caller."""
        return kind(**self.options)

    def call(self, method: Callable[..., T], request: Mapping[str, Any], *, doing: str, until_ready: bool = True) -> T:
        """The answer to one request. Connection trouble, 429 and 5xx are met with more tries until the deadline, and
        ``until_ready`` also the answer that something else is just being done to the resource.

        ``doing`` completes "these credentials may not …". Raises ``CloudError``, ``DeadlinePassed``, ``Interrupted``.
        """
        started_at, tries = time.monotonic(), 0
        if self.deadline.passed():
            raise self._timeout_error(doing)
        while True:
            self.deadline.check()
            timeout_s = max(0.1, min(REQUEST_TIMEOUT_S, self.deadline.remaining_s()))
            try:
                answer = method(request=dict(request), retry=None, timeout=timeout_s)
            except Exception as exc:
                if not error_mapping.is_client_error(exc):
                    raise
                has_answered = self.retry_s == LATER_RETRY_S
                if (
                    has_answered
                    and timeout_s < REQUEST_TIMEOUT_S
                    and self.deadline.passed()
                    and error_mapping.is_timeout(exc)
                ):
                    raise self._timeout_error(doing) from None  # our own time was over, not its
                failure = error_mapping.map_error(
                    exc,
                    endpoint=self.endpoint,
                    doing=doing,
                    project=self.project,
                    renew_hint=self.identity.renew_hint,
                    acts_as=self.identity.acts_as,
                    set_quota_project=self.identity.set_quota_project,
                )
                no_more = failure.transient == "no" or self.deadline.passed()
                no_more |= isinstance(failure.error, error_mapping.NotReady) and not until_ready
                gives_up = failure.transient == "unreachable" and time.monotonic() - started_at > self.retry_s
                if no_more or gives_up:
                    # Not "from exc": of credentials, its words may have what they are.
                    raise failure.error from None
                if tries == 2:
                    self.progress(f"Trying Compute Engine again: {failure.error.why}")
            else:
                self.retry_s = LATER_RETRY_S
                return answer
            self.deadline.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    def _timeout_error(self, doing: str) -> DeadlinePassed:
        what = f"The time to {doing} was over after {self.deadline.timeout_s:.0f} s"
        return DeadlinePassed(what, f"last: {self.last_message}" if self.last_message else "", self.timeout_hint)


def open_api(environ: Mapping[str, str], *, progress: Progress, deadline: Deadline) -> Api:
    """A conversation with the API that ``environ`` names, as whom it says. Nothing is sent yet, except that Application
    Default Credentials may ask this computer's metadata server who it is."""
    endpoint = gcloud_config.endpoint(environ)
    identity = credentials.load(environ, endpoint)
    lazy_import.import_lazily()
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import compute_v1

    # Not `start().result()`: google-cloud-compute polls compute.googleapis.com for it, whatever the endpoint is.
    options: dict[str, Any] = {"credentials": identity.credentials, "client_options": {"api_endpoint": endpoint}}
    try:
        instances = compute_v1.InstancesClient(**options)
        operations, projects = compute_v1.ZoneOperationsClient(**options), compute_v1.ProjectsClient(**options)
    except (GoogleAuthError, ValueError) as exc:  # of Google's own variables and of files they name
        raise error_mapping.unusable_client_error(exc) from None
    return Api(
        endpoint=endpoint,
        identity=identity,
        instances=instances,
        operations=operations,
        projects=projects,
        progress=progress,
        deadline=deadline,
        options=options,
    )
