"""Requests to the Compute Engine API, each with a timeout, retries, and an error that explains it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import CloudError, DeadlinePassed
from ...core.model import Instance
from . import credentials, error_mapping, gcloud_config, lazy_import

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15.0
# If the API has never answered, its address is probably wrong or this computer offline; else it will answer again.
FIRST_RETRY_S = 3.0
LATER_RETRY_S = 60.0
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass
class Api:
    """``project``: the project of the requests, empty until it is known. ``last_message``: the last text given to
    ``progress``. ``timeout_hint``: the setting that allows more time, empty if there is none."""

    environ: Mapping[str, str]
    endpoint: str
    identity: credentials.Identity
    instances: compute_v1.InstancesClient
    operations: compute_v1.ZoneOperationsClient
    projects: compute_v1.ProjectsClient
    progress: Progress
    deadline: Deadline
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    project: str = ""
    retry_s: float = field(default=FIRST_RETRY_S)
    last_message: str = ""
    timeout_hint: str = ""
    _project_metadata: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        progress = self.progress

        def remember(text: str) -> None:
            self.last_message = text
            progress(text)

        self.progress = remember

    def client(self, kind: Callable[..., T]) -> T:
        """Another of Google's clients, for the same address and credentials."""
        return kind(**self.options)

    def request_for(self, instance: Instance, **more: Any) -> dict[str, Any]:
        return {"project": self.project, "zone": instance.zone, "instance": instance.name, **more}

    def call(self, method: Callable[..., T], request: Mapping[str, Any], *, doing: str, until_ready: bool = True) -> T:
        """The result of one request. Connection errors, 429 and 5xx are retried until the deadline; with
        ``until_ready`` also the answer that another operation on the resource is under way.

        ``doing`` completes "can't …". Raises ``CloudError``, ``DeadlinePassed``, ``Interrupted``.
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
                    raise self._timeout_error(doing) from None  # not the request's own timeout
                failure = error_mapping.map_error(
                    exc,
                    endpoint=self.endpoint,
                    doing=doing,
                    project=self.project,
                    identity=self.identity,
                )
                no_more = failure.transient == "no" or self.deadline.passed()
                no_more |= isinstance(failure.error, error_mapping.NotReady) and not until_ready
                gives_up = failure.transient == "unreachable" and time.monotonic() - started_at > self.retry_s
                if no_more or gives_up:
                    # Not "from exc": its message may contain the credentials.
                    raise failure.error from None
                if tries == 2:
                    self.progress(f"Retrying Compute Engine: {failure.error.why}")
            else:
                self.retry_s = LATER_RETRY_S
                return answer
            self.deadline.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    def is_enabled(self, raw: compute_v1.Instance, key: str) -> bool:
        """True if the instance's metadata ``key``, or else the project's, is true."""
        value = metadata_items(raw.metadata).get(key)
        return is_true(self.project_metadata().get(key) if value is None else value)

    def project_metadata(self) -> Mapping[str, str]:
        """Read once; empty without the permission to read it. Raises ``CloudError`` ``cloud-unreachable``."""
        if self._project_metadata is None:
            doing = f"read the metadata of project {self.project}"
            try:
                project = self.call(self.projects.get, {"project": self.project}, doing=doing)
                self._project_metadata = metadata_items(project.common_instance_metadata)
            except CloudError as exc:
                if exc.code == "cloud-unreachable":
                    raise
                self._project_metadata = {}
        return self._project_metadata

    def _timeout_error(self, doing: str) -> DeadlinePassed:
        what = f"Timed out after {self.deadline.timeout_s:.0f} s: can't {doing}"
        return DeadlinePassed(what, f"last: {self.last_message}" if self.last_message else "", self.timeout_hint)


def metadata_items(metadata: compute_v1.Metadata) -> Mapping[str, str]:
    return {item.key: item.value for item in metadata.items}


def is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("true", "1", "y", "yes")


def open_api(environ: Mapping[str, str], *, progress: Progress, deadline: Deadline, project: str = "") -> Api:
    """Clients for the API and the credentials that ``environ`` names. Sends nothing, except that Application Default
    Credentials may query this computer's metadata server."""
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
    except (GoogleAuthError, ValueError) as exc:  # caused by Google's own variables and the files they name
        raise error_mapping.unusable_client_error(exc) from None
    return Api(
        environ=environ,
        endpoint=endpoint,
        identity=identity,
        instances=instances,
        operations=operations,
        projects=projects,
        progress=progress,
        deadline=deadline,
        options=options,
        project=project,
    )
