"""A key that can be offered to a machine: of a file or of the agent, by itself or in a certificate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...core.frozen import dataclass
from .certificates import Certificate
from .key_files import Fault, certificate_of, certified, certify

if TYPE_CHECKING:
    import paramiko


@dataclass(frozen=True)
class Candidate:
    """A key worth offering. ``blob``: its public half, empty if unknown. ``key``: None unless it is ``ready``.

    ``public``: only its public half is there, which tells which of the agent's keys is meant. ``certificate``: what is
    shown instead of the public half, if any. ``fault``: why it is ``unusable``, or why its
    certificate may be refused."""

    label: str
    blob: bytes
    key: paramiko.PKey | None
    state: Literal["ready", "locked", "public", "unusable", "missing"] = "ready"
    path: Path | None = None
    certificate: bytes = b""
    fault: Fault | None = None

    @property
    def id(self) -> tuple[str, bytes]:
        return self.label, self.shown

    @property
    def shown(self) -> bytes:
        return self.certificate or self.blob


def with_certificate(candidate: Candidate, signed: Sequence[tuple[str, bytes]] | None) -> list[Candidate]:
    """A machine may accept the certificate or the key alone; an expired certificate must not hide the key. ``signed``:
    instead of the one beside it, those of them that are for this key."""
    if signed is None:
        beside = certificate_of(candidate.path) if candidate.path else b""
        signed = [(f"the certificate of {candidate.label}", beside)] if beside else []
    else:
        signed = [
            (f"the certificate {name}", blob) for name, blob in signed if Certificate(blob).is_for(candidate.blob)
        ]
    shown = []
    for name, blob in signed:
        key = certified(candidate.key, blob) if candidate.key else None
        untimely = Certificate(blob).untimely(time.time())
        label = f"{name} ({untimely})" if untimely else name
        fault = Fault(untimely, "Have a new certificate signed for the key") if untimely else None
        shown.append(replace(candidate, label=label, key=key, certificate=blob, fault=fault))
    return [*shown, candidate]


def of_agent(key: paramiko.AgentKey) -> Candidate:
    label = f"agent key {key.comment or key.get_name()}"
    if not key.get_name().endswith("-cert-v01@openssh.com"):
        return Candidate(label, key.asbytes(), key)
    certify(key, key.blob)
    return Candidate(f"{label} (certificate)", b"", key, certificate=key.blob)
