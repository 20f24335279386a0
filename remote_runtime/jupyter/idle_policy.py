"""The watchdog on the machine, as this side knows it: what it answers, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.endings import Idle
from ..core.model import IdleGuard, Runtime
from ..core.sanitize import clean_line
from .remote_call import invalid

HOWS = ("here", "service-account", "power-off", "none")
SAID = {"stop": "stopped", "suspend": "suspended", "end": "ended"}


def guard_from(answer: Any, idle: Idle) -> IdleGuard | None:
    """Raises ``MachineError`` ``machine-answer-invalid``."""
    match answer:
        case {"how": str(how), "verb": str(verb), "why": str(why), "reboot": str(reboot)} if idle.after_s is not None:
            if how in HOWS and verb in SAID and reboot in ("", "cron", "systemd"):
                guard = IdleGuard(idle.after_s, idle.do, how, verb, clean_line(why, 300), reboot)
                failed = clean_line(str(answer.get("failed") or ""), 400)
                return replace(guard, local_ssd=answer.get("local_ssd") is True, failed=failed)
    if answer:
        raise invalid("its watchdog is not described as it should be")
    return None


def words(guard: IdleGuard) -> tuple[str, ...]:
    """What a person should know about the guarantee, and where it ends."""
    after = f"when nothing was used for {duration(guard.after_s)}"
    if guard.how == "none":
        return (f"nothing can be done on the machine {after}: {guard.why}. It goes on, and costs what it costs",)
    if guard.how == "here":
        return (f"Jupyter and its kernels are ended {after}",)
    by = "by its own service account" if guard.how == "service-account" else "by powering off"
    told = [
        f"the machine is {SAID[guard.verb]} {after}, {by}",
        "a job in the background counts while it takes processor or GPU time; one that only waits, for the network for "
        "example, does not count",
    ]
    if guard.local_ssd and guard.verb == "stop":
        told.append("what is on its Local SSD is lost then")
    if guard.failed:
        told.append(f"the last time that failed: {guard.failed}")
    if guard.do == "suspend-instance" and guard.verb == "stop":
        told.append(f"it cannot be suspended from inside ({guard.why}): what is in its memory is lost then")
    if not guard.reboot:
        told.append(
            "that ends with a reboot of the machine, until the next `up`: it has neither cron nor a lingering user"
        )
    return tuple(told)


def duration(seconds: float) -> str:
    """``2h``, ``90s``: as profiles write it."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def wish_of(idle: Idle) -> Mapping[str, Any] | None:
    """As the launcher's orders carry it."""
    return None if idle.after_s is None else {"after_s": idle.after_s, "do": idle.do}


def left_on_disk(runtime: Runtime) -> tuple[str, ...]:
    """What a person is told of the idle watch on a machine that is off: it starts again with the machine, and can be
    taken away only where that can be entered."""
    instance, server, name = runtime.instance, runtime.server, runtime.name
    guard = server.idle if server is not None else None
    if instance is None or instance.kind != "gce" or guard is None or not guard.reboot:
        return ()
    after = duration(guard.after_s)
    return (
        f"the idle watch was left on the disk of {instance.name}, which is off: started again, it is "
        f"{SAID[guard.verb]} when nothing was used for {after}. "
        f"`remote-runtime up {name}` and then `down {name}` takes it away",
    )
