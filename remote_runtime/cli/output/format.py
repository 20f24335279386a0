"""Formats numbers, times and the fields of RUNTIME documents."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.durations import duration_since as duration_since
from ...core.price import money as money

UNKNOWN_VALUE = "–"
NO_CREDENTIALS = "no credentials"  # of an emulator
SIZES = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def seconds(duration_s: float, *, least: float = 0.0) -> str:
    """A measured time; empty below ``least``."""
    if duration_s < least:
        return ""
    if duration_s >= 60:
        return f"{duration_s // 60:.0f} min {duration_s % 60:.0f} s"
    return f"{duration_s:.1f} s" if duration_s < 9.95 else f"{duration_s:.0f} s"


def machine(runtime: Mapping[str, Any]) -> str:
    instance = runtime["instance"]
    if not instance:
        return ""
    return f"{instance['name']} ({instance['zone']})" if instance["zone"] else str(instance["name"])


def last_seen(runtime: Mapping[str, Any]) -> str:
    """When the machine of a runtime that is not connected was last seen, and its status then."""
    instance, moment = runtime["instance"], runtime.get("as_of")
    if runtime["state"] in ("ready", "starting") or not moment or not (instance or runtime["server"]):
        return ""
    ago = f"{duration_since(moment)} ago"
    dated = "" if runtime["state"] == "down" else f"figures from {ago}"
    if not instance or runtime["target"].get("kind") not in ("gce", "demo"):
        return dated or f"last seen {ago}"
    status = instance["status"].lower()
    return f"{dated}, when {instance['name']} was {status}" if dated else f"{instance['name']} was {status} {ago}"


def waiting_connections(runtime: Mapping[str, Any]) -> str:
    """The open connections that continue over the next SSH connection."""
    streams = runtime.get("streams") or {}
    count = streams.get("waiting", 0)
    if not count or runtime["state"] == "down":
        return ""
    subject = "1 open connection is" if count == 1 else f"{count} open connections are"
    return f"{subject} waiting ({duration_since(streams['since'])}) and will continue after the reconnect"


def reset_connections(runtime: Mapping[str, Any]) -> str:
    """Why open connections could not be kept in the last outage."""
    streams = runtime.get("streams") or {}
    outage = runtime["last_outage"] or {}
    if not streams.get("reset") or runtime["state"] == "down" or streams["at"] < str(outage.get("at", "")):
        return ""
    count = streams["reset"]
    subject = "1 connection was reset" if count == 1 else f"{count} connections were reset, the last"
    return f"{subject} {duration_since(streams['at'])} ago: {streams['why']}"


def recorded_outputs(runtime: Mapping[str, Any]) -> str:
    """How much was recorded while no page was open, or why nothing can be."""
    outputs = runtime.get("outputs") or {}
    if runtime["state"] == "down" or not outputs.get("requests"):
        return ""
    count = outputs["requests"]
    requests = "1 request" if count == 1 else f"{count} requests"
    show = f"show them: `remote-runtime outputs {shlex.quote(runtime['name'])}`"
    return f"outputs recorded: {requests}, {size(outputs['bytes'])}; {show}"


def recording_paused(runtime: Mapping[str, Any]) -> str:
    outputs = runtime.get("outputs") or {}
    why = "" if runtime["state"] == "down" else outputs.get("paused")
    return f"outputs are not recorded while no page is open: {why}" if why else ""


def on_for(runtime: Mapping[str, Any]) -> str:
    """How long a cloud machine has been running, or its status."""
    instance = runtime["instance"]
    if not instance or runtime["target"].get("kind") not in ("gce", "demo"):
        return ""
    if instance["status"] != "RUNNING":
        return "" if instance["status"] == "GONE" else f"is {instance['status'].lower()}"
    return duration_since(instance.get("running_since"))


def hourly_price(price: Mapping[str, Any] | None) -> str:
    """``$0.87/h``; empty if it is not known."""
    return f"{money(price['amount'], price['currency'])}/h" if price else ""


def cost(runtime: Mapping[str, Any]) -> str:
    """The price of an hour, and what the VM has cost so far."""
    price = runtime.get("price")
    if not price:
        return ""
    so_far = price["estimate"]
    return hourly_price(price) + ("" if so_far is None else f", {money(so_far, price['currency'])} so far")


def url(runtime: Mapping[str, Any]) -> str:
    """The URL without the token."""
    return f"http://{runtime.get('local_host', 'localhost')}:{runtime['local_port']}/" if runtime["local_port"] else ""


def kernels(runtime: Mapping[str, Any]) -> str:
    server = runtime["server"]
    if not server or server["kernels"] is None:
        return ""
    busy = server.get("busy_kernels")
    return f"{server['kernels']}, {busy} busy" if busy else str(server["kernels"])


def round_trip(runtime: Mapping[str, Any]) -> str:
    return "" if runtime["rtt_ms"] is None else f"{runtime['rtt_ms']:.0f} ms"


def gpu(runtime: Mapping[str, Any]) -> str:
    """Mean utilization and memory of all GPUs."""
    gpus = (runtime.get("load") or {}).get("gpus", ())
    if not gpus:
        return ""
    return f"{f'{len(gpus)}× ' if len(gpus) > 1 else ''}{gpu_share(gpus)} {gpu_memory(gpus)}"


def gpu_share(gpus: Sequence[Mapping[str, Any]]) -> str:
    """The mean of the GPUs that report their utilization."""
    busy = mean_busy(gpus)
    return UNKNOWN_VALUE if busy is None else percent(busy)


def gpu_memory(gpus: Sequence[Mapping[str, Any]]) -> str:
    """The sum of the GPUs that report their memory."""
    known = known_memory(gpus)
    return fraction(sum(used for used, _ in known), sum(total for _, total in known)) if known else UNKNOWN_VALUE


def mean_busy(gpus: Sequence[Mapping[str, Any]]) -> float | None:
    busy = [each["busy"] for each in gpus if each["busy"] is not None]
    return sum(busy) / len(busy) if busy else None


def known_memory(holders: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Used and total bytes of those that report both."""
    pairs = [(each["memory_used"], each["memory_total"]) for each in holders]
    return [(used, total) for used, total in pairs if used is not None and total]


def gpu_names(runtime: Mapping[str, Any]) -> str:
    """The GPUs that the launcher found, or those in the load report."""
    gpus = (runtime["server"] or {}).get("gpus") or (runtime.get("load") or {}).get("gpus", ())
    counted = Counter(str(each["name"]) for each in gpus)
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counted.items())


def machine_and_gpus(runtime: Mapping[str, Any]) -> str:
    through = "through IAP" if (runtime["instance"] or {}).get("via") == "iap" else ""
    return ", ".join(filter(None, [machine(runtime), through, gpu_names(runtime)]))


def value_sources(runtime: Mapping[str, Any]) -> str:
    """The project, zone and credentials that were not named in the profile, and where they were found."""
    instance = runtime["instance"] or {}
    if runtime["target"].get("kind") == "demo":
        return ""  # it uses nothing of the user's
    texts = [
        f"{what} {instance.get(key) or ''}".rstrip() + f" from {instance[source]}"
        for what, key, source in (
            ("project", "project", "project_from"),
            ("zone", "zone", "zone_from"),
            ("credentials", "", "credentials_from"),
        )
        if instance.get(source) not in (None, "", "the profile", NO_CREDENTIALS)
    ]
    return " · ".join(texts)


def extra_ports(runtime: Mapping[str, Any]) -> str:
    """The extra forwards, which have no token."""
    extras = runtime["forwards"][1:]
    if not extras or runtime["state"] == "down":
        return ""
    urls = ", ".join(f"http://localhost:{each['local']} → {each['remote']}" for each in extras)
    return f"also forwarded, without a token (any program on this computer can use it): {urls}"


def idle_failed(runtime: Mapping[str, Any]) -> str:
    """Why the idle stop that the profile asks for failed."""
    idle = (runtime["server"] or {}).get("idle") or {}
    if not idle.get("failed") or runtime["state"] != "ready":
        return ""
    if idle["do"] == "stop-server":
        return f"idle, but Jupyter could not be stopped: {idle['failed']}"
    verb = "suspended" if idle["verb"] == "suspend" else "stopped"
    stop = f". Stop it: remote-runtime down {runtime['name']} --stop-instance" if _is_cloud(runtime) else ""
    return f"idle, but the VM could not be {verb}, and it keeps running: {idle['failed']}{stop}"


def _is_cloud(runtime: Mapping[str, Any]) -> bool:
    return bool(runtime["target"].get("kind") == "gce")


def memory(runtime: Mapping[str, Any]) -> str:
    load = runtime.get("load")
    return fraction(load["memory_used"], load["memory_total"]) if load and load["memory_total"] else ""


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def fraction(used: float, total: float) -> str:
    """``12/40 GB``: both numbers in the unit of the second."""
    unit_bytes, unit = _unit(total)
    return f"{_number(used / unit_bytes)}/{_number(total / unit_bytes)} {unit}"


def size(count: float) -> str:
    unit_bytes, unit = _unit(count)
    return f"{_number(count / unit_bytes)} {unit}"


def _unit(count: float) -> tuple[int, str]:
    return next(((unit_bytes, unit) for unit_bytes, unit in SIZES if count >= unit_bytes), (1, "B"))


def _number(value: float) -> str:
    return f"{value:.1f}" if 0 < value < 9.95 and value != int(value) else f"{value:.0f}"
