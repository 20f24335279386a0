"""What became of a runtime that was taken down."""

from __future__ import annotations

from typing import Literal

from .fast_dataclass import fast_dataclass

ServerEnd = Literal["stopped", "kept", "gone", "unknown"]


@fast_dataclass(frozen=True)
class TakeDownResult:
    """What became of it, as it was seen now. ``server``: ``unknown`` where the machine was not looked at. ``instance``:
    its status, ``UNKNOWN`` where it could not be read, None when there is none. ``checked``: a kept server was seen.
    ``remains``: what could not be taken away, in words. ``instance_since``: ISO 8601, when an instance that keeps
    running was started. ``notes``: what a person should know about what stays. ``elsewhere``: its Jupyter
    runs on another machine than the login reached."""

    name: str
    tunnel: bool
    server: ServerEnd
    instance: str | None
    remains: tuple[str, ...] = ()
    instance_since: str = ""
    attached: bool = False
    notes: tuple[str, ...] = ()
    elsewhere: bool = False
    checked: bool = True

    @property
    def server_still_ours(self) -> bool:
        """Whether a server of ours goes on, which a later `down` should find."""
        return self.server == "kept" and not self.attached
