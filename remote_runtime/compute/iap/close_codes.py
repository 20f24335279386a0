"""The relay's close codes: what they mean for the session, and the error for each."""

from __future__ import annotations

from typing import Literal

from ...core.errors import SshError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ...core.sanitize import clean_line
from ...core.shell_command import shell_command
from ..client.credential_sources import LOGIN_HINT

Meaning = Literal["finished", "refused", "session_lost", "retry_later", "renew_token", "resumable"]
_MEANINGS: dict[int, Meaning] = {
    1000: "finished",  # normal closure
    4001: "session_lost",  # unknown session
    4002: "session_lost",  # session in use
    4003: "retry_later",  # the machine's port does not answer
    4004: "renew_token",  # the token has expired
    4009: "finished",  # the machine does not read any more
    4010: "finished",  # end of the machine's stream
    4033: "refused",  # no permission
    4047: "retry_later",  # no such machine, or it is booting
    4054: "refused",  # an organization policy
    4074: "session_lost",  # bytes that have not arrived are gone
}
_MAX_REASON_CHARS = 200
IAP_RANGE = "35.235.240.0/20"


@fast_dataclass(frozen=True)
class Close:
    """How the relay ended a connection: a WebSocket close code, or the HTTP status of a refused handshake."""

    code: int
    reason: str = ""

    @property
    def meaning(self) -> Meaning:
        """``finished``: the stream has ended. ``refused``: a retry fails too. ``session_lost``: only a new session
        helps. ``retry_later``: a retry may succeed when the machine has booted. ``renew_token``: a retry needs a new
        token. ``resumable``: the session can be resumed."""
        if self.code in (401, 407):
            return "renew_token" if self.code == 401 else "refused"
        if 400 <= self.code < 500 and self.code not in (408, 429):
            return "refused"
        return _MEANINGS.get(self.code, "resumable")

    def __str__(self) -> str:
        reason = clean_line(self.reason, _MAX_REASON_CHARS)
        return f"{self.code} {reason}" if reason else str(self.code)


def explain(close: Close, instance: Instance) -> SshError:
    """The error for a session that could not be opened."""
    name, project = instance.name, instance.project or "PROJECT_ID"
    if close.code == 4003:
        return SshError(
            "iap-backend-unreachable",
            f"Identity-Aware Proxy can't reach port {instance.port} of {name}",
            f"the firewall blocks {IAP_RANGE}, or no SSH server listens there ({close})",
            "Run "
            + shell_command(
                *("gcloud", "compute", "firewall-rules", "create", "allow-ssh-from-iap", f"--project={project}"),
                *("--network=NETWORK", f"--allow=tcp:{instance.port}", f"--source-ranges={IAP_RANGE}"),
            ),
        )
    if close.code == 4047:
        return SshError(
            "iap-backend-unreachable",
            f"Identity-Aware Proxy can't find {name} in {instance.zone}",
            f"it is booting, or has no network interface nic0 ({close})",
            "See its state with "
            + shell_command(
                *("gcloud", "compute", "instances", "describe", name),
                *(f"--zone={instance.zone}", f"--project={project}"),
            ),
        )
    if close.code == 4054:
        return SshError(
            "iap-refused",
            f"An organization policy blocks Identity-Aware Proxy for {name}",
            str(close),
            "Ask the organization's administrator, or set `target.connect: external` or `internal`",
        )
    if close.code == 4033 or close.code == 403:
        return SshError(
            "iap-refused",
            f"No permission to reach {name} through Identity-Aware Proxy: iap.tunnelInstances.accessViaIAP is missing",
            str(close),
            "Ask a project owner to run "
            + shell_command(
                *("gcloud", "projects", "add-iam-policy-binding", project),
                *("--member=user:EMAIL", "--role=roles/iap.tunnelResourceAccessor"),
            ),
        )
    if close.meaning == "renew_token":
        return SshError(
            "iap-refused",
            "Identity-Aware Proxy rejects the credentials",
            str(close),
            LOGIN_HINT,
        )
    if close.meaning == "refused":
        return SshError("iap-refused", f"Identity-Aware Proxy refused to connect to {name}", str(close))
    return SshError("iap-unreachable", f"Identity-Aware Proxy did not connect to {name}", f"it closed with {close}")
