"""What ``scripts/bench tunnel`` measures of a tunnel to a Jupyter server in one round: name of the row → values."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from . import jupyter_loads as loads
from . import tunnel_candidates as candidates
from .tunnel_candidates import Place, Tunnel
from .tunnel_loads import closing_requests
from .tunnel_parts import Goal, Values


@dataclass(frozen=True)
class Amount:
    """``near_bytes``, ``far_bytes``: of a transfer; ``seconds``: of what is repeated; ``settle_s``: until a download
    is at its speed; ``requests``, ``cells``, ``idle``: how many."""

    near_bytes: int = 300 << 20
    far_bytes: int = 100 << 20
    seconds: float = 2.0
    settle_s: float = 2.0
    requests: int = 1_000_000
    cells: int = 100
    idle: int = 1000


SHORT = Amount(1 << 20, 1 << 20, 0.2, 0.1, 128, 3, 20)
_SAMPLES = 10_000


class JupyterParts:
    """``jupyter``: see ``tunnel_machine``."""

    def __init__(self, amount: Amount, place: Place) -> None:
        self._amount = amount
        self._place = place

    def on_loopback(self, tunnel: Tunnel) -> Values:
        amount = self._amount
        before = tunnel.cpu_s()
        down = loads.download(tunnel, amount.near_bytes)
        middle = tunnel.cpu_s()
        up = loads.upload(tunnel, self._place.jupyter, amount.near_bytes)
        after = tunnel.cpu_s()
        _, many = self._ab(tunnel, 128)
        beside, _ = loads.echoes_beside_a_download(
            tunnel, _SAMPLES, after_s=amount.settle_s / 4, within_s=amount.seconds
        )
        values = {
            "Jupyter: download, MB/s": [down],
            "Jupyter: upload, MB/s": [up],
            **self._requests("Jupyter: ", tunnel),
            "Jupyter: GETs a second, 128 at once": [many],
            "Jupyter: echo": loads.echoes_ms(tunnel, _SAMPLES, amount.seconds),
            "Jupyter: echo beside a download": beside,
            "Jupyter: a cell, p50 ms": [statistics.median(loads.cells_ms(tunnel, self._place.jupyter, amount.cells))],
        }
        if tunnel.process is not None:
            values["Jupyter: CPU for a GB down, s"] = [(middle - before) / amount.near_bytes * 1e9]
            values["Jupyter: CPU for a GB up, s"] = [(after - middle) / amount.near_bytes * 1e9]
        return values

    def at_50_ms(self, tunnel: Tunnel) -> Values:
        return self._far("Jupyter, 50 ms: ", tunnel)

    def at_100_ms(self, tunnel: Tunnel) -> Values:
        return self._far("Jupyter, 100 ms: ", tunnel)

    def with_idle_websockets(self, name: str) -> Values:
        """Of a tunnel that has done nothing before."""
        amount = self._amount
        with candidates.ALL[name](self._place) as tunnel:
            alone = statistics.median(loads.echoes_ms(tunnel, 300, amount.seconds))
            before = tunnel.rss_mb()
            with loads.idle_websockets(tunnel, amount.idle) as (opened, took_s):
                values = {
                    "Jupyter, 1,000 idle: opened": [float(opened)],
                    "Jupyter, 1,000 idle: to open them, s": [took_s],
                    "Jupyter, 1,000 idle: memory more, MB": [tunnel.rss_mb() - before],
                    "Jupyter, 1,000 idle: SSH connections": [float(tunnel.connection_count(self._place.ports["ssh"]))],
                    "Jupyter, none idle: echo, p50 ms": [alone],
                }
                if opened == amount.idle:
                    values[_IDLE_ECHO] = [statistics.median(loads.echoes_ms(tunnel, 300, amount.seconds))]
                return values

    def _far(self, prefix: str, tunnel: Tunnel) -> Values:
        amount = self._amount
        idle = statistics.median(loads.echoes_ms(tunnel, 12, amount.seconds))
        beside, rate = loads.echoes_beside_a_download(tunnel, 40, after_s=amount.settle_s, within_s=amount.seconds)
        return {
            **self._requests(prefix, tunnel),
            f"{prefix}download, MB/s": [loads.download(tunnel, amount.far_bytes)],
            f"{prefix}upload, MB/s": [loads.upload(tunnel, self._place.jupyter, amount.far_bytes)],
            f"{prefix}echo, p50 ms": [idle],
            f"{prefix}echo beside a download, p50 ms": [statistics.median(beside)],
            f"{prefix}that download, MB/s": [rate],
        }

    def _requests(self, prefix: str, tunnel: Tunnel) -> Values:
        one, _ = self._ab(tunnel, 1)
        _, sixteen = self._ab(tunnel, 16)
        return {f"{prefix}GET, p50 ms": [one[50]], f"{prefix}GETs a second, 16 at once": [sixteen]}

    def _ab(self, tunnel: Tunnel, at_once: int) -> tuple[list[float], float]:
        seconds = math.ceil(self._amount.seconds)
        return closing_requests(tunnel, at_once, seconds, loads.KIND, loads.SMALL, self._amount.requests)


_IDLE_ECHO = "Jupyter, 1,000 idle: echo, p50 ms"
GOALS = (
    *(
        Goal(f"Jupyter: {row}", candidates.SSH, 1.0, at_least=more)
        for row, more in (
            ("download, MB/s", True),
            ("upload, MB/s", True),
            ("CPU for a GB down, s", False),
            ("CPU for a GB up, s", False),
            ("GET, p50 ms", False),
            ("GETs a second, 16 at once", True),
            ("GETs a second, 128 at once", True),
            ("echo, p50 ms", False),
            ("echo beside a download, p50 ms", False),
            ("a cell, p50 ms", False),
        )
    ),
    Goal("Jupyter: a cell, p50 ms", candidates.CHANNELS, 1.15),
    Goal("Jupyter: download, MB/s", candidates.CHANNELS, 0.8, at_least=True),
    Goal("Jupyter: upload, MB/s", candidates.CHANNELS, 0.8, at_least=True),
    Goal(_IDLE_ECHO, "", 1.5, other="Jupyter, none idle: echo, p50 ms"),
    *(
        goal
        for at in ("Jupyter, 50 ms: ", "Jupyter, 100 ms: ")
        for goal in (
            Goal(f"{at}download, MB/s", candidates.AES_GCM, 2.5, at_least=True),
            Goal(f"{at}upload, MB/s", candidates.AES_GCM, 2.5, at_least=True),
            Goal(f"{at}echo beside a download, p50 ms", "", 1.3, other=f"{at}echo, p50 ms"),
        )
    ),
)
