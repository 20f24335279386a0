"""The machine's idle watchdog on this side: the request for it, its description, and notes for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.model import IdleWatchdog, Runtime
from ..core.profile import IdleSettings
from ..core.sanitize import clean_line
from ..launcher.call import invalid_reply

METHODS = ("here", "service-account", "power-off", "none")
PAST_TENSE = {"stop": "stopped", "suspend": "suspended", "end": "ended"}
VERBS = {"stop": "stops", "suspend": "suspends", "end": "ends"}


def parse_watchdog(reply: Any, idle: IdleSettings) -> IdleWatchdog | None:
    """Raises ``MachineError`` ``machine-answer-invalid``."""
    match reply:
        case {"how": str(how), "verb": str(verb), "why": str(why), "reboot": str(reboot)} if idle.after_s is not None:
            if how in METHODS and verb in PAST_TENSE and reboot in ("", "cron", "systemd"):
                watchdog = IdleWatchdog(idle.after_s, idle.do, how, verb, clean_line(why, 300), reboot)
                failed = clean_line(str(reply.get("failed") or ""), 400)
                return replace(watchdog, local_ssd=reply.get("local_ssd") is True, failed=failed)
    if reply:
        raise invalid_reply("invalid description of its watchdog")
    return None


def describe(watchdog: IdleWatchdog) -> tuple[str, ...]:
    """Notes for people: what the watchdog will do, and its limits."""
    after = f"after {format_duration(watchdog.after_s)} without activity"
    if watchdog.how == "none":
        return (f"Idle stop does not work here: {watchdog.why}. The machine stays running and billing",)
    if watchdog.how == "here":
        return (f"The watchdog stops Jupyter and its kernels {after}",)
    method = "with its own service account" if watchdog.how == "service-account" else "by powering off"
    notes = [
        f"The watchdog {VERBS[watchdog.verb]} the machine {after}, {method}",
        "Background jobs count as activity while they use the processor or GPU; jobs that only wait, for the network "
        "for example, don't",
    ]
    if watchdog.local_ssd and watchdog.verb == "stop":
        notes.append("Stopping it deletes the data on its Local SSD")
    if watchdog.failed:
        notes.append(f"The last attempt failed: {watchdog.failed}")
    if watchdog.do == "suspend-instance" and watchdog.verb == "stop":
        notes.append(f"It can't suspend itself ({watchdog.why}), so it stops, and its memory is lost")
    if not watchdog.reboot:
        notes.append(
            "A reboot of the machine ends the watchdog until the next `up`: it has neither cron nor a lingering user"
        )
    return tuple(notes)


def format_duration(seconds: float) -> str:
    """``2h``, ``90s``: as in profiles."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def watchdog_request(idle: IdleSettings) -> Mapping[str, Any] | None:
    """The rule as in the launcher's request."""
    return None if idle.after_s is None else {"after_s": idle.after_s, "do": idle.do}


def watchdog_left_on_disk(runtime: Runtime) -> tuple[str, ...]:
    """A note about the watchdog of an instance that is off: it starts again with the instance, and can be removed only
    when it runs."""
    instance, server = runtime.instance, runtime.server
    watchdog = server.idle if server is not None else None
    if instance is None or instance.kind != "gce" or watchdog is None or not watchdog.reboot:
        return ()
    after = format_duration(watchdog.after_s)
    return (
        f"The idle watchdog is still on the disk of {instance.name}, which is off. Started again, it is "
        f"{PAST_TENSE[watchdog.verb]} after {after} without activity. "
        "`remote-runtime up PROFILE`, then `remote-runtime down PROFILE` remove it",
    )
