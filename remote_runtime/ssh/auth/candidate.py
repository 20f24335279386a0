"""A key that can be offered to a server: of a file or of the agent, plain or with a certificate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...core.fast_dataclass import fast_dataclass
from .certificates import Certificate
from .key_files import KeyFault, certificate_of, certified, certify

if TYPE_CHECKING:
    import paramiko


@fast_dataclass(frozen=True)
class KeyCandidate:
    """``blob``: its public half, empty if unknown. ``key``: None unless it is ``ready``. ``public``: only its public
    half is there, which selects one of the agent's keys. ``certificate``: presented instead of the public half.
    ``fault``: why it is ``unusable``, or why its certificate may be refused."""

    label: str
    blob: bytes
    key: paramiko.PKey | None
    state: Literal["ready", "locked", "public", "unusable", "missing"] = "ready"
    path: Path | None = None
    certificate: bytes = b""
    fault: KeyFault | None = None

    @property
    def id(self) -> tuple[str, bytes]:
        return self.label, self.presented

    @property
    def presented(self) -> bytes:
        return self.certificate or self.blob


def with_certificate(candidate: KeyCandidate, certificates: Sequence[tuple[str, bytes]] | None) -> list[KeyCandidate]:
    """The candidate with each of its certificates, then alone: a server may accept only one of them.
    ``certificates``: (name, certificate) to choose from, None for the one beside the key file."""
    if certificates is None:
        beside = certificate_of(candidate.path) if candidate.path else b""
        certificates = [(f"the certificate of {candidate.label}", beside)] if beside else []
    else:
        certificates = [
            (f"the certificate {name}", blob) for name, blob in certificates if Certificate(blob).is_for(candidate.blob)
        ]
    presenting = []
    for name, blob in certificates:
        key = certified(candidate.key, blob) if candidate.key else None
        validity_error = Certificate(blob).validity_error(time.time())
        label = f"{name} ({validity_error})" if validity_error else name
        fault = KeyFault(validity_error, "Have a new certificate signed for the key") if validity_error else None
        presenting.append(replace(candidate, label=label, key=key, certificate=blob, fault=fault))
    return [*presenting, candidate]


def agent_candidate(key: paramiko.AgentKey) -> KeyCandidate:
    label = f"agent key {key.comment or key.get_name()}"
    if not key.get_name().endswith("-cert-v01@openssh.com"):
        return KeyCandidate(label, key.asbytes(), key)
    certify(key, key.blob)
    return KeyCandidate(f"{label} (certificate)", b"", key, certificate=key.blob)
