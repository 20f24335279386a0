"""What the relay's close codes mean, and what a person is told about them."""

from __future__ import annotations

import shlex
from typing import Literal

from ...core.errors import SshError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Instance
from ...core.sanitize import clean_line

Meaning = Literal["over", "refused", "forgotten", "not yet", "renew", "passing"]
_MEANINGS: dict[int, Meaning] = {
    1000: "over",  # closed as it should be
    4001: "forgotten",  # the session is unknown
    4002: "forgotten",  # … in use
    4003: "not yet",  # nothing answers at the machine's port
    4004: "renew",  # the token ended
    4009: "over",  # the machine takes no more
    4010: "over",  # the machine has said all
    4033: "refused",  # no permission
    4047: "not yet",  # no such machine, or it is booting
    4054: "refused",  # an organisation's policy
    4074: "forgotten",  # what we still have to hear is gone
}
_MAX_REASON_CHARS = 200
IAP_RANGE = "35.235.240.0/20"


@fast_dataclass(frozen=True)
class Close:
    """How the relay ended a connection: a WebSocket close code, or the status of a refused handshake."""

    code: int
    reason: str = ""

    @property
    def meaning(self) -> Meaning:
        """``over``: the stream has ended; ``refused``: in vain; ``forgotten``: only a new session helps; ``not yet``:
        perhaps when the machine has booted; ``renew``: with another token; ``passing``: the session can be resumed."""
        if self.code in (401, 407):
            return "renew" if self.code == 401 else "refused"
        if 400 <= self.code < 500 and self.code not in (408, 429):
            return "refused"
        return _MEANINGS.get(self.code, "passing")

    def __str__(self) -> str:
        said = clean_line(self.reason, _MAX_REASON_CHARS)
        return f"{self.code} {said}" if said else str(self.code)


def explain(close: Close, instance: Instance) -> SshError:
    """Why a new session was not made."""
    name, project = instance.name, shlex.quote(instance.project or "PROJECT")
    if close.code == 4003:
        return SshError(
            "iap-backend-unreachable",
            f"Identity-Aware Proxy cannot reach port {instance.port} of {name}",
            f"the firewall keeps {IAP_RANGE} out, or no SSH server listens there ({close})",
            f"Let IAP in: gcloud compute firewall-rules create allow-ssh-from-iap --project={project} "
            f"--network=NETWORK --allow=tcp:{instance.port} --source-ranges={IAP_RANGE}",
        )
    if close.code == 4047:
        return SshError(
            "iap-backend-unreachable",
            f"Identity-Aware Proxy does not find {name} in {instance.zone}",
            f"it is booting, or has no network interface nic0 ({close})",
            f"See its state: gcloud compute instances describe {shlex.quote(name)} --zone={instance.zone} "
            f"--project={project}",
        )
    if close.code == 4054:
        return SshError(
            "iap-refused",
            f"An organisation policy forbids Identity-Aware Proxy to connect to {name}",
            str(close),
            "Ask who administers the organisation, or set `target.connect: external` or `internal`",
        )
    if close.code == 4033 or close.code == 403:
        return SshError(
            "iap-refused",
            f"These credentials may not reach {name} through Identity-Aware Proxy: "
            "iap.tunnelInstances.accessViaIAP is missing",
            str(close),
            f"A project owner can grant it: gcloud projects add-iam-policy-binding {project} "
            "--member=user:EMAIL --role=roles/iap.tunnelResourceAccessor",
        )
    if close.meaning == "renew":
        return SshError(
            "iap-refused",
            "Identity-Aware Proxy does not accept the credentials",
            str(close),
            "Run: gcloud auth application-default login",
        )
    if close.meaning == "refused":
        return SshError("iap-refused", f"Identity-Aware Proxy refuses to connect to {name}", str(close))
    return SshError("iap-unreachable", f"Identity-Aware Proxy did not connect to {name}", f"it closed with {close}")
