"""The JSON documents of the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .cluster import cluster_document
from .price import cost_since

if TYPE_CHECKING:
    from .creation import CloudResource
    from .metrics import Connections, MachineLoad, RecordedOutputs, StreamStatus
    from .model import Runtime, TakeDownResult
    from .price import HourlyPrice


def runtime_document(runtime: Runtime) -> dict[str, Any]:
    """RUNTIME of the JSON output. Its ``url`` contains the token."""
    instance, server = runtime.instance, runtime.server
    return {
        "name": runtime.name,
        "state": runtime.state,
        "why": runtime.why,
        "url": runtime.url.reveal() if runtime.url and runtime.state != "down" else None,
        "local_port": runtime.local_port,
        "local_host": runtime.local_host,
        "target": dict(runtime.target),
        "instance": instance
        and {
            "name": instance.name,
            "zone": instance.zone,
            "project": instance.project,
            "status": instance.status,
            "running_since": instance.running_since or None,
            "project_from": instance.project_from or None,
            "zone_from": instance.zone_from or None,
            "credentials_from": instance.credentials_from or None,
            "via": instance.via or None,
        },
        "server": server
        and {
            "port": server.port,
            "socket": server.socket,
            "pid": server.pid,
            "jupyter_server": server.jupyter_server,
            "bridge": server.bridge or None,
            "attached": server.attached,
            "kernels": runtime.kernels,
            "busy_kernels": runtime.busy_kernels,
            "kernel_list": _kernels(runtime),
            "python": server.python,
            "interpreter": server.interpreter,
            "idle": server.idle and {**asdict(server.idle), "idle_s": runtime.idle_s},
            "gpus": [asdict(gpu) for gpu in server.gpus],
            "kernelspecs": [asdict(each) for each in server.kernelspecs],
            "missing_packages": list(server.missing_packages),
        },
        "price": runtime.price
        and price_document(runtime.price, runtime.price_since if runtime.state != "down" else ""),
        "forwards": [{"local": forward.local, "remote": forward.remote} for forward in runtime.forwards],
        "keeper_pid": (runtime.keeper_pid or None) if runtime.state != "down" else None,
        "since": (runtime.since or None) if runtime.state != "down" else None,
        "as_of": runtime.seen or None,
        "reconnects": runtime.reconnects,
        "last_outage": runtime.last_outage and dict(runtime.last_outage),
        "rtt_ms": runtime.rtt_ms and round(runtime.rtt_ms, 1),
        "load": runtime.load and _load(runtime.load),
        "traffic": asdict(runtime.traffic),
        "connections": _connections(runtime.connections),
        "streams": runtime.streams and _streams(runtime.streams),
        "page_requests": runtime.page_requests,
        "resources": [_resource(resource) for resource in runtime.resources],
        "outputs": runtime.outputs and _outputs(runtime.outputs),
        "cluster": runtime.cluster and cluster_document(runtime.cluster),
        "last_error": runtime.last_error and dict(runtime.last_error),
    }


def price_document(price: HourlyPrice, since: str) -> dict[str, Any]:
    """``since``: ISO 8601, from when the VM runs in this runtime; empty if it is not known to run."""
    return {
        "amount": round(price.amount, 6),
        "currency": price.currency,
        "provisioning": price.provisioning,
        "parts": [{"what": part.what, "amount": round(part.amount, 6)} for part in price.parts],
        "since": since or None,
        "estimate": round(cost_since(price, since), 6) if since else None,
    }


def _resource(resource: CloudResource) -> dict[str, str | None]:
    """What `up` created in the cloud. A snapshot has no zone."""
    return {
        "kind": resource.kind,
        "name": resource.name,
        "project": resource.project,
        "zone": resource.zone or None,
        "created_at": resource.created_at,
    }


def _kernels(runtime: Runtime) -> list[dict[str, Any]]:
    memory = runtime.load.kernel_memory if runtime.load else {}
    return [{**asdict(kernel), "memory_used": memory.get(kernel.id)} for kernel in runtime.kernel_list]


def _load(load: MachineLoad) -> dict[str, Any]:
    """A GPU's temperature is listed only if it is known; the kernels' memory is in their own list."""
    document = asdict(load)
    del document["kernel_memory"]
    for gpu in document["gpus"]:
        if gpu["temperature_c"] is None:
            del gpu["temperature_c"]
    return document


def _outputs(outputs: RecordedOutputs) -> dict[str, Any]:
    return {"requests": outputs.requests, "bytes": outputs.size, "paused": outputs.paused or None}


def _connections(connections: Connections) -> dict[str, int]:
    """Connections that were not served are listed only if there were any."""
    return {
        name: count for name, count in asdict(connections).items() if count or name in ("carried", "empty", "waiting")
    }


def _streams(streams: StreamStatus) -> dict[str, Any]:
    return {name: value if value != "" else None for name, value in asdict(streams).items()}


def take_down_document(result: TakeDownResult) -> dict[str, Any]:
    """One entry of ``stopped`` in `down`'s JSON."""
    return {
        "name": result.name,
        "tunnel": result.tunnel,
        "server": result.server,
        "instance": _status_word(result.instance),
        "remains": list(result.remains),
        **({} if result.checked else {"server_checked": False}),
        **({"notes": list(result.notes)} if result.notes else {}),
        **({"elsewhere": True} if result.elsewhere else {}),
        **({"instance_since": result.instance_since} if result.instance_since else {}),
        **({"price": price_document(result.price, result.price_since)} if result.price else {}),
    }


def _status_word(status: str | None) -> str | None:
    """``stopped`` for Compute Engine's TERMINATED, else its status in lower case."""
    return "stopped" if status == "TERMINATED" else status and status.lower()
