"""What a profile says of ends: of `down`, of a runtime that nobody uses, and of each step of `up`."""

from __future__ import annotations

from typing import Literal

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class OnDownSettings:
    server: Literal["stop", "keep"] = "stop"
    instance: Literal["keep", "stop", "suspend"] = "keep"


@fast_dataclass(frozen=True)
class IdleSettings:
    """``after_s``: None means never."""

    after_s: float | None = None
    do: Literal["stop-server", "stop-instance", "suspend-instance"] = "stop-instance"


@fast_dataclass(frozen=True)
class Timeouts:
    """The only limits of `up`, of a reconnect, and of what else goes the same steps: what waits inside a step has a
    part of its time, and no shorter one of its own."""

    instance_s: float = 300.0
    ssh_s: float = 60.0
    jupyter_s: float = 120.0
    ready_s: float = 30.0

    @property
    def total_s(self) -> float:
        return self.instance_s + self.ssh_s + self.jupyter_s + self.ready_s
