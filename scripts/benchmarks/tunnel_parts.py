"""What ``scripts/bench tunnel`` measures of one tunnel in one round: name of the row → values."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from . import tunnel_candidates as candidates
from . import tunnel_loads as loads
from .tunnel_candidates import Place, Tunnel

Values = dict[str, list[float]]
SAMPLES_FOR_P99 = 10_000
_STREAM = "300M"
_GB = 0.3 * 1.048576  # iperf3's M is 2**20
_IDLE = 1000


@dataclass(frozen=True)
class Goal:
    """``ours`` divided by ``than``'s of the same row, or of ``other`` row of it where ``than`` is empty."""

    row: str
    than: str
    limit: float
    at_least: bool = False
    other: str = ""


def streams(tunnel: Tunnel) -> Values:
    before = tunnel.cpu_s()
    down = loads.stream(tunnel, "-R", "-n", _STREAM)
    middle = tunnel.cpu_s()
    up = loads.stream(tunnel, "-n", _STREAM)
    values = {"Download, MB/s": [down], "Upload, MB/s": [up]}
    if tunnel.process is not None:
        values["CPU for a GB down, s"] = [(middle - before) / _GB]
        values["CPU for a GB up, s"] = [(tunnel.cpu_s() - middle) / _GB]
    return values


def requests(tunnel: Tunnel) -> Values:
    one, _ = loads.closing_requests(tunnel, 1, 1)
    _, sixteen = loads.closing_requests(tunnel, 16, 1)
    return {
        "First byte, ms": [statistics.median(loads.first_bytes_ms(tunnel, 10))],
        "GET, p50 ms": [one[50]],
        "GETs a second, 16 at once": [sixteen],
        "wrk, 16 at once, a second": [loads.requests(tunnel, 16, 1)[1]],
        "wrk, 128 at once, a second": [loads.requests(tunnel, 128, 1)[1]],
    }


def echo_under_load(tunnel: Tunnel) -> Values:
    """All samples: percentiles are taken of those of all rounds."""
    times, _ = loads.echoes_beside_a_download(tunnel, SAMPLES_FOR_P99, after_s=0.3, within_s=2.2)
    return {"Echo beside a download": times}


def on_loopback(tunnel: Tunnel) -> Values:
    return {**streams(tunnel), **requests(tunnel), **echo_under_load(tunnel)}


def at_50_ms(tunnel: Tunnel) -> Values:
    one, _ = loads.closing_requests(tunnel, 1, 2)
    _, sixteen = loads.closing_requests(tunnel, 16, 2)
    idle = statistics.median(loads.echoes_ms(tunnel, 8, 2))
    beside, rate = loads.echoes_beside_a_download(tunnel, 40, after_s=2.0, within_s=1.7)
    return {
        "50 ms: GET, p50 ms": [one[50]],
        "50 ms: GETs a second, 16 at once": [sixteen],
        "50 ms: echo, p50 ms": [idle],
        "50 ms: echo beside a download, p50 ms": [statistics.median(beside)],
        "50 ms: that download, MB/s": [rate],
    }


def at_100_ms(tunnel: Tunnel) -> Values:
    return {
        "100 ms: download, MB/s": [loads.stream(tunnel, "-R", "-O2", "-t1")],
        "100 ms: upload, MB/s": [loads.stream(tunnel, "-O2", "-t1")],
    }


def with_idle_connections(name: str, place: Place) -> Values:
    """Of a tunnel that has done nothing before."""
    with candidates.ALL[name](place) as tunnel:
        at_rest, alone = tunnel.rss_mb(), statistics.median(loads.echoes_ms(tunnel, 300, 2))
        with loads.idle_connections(tunnel, _IDLE) as (opened, took_s):
            values = {
                "Memory at rest, MB": [at_rest],
                "1,000 idle: opened": [float(opened)],
                "1,000 idle: to open them, s": [took_s],
                "1,000 idle: memory more, MB": [tunnel.rss_mb() - at_rest],
                "Echo, p50 ms": [alone],
            }
            if opened == _IDLE:
                values["1,000 idle: echo, p50 ms"] = [statistics.median(loads.echoes_ms(tunnel, 300, 2))]
            return values


_ECHO = "Echo beside a download, p99 ms"
GOALS = (
    Goal("Download, MB/s", candidates.SSH, 1.0, at_least=True),
    Goal("Download, MB/s", candidates.AES_GCM, 0.95, at_least=True),
    Goal("Download, MB/s", candidates.SSHTUNNEL, 2.5, at_least=True),
    Goal("Upload, MB/s", candidates.SSH, 1.0, at_least=True),
    Goal("Upload, MB/s", candidates.AES_GCM, 1.2, at_least=True),
    Goal("CPU for a GB down, s", candidates.SSH, 0.8),
    Goal("CPU for a GB down, s", candidates.AES_GCM, 0.85),
    Goal("CPU for a GB up, s", candidates.SSH, 0.8),
    Goal("CPU for a GB up, s", candidates.AES_GCM, 0.85),
    Goal("GET, p50 ms", candidates.SSH, 0.02),
    Goal("GET, p50 ms", candidates.SESSION, 1.1),
    Goal("GETs a second, 16 at once", candidates.SSH, 10, at_least=True),
    Goal("GETs a second, 16 at once", candidates.SESSION, 0.95, at_least=True),
    Goal(_ECHO, candidates.SSH, 0.7),
    Goal("50 ms: echo beside a download, p50 ms", "", 1.3, other="50 ms: echo, p50 ms"),
    Goal("50 ms: that download, MB/s", candidates.SSH, 2.0, at_least=True),
    Goal("100 ms: download, MB/s", candidates.SSH, 2.5, at_least=True),
)
