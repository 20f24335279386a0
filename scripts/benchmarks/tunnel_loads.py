"""What a notebook's user asks of a tunnel: one stream, many short connections, a keystroke beside a download."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator

from .tunnel_candidates import Tunnel

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
OPENED_WITHIN_S = 20.0
_ATTEMPTS = 4


def stream(tunnel: Tunnel, *options: str) -> float:
    """Megabytes a second of iperf3; ``-R`` for downwards."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(RuntimeError):  # its server may still be busy with the end of the one before
            return _stream(tunnel, *options)
        time.sleep(0.5)
    return _stream(tunnel, *options)


def _stream(tunnel: Tunnel, *options: str) -> float:
    return _mb_s(subprocess.run(_iperf3(tunnel, *options), capture_output=True, check=False).stdout)


def requests(tunnel: Tunnel, at_once: int, seconds: int) -> tuple[float, float]:
    """wrk: milliseconds of the median GET of 1 KB on a new connection, and how many of them a second."""
    done = subprocess.run(requests_command(tunnel, at_once, seconds), capture_output=True, text=True, check=True)
    return read_wrk(done.stdout)


def requests_command(tunnel: Tunnel, at_once: int, seconds: int) -> list[str]:
    where = f"http://{tunnel.address}:{tunnel.ports['http']}/"
    return ["wrk", "-t1", f"-c{at_once}", f"-d{seconds}s", "--timeout", "20s", "--latency", where]


def closing_requests_command(
    tunnel: Tunnel, at_once: int, seconds: int, *more: str, kind: str = "http", path: str = "/"
) -> list[str]:
    where = f"http://{tunnel.address}:{tunnel.ports[kind]}{path}"
    return ["ab", "-q", f"-c{at_once}", f"-t{seconds}", "-s20", *more, where]


def read_wrk(words: str) -> tuple[float, float]:
    median = re.search(r"50%\s+([\d.]+)(us|ms|s|m)\b", words)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", words)
    if median is None or rate is None:
        raise ValueError(f"wrk says {words!r}")
    return float(median[1]) * _UNITS_MS[median[2]], float(rate[1])


def closing_requests(
    tunnel: Tunnel, at_once: int, seconds: int, kind: str = "http", path: str = "/", most: int = 1_000_000
) -> tuple[list[float], float]:
    """ab, which reads each answer until the server has closed: percentiles 0 to 99 in milliseconds, and how many a
    second. It ends earlier after ``most`` requests."""
    with tempfile.NamedTemporaryFile("r", suffix=".csv") as found:
        command = closing_requests_command(
            tunnel, at_once, seconds, f"-n{most}", "-e", found.name, kind=kind, path=path
        )
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = [line.split(",") for line in found.read().splitlines()[1:]]
    rate = re.search(r"Requests per second:\s+([\d.]+)", done.stdout)
    if rate is None:
        raise ValueError(f"ab says {done.stdout!r}")
    return [float(value) for _, value in rows], float(rate[1])


def first_bytes_ms(tunnel: Tunnel, count: int) -> list[float]:
    """From connecting to the first byte of the answer, one after the other."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        with connected(tunnel, "http") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(1)
            times.append(1000 * (time.perf_counter() - start))
            while connection.recv(1 << 16):
                pass
    return times


def echoes_ms(tunnel: Tunnel, count: int, within_s: float) -> list[float]:
    """Round trips of 100 bytes on one connection, as many as there is time for."""
    with connected(tunnel, "echo") as connection:
        _echo(connection)
        end = time.monotonic() + within_s
        times: list[float] = []
        while len(times) < count and time.monotonic() < end:
            times.append(_echo(connection))
        return times


def echoes_beside_a_download(
    tunnel: Tunnel, count: int, *, after_s: float, within_s: float
) -> tuple[list[float], float]:
    """The round trips while iperf3 downloads at full speed, and its megabytes a second meanwhile."""
    seconds = f"{within_s:g}"
    download = subprocess.Popen(
        _iperf3(tunnel, "-R", "-O", f"{after_s:g}", "-t", seconds), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        time.sleep(after_s + 0.2)
        times = echoes_ms(tunnel, count, within_s - 0.4)
        output, _ = download.communicate(timeout=60)
        return times, _mb_s(output)
    finally:
        download.kill()
        download.wait()


@contextlib.contextmanager
def idle_connections(tunnel: Tunnel, count: int) -> Iterator[tuple[int, float]]:
    """How many of them were opened, and used once, in reasonable time; in how many seconds."""
    allow_open_files()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        opened = 0
        with contextlib.suppress(OSError):
            while opened < count and time.monotonic() - start < OPENED_WITHIN_S:
                _echo(stack.enter_context(connected(tunnel, "echo")))
                opened += 1
        yield opened, time.monotonic() - start


def allow_open_files() -> None:
    """As many as some thousand connections need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def iperf3_command(tunnel: Tunnel, *options: str) -> list[str]:
    return ["iperf3", "-c", tunnel.address, "-p", str(tunnel.ports["iperf"]), *options]


def _iperf3(tunnel: Tunnel, *options: str) -> list[str]:
    return [*iperf3_command(tunnel, *options), "-J"]


def _mb_s(output: bytes) -> float:
    found = json.loads(output)
    if "error" in found:
        raise RuntimeError(f"iperf3: {found['error']}")
    return float(found["end"]["sum_received"]["bits_per_second"]) / 8e6


def _echo(connection: socket.socket) -> float:
    start = time.perf_counter()
    connection.sendall(bytes(100))
    left = 100
    while left:
        count = len(connection.recv(left))
        if not count:
            raise ConnectionError("the echo has ended")
        left -= count
    return 1000 * (time.perf_counter() - start)


def connected(tunnel: Tunnel, kind: str) -> socket.socket:
    connection = socket.create_connection((tunnel.address, tunnel.ports[kind]), timeout=OPENED_WITHIN_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
