"""One conversation with the Compute Engine API: its clients, and requests that are bounded, repeated and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.callbacks import Tell
from ...core.deadline import Deadline
from ...core.errors import DeadlinePassed
from . import credentials, error_mapping, gcloud_config, lazy_import

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15.0
# An API that never answered is most likely a wrong address or a computer that is offline; one that did will come back.
PATIENCE_AT_FIRST_S = 3.0
PATIENCE_LATER_S = 60.0
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
    tell: Tell
    deadline: Deadline
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    project: str = ""
    project_metadata: Mapping[str, str] | None = None
    patience_s: float = field(default=PATIENCE_AT_FIRST_S)
    told: str = ""
    allows: str = ""

    def __post_init__(self) -> None:
        tell = self.tell

        def remember(text: str) -> None:
            self.told = text
            tell(text)

        self.tell = remember

    def client(self, kind: Callable[..., T]) -> T:
        """Another of Google's clients, for the same API and as the same caller."""
        return kind(**self.options)

    def call(self, method: Callable[..., T], request: Mapping[str, Any], *, doing: str, until_ready: bool = True) -> T:
        """The answer to one request. Connection trouble, 429 and 5xx are met with more tries until the deadline, and
        ``until_ready`` also the answer that something else is just being done to the resource.

        ``doing`` completes "these credentials may not …". Raises ``CloudError``, ``DeadlinePassed``, ``Interrupted``.
        """
        began, tries = time.monotonic(), 0
        if self.deadline.passed():
            raise self._too_late(doing)
        while True:
            self.deadline.check()
            timeout_s = max(0.1, min(REQUEST_TIMEOUT_S, self.deadline.remaining_s()))
            try:
                answer = method(request=dict(request), retry=None, timeout=timeout_s)
            except Exception as exc:
                if not error_mapping.is_foreign(exc):
                    raise
                is_known = self.patience_s == PATIENCE_LATER_S
                if (
                    is_known
                    and timeout_s < REQUEST_TIMEOUT_S
                    and self.deadline.passed()
                    and error_mapping.is_timeout(exc)
                ):
                    raise self._too_late(doing) from None  # our own time was over, not its
                failure = error_mapping.explain(
                    exc,
                    endpoint=self.endpoint,
                    doing=doing,
                    project=self.project,
                    renew=self.identity.renew,
                    acts_as=self.identity.acts_as,
                    set_quota_project=self.identity.set_quota_project,
                )
                no_more = failure.passing == "no" or self.deadline.passed()
                no_more |= isinstance(failure.error, error_mapping.NotReady) and not until_ready
                impatient = failure.passing == "unreachable" and time.monotonic() - began > self.patience_s
                if no_more or impatient:
                    # Not "from exc": of credentials, its words may have what they are.
                    raise failure.error from None
                if tries == 2:
                    self.tell(f"Trying Compute Engine again: {failure.error.why}")
            else:
                self.patience_s = PATIENCE_LATER_S
                return answer
            self.deadline.pause(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    def _too_late(self, doing: str) -> DeadlinePassed:
        what = f"The time to {doing} was over after {self.deadline.within_s:.0f} s"
        return DeadlinePassed(what, f"last: {self.told}" if self.told else "", self.allows)


def connect(environ: Mapping[str, str], *, tell: Tell, deadline: Deadline) -> Api:
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
        raise error_mapping.unusable_client(exc) from None
    return Api(
        endpoint=endpoint,
        identity=identity,
        instances=instances,
        operations=operations,
        projects=projects,
        tell=tell,
        deadline=deadline,
        options=options,
    )
