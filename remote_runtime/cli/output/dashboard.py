"""`status --watch`: each runtime with graphs of its last minutes, in the size of the terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.sanitize import clean_line
from . import format
from .console import MAX_CHARS
from .status_table import NO_RUNTIME, SILENT_BROWSER_NOTE, browser_is_silent
from .theme import STATE_STYLES, rich_style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

BARS = " ▁▂▃▄▅▆▇█"
PLAIN_BARS = " .:-=+*#@"
MAX_SAMPLES = 600
LABEL, VALUE = 12, 18  # columns
KEYS = "q quits · p pauses · looks every {:g} s"


@dataclass
class History:
    """The samples of one runtime, oldest first; None where a value was unknown."""

    samples: dict[str, deque[float | None]] = field(default_factory=dict)
    traffic: tuple[float, int, int] | None = None

    def add(self, name: str, value: float | None) -> None:
        self.samples.setdefault(name, deque(maxlen=MAX_SAMPLES)).append(value)

    def last(self, name: str, count: int) -> list[float | None]:
        return list(self.samples.get(name, ()))[-count:]


@dataclass
class Dashboard:
    """A rich renderable that keeps the history of runtimes. ``full_screen``: it fills all lines of the console."""

    every_s: float = 1.0
    full_screen: bool = False
    paused: bool = False
    plain: bool = False
    _runtimes: Sequence[Mapping[str, Any]] = ()
    _histories: dict[str, History] = field(default_factory=dict)

    def update(self, runtimes: Sequence[Mapping[str, Any]], at_s: float) -> None:
        """``runtimes``: what `status` returns; ``at_s``: the time on a monotonic clock."""
        self._runtimes = runtimes
        for runtime in runtimes:
            history = self._histories.setdefault(runtime["name"], History())
            is_ready = runtime["state"] == "ready"
            history.add("round trip", runtime["rtt_ms"] if is_ready else None)
            sent, received = self._rates(history, runtime, at_s)
            history.add("received", received)
            history.add("sent", sent)
            load = runtime["load"] if is_ready else None
            gpus = load["gpus"] if load else ()
            history.add("gpu", format.mean_busy(gpus))
            history.add("gpu memory", _memory_share(gpus))
            history.add("memory", _memory_share([load] if load else []))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        columns, lines = options.max_width, console.size.height - 1 if self.full_screen else MAX_SAMPLES
        blocks = [list(self._block(runtime, columns)) for runtime in self._runtimes]
        while sum(len(block) + 1 for block in blocks) > lines and any(len(block) > 2 for block in blocks):
            max(blocks, key=len).pop()
        rows = [row for block in blocks for row in [*block, Text()]][:lines]
        yield from rows if blocks else [Text(NO_RUNTIME)]
        for _ in range(lines - max(1, len(rows)) if self.full_screen else 0):
            yield Text()
        key_help = KEYS.format(self.every_s) + (" · paused" if self.paused else "")
        style = "reverse" if self.paused else rich_style("heading")
        yield Text(key_help, style=style, no_wrap=True, overflow="ellipsis")

    def _rates(self, history: History, runtime: Mapping[str, Any], at_s: float) -> tuple[float | None, float | None]:
        """Bytes per second since the last update. None after a restart of the keeper, whose counts begin at 0."""
        now = (at_s, runtime["traffic"]["sent"], runtime["traffic"]["received"])
        before, history.traffic = history.traffic, now
        if before is None or at_s <= before[0] or now[1] < before[1] or now[2] < before[2]:
            return None, None
        return (now[1] - before[1]) / (at_s - before[0]), (now[2] - before[2]) / (at_s - before[0])

    def _block(self, runtime: Mapping[str, Any], columns: int) -> Iterator[Text]:
        from rich.text import Text

        name = clean_line(runtime["name"], 200)
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(name, style=rich_style("heading"))
        head.append("  ")
        head.append(runtime["state"], style=rich_style(STATE_STYLES.get(runtime["state"], "")))
        up = format.duration_since(runtime["since"]) if runtime["state"] != "down" else ""
        for part in (format.url(runtime), f"up {up}" if up else ""):
            head.append(f"  {part}" if part else "")
        yield head
        yield Text(clean_line(" · ".join(_facts(runtime)), MAX_CHARS), no_wrap=True, overflow="ellipsis")
        silent = SILENT_BROWSER_NOTE if browser_is_silent(runtime) else ""
        for trouble in filter(None, [runtime["why"], format.idle_failed(runtime), silent]):
            yield Text(clean_line(trouble, MAX_CHARS), style=rich_style("heading"))
        yield from self._graphs(runtime, columns)

    def _graphs(self, runtime: Mapping[str, Any], columns: int) -> Iterator[Text]:
        history, count = self._histories[runtime["name"]], max(8, columns - LABEL - VALUE - 2)
        load = runtime["load"] or {}
        gpus = load.get("gpus", ())
        speed = "{}/s".format
        yield self._graph("round trip", format.round_trip(runtime), history.last("round trip", count), None)
        for name in ("received", "sent"):
            rates = history.last(name, count)
            now = rates[-1] if rates and rates[-1] is not None else None
            yield self._graph(name, "" if now is None else speed(format.size(now)), rates, None)
        if gpus:
            busy = history.last("gpu", count)
            yield self._graph("GPU", format.gpu_share(gpus), busy, 1.0)
            yield self._graph("GPU memory", format.gpu_memory(gpus), history.last("gpu memory", count), 1.0)
        if load:
            yield self._graph("memory", format.memory(runtime), history.last("memory", count), 1.0)

    def _graph(self, label: str, value: str, samples: Sequence[float | None], full: float | None) -> Text:
        from rich.text import Text

        row = Text(no_wrap=True, overflow="crop")
        row.append(f"{label:<{LABEL}}")
        row.append(f"{value:>{VALUE}}", style=rich_style("heading"))
        row.append("  ")
        row.append(bar_graph(samples, full, PLAIN_BARS if self.plain else BARS))
        return row


def bar_graph(samples: Sequence[float | None], full: float | None, signs: str = BARS) -> str:
    """One character per sample, as high as its share of ``full`` (None: of the maximum); blank for None."""
    values = [sample for sample in samples if sample is not None]
    top = full if full is not None else max(values, default=0.0)
    steps = len(signs) - 1

    def sign(sample: float | None) -> str:
        if sample is None:
            return signs[0]
        return signs[max(1, min(steps, round(sample / top * steps)))] if top > 0 else signs[1]

    return "".join(map(sign, samples))


def svg(dashboard: Dashboard, *, columns: int, title: str) -> str:
    """The dashboard as SVG, as drawn on a dark terminal of this width."""
    import io

    from rich.console import Console

    nowhere = io.StringIO()
    console = Console(record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor")
    console.print(dashboard)
    return console.export_svg(title=title)


def _facts(runtime: Mapping[str, Any]) -> list[str]:
    is_seen = runtime["state"] == "ready"
    on_for, kernels = (format.on_for(runtime), format.kernels(runtime)) if is_seen else ("", "")
    reconnects = runtime["reconnects"]
    facts = [
        format.machine(runtime),
        f"VM {on_for}" if on_for.startswith("is ") else f"VM on for {on_for}" if on_for else "",
        format.gpu_names(runtime),
        f"{kernels} kernel{'' if kernels == '1' else 's'}"
        if kernels.isdecimal()
        else f"kernels: {kernels}" * bool(kernels),
        f"{reconnects} reconnect{'' if reconnects == 1 else 's'}" if reconnects else "",
    ]
    return [fact for fact in facts if fact]


def _memory_share(holders: Sequence[Mapping[str, Any]]) -> float | None:
    known = format.known_memory(holders)
    return sum(used for used, _ in known) / sum(total for _, total in known) if known else None
