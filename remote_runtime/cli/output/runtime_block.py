"""One runtime of `status --watch`: its state, graphs, kernels and last log line, in the lines that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from . import format
from .console import MAX_CHARS, wrap
from .graphs import PLAIN_SIGNS, UNICODE_SIGNS, bar_graph, meter
from .history import History
from .log_lines import short_line
from .status_table import SILENT_BROWSER_NOTE, browser_is_silent
from .theme import STATE_STYLES, rich_style

if TYPE_CHECKING:
    from rich.text import Text

LABEL, VALUE, PEAK = 13, 14, 14  # columns
MIN_GRAPH_COLUMNS = 8
MAX_GRAPH_ROWS = 3
MAX_TROUBLE_LINES = 2
FEW_KERNELS = 4
WARNING_SHARE, ERROR_SHARE = 0.75, 0.9
MIN_LATENCY_TOP_MS = 50.0
MIN_RATE_TOP = 10 * 1024.0  # bytes per second


@fast_dataclass(frozen=True)
class Graph:
    """``value``: the current one, empty to leave the graph out. ``peak``: how its maximum is printed. ``top``: of the
    scale at least; 1 for shares. ``share``: of something that can be full, which decides the style. A ``is_meter`` has
    no history."""

    name: str
    value: str
    peak: Callable[[float], str] = format.percent
    top: float = 1.0
    share: float | None = None
    is_meter: bool = False

    @property
    def style(self) -> str:
        if self.share is None or self.share <= WARNING_SHARE:
            return "info"
        return "error" if self.share > ERROR_SHARE else "warning"


@fast_dataclass(frozen=True)
class RuntimeBlock:
    """``log``: the last line of its log. ``is_selected``: the keys act on it, and not on the others. ``is_plain``: draw
    in ASCII. Values of a machine that is not connected are dim."""

    runtime: Mapping[str, Any]
    history: History
    log: str = ""
    is_selected: bool = False
    is_plain: bool = False

    def draw(self, columns: int, lines: int) -> list[Text]:
        """At most ``lines`` lines: the more there is room, the more is shown, and the taller are the graphs."""
        head = [self._headline(), *self._troubles(columns)]
        if self.runtime["state"] == "down":
            return head[:lines]
        room = lines - len(head)
        graphs = [graph for graph in self._graphs() if graph.value][: max(0, room)]
        room -= len(graphs)
        kernels = self._sorted_kernels()
        kernel_lines = min(len(kernels), FEW_KERNELS, room - 1) if room > 1 else 0
        room -= kernel_lines + 1 if kernel_lines else 0
        log = [self._dim(f"log  {clean_line(short_line(self.log), MAX_CHARS)}")] if self.log else []
        facts = [self._dim(self._facts())]
        log, room = log[: max(0, room)], room - len(log[: max(0, room)])
        facts, room = facts[: max(0, room)], room - len(facts[: max(0, room)])
        gaps = min(3, max(0, room))
        room -= gaps
        graph_rows, tall = 1, sum(not graph.is_meter for graph in graphs)
        while tall and graph_rows < MAX_GRAPH_ROWS and room >= tall:
            graph_rows, room = graph_rows + 1, room - tall
        more_kernels = min(len(kernels) - kernel_lines, max(0, room)) if kernel_lines else 0
        parts = [
            [row for graph in graphs for row in self._rows(graph, columns, graph_rows)],
            self._kernel_table(kernels, kernel_lines + more_kernels, columns) if kernel_lines else [],
            log,
        ]
        drawn = [*head, *facts]
        for number, part in enumerate(filter(None, parts)):
            drawn += [self._dim("")] if number < gaps else []
            drawn += part
        return drawn[:lines]

    def _headline(self) -> Text:
        runtime = self.runtime
        state, style = runtime["state"], rich_style(STATE_STYLES.get(runtime["state"], ""))
        row = self._line()
        row.append(("> " if self.is_plain else "▸ ") if self.is_selected else "", style=rich_style("info"))
        row.append("* " if self.is_plain else "● ", style=style)
        row.append(clean_line(runtime["name"], 200), style=rich_style("heading"))
        row.append(f"  {state}", style=style)
        seen = runtime.get("as_of") or (runtime["load"] or {}).get("seen")
        if state not in ("ready", "starting") and seen:
            row.append(f"  last seen {format.duration_since(seen)} ago", style=rich_style("detail"))
        if state != "down":
            up = format.duration_since(runtime["since"])
            row.append("".join(f"  {part}" for part in (format.url(runtime), up and f"up {up}") if part))
        return row

    def _troubles(self, columns: int) -> Iterator[Text]:
        from rich.text import Text

        silent = SILENT_BROWSER_NOTE if browser_is_silent(self.runtime) else ""
        connections = format.waiting_connections(self.runtime), format.reset_connections(self.runtime)
        for trouble in filter(None, [self.runtime["why"], *connections, format.idle_failed(self.runtime), silent]):
            for line in wrap(clean_line(trouble, MAX_CHARS), max(20, columns - 2))[:MAX_TROUBLE_LINES]:
                yield Text(f"  {line}", style=rich_style("warning"), no_wrap=True, overflow="ellipsis")

    def _facts(self) -> str:
        is_ready, reconnects = self.runtime["state"] == "ready", self.runtime["reconnects"]
        on_for = format.on_for(self.runtime) if is_ready else ""
        facts = [
            format.machine(self.runtime),
            f"VM {on_for}" if on_for.startswith("is ") else f"VM up {on_for}" if on_for else "",
            format.gpu_names(self.runtime),
            format.cost(self.runtime),
            f"{reconnects} reconnect{'' if reconnects == 1 else 's'}" if reconnects else "",
        ]
        return clean_line(" · ".join(filter(None, facts)), MAX_CHARS)

    def _graphs(self) -> list[Graph]:
        runtime, load = self.runtime, self.runtime["load"] or {}
        gpus, cpu = load.get("gpus", ()), load.get("cpu")
        disk: Mapping[str, Any] = load.get("disk") or {}
        disk_share = disk["used"] / disk["total"] if disk.get("total") else None
        rates = {name: (self.history.last(name, 1) or [None])[0] for name in ("received", "sent")}
        return [
            Graph("CPU", "" if cpu is None else format.percent(cpu)),
            Graph(
                "disk",
                "" if disk_share is None else format.fraction(disk["used"], disk["total"]),
                share=disk_share,
                is_meter=True,
            ),
            Graph("memory", format.memory(runtime), share=_last(self.history, "memory")),
            Graph("GPU", _gpu(gpus) if gpus else ""),
            Graph("GPU memory", format.gpu_memory(gpus) if gpus else "", share=_last(self.history, "GPU memory")),
            Graph("latency", format.round_trip(runtime), "{:.0f} ms".format, MIN_LATENCY_TOP_MS),
            *(
                Graph(name, format.UNKNOWN_VALUE if rate is None else _rate(rate), _rate, MIN_RATE_TOP)
                for name, rate in rates.items()
            ),
        ]

    def _rows(self, graph: Graph, columns: int, rows: int) -> Iterator[Text]:
        is_current = self.runtime["state"] == "ready"
        signs = PLAIN_SIGNS if self.is_plain else UNICODE_SIGNS
        width = max(MIN_GRAPH_COLUMNS, columns - LABEL - VALUE - PEAK - 4)
        style = rich_style(graph.style if is_current else "detail")
        samples = self.history.last(graph.name, width)
        known = [sample for sample in samples if sample is not None]
        if graph.is_meter:
            filled, free = meter(graph.share or 0.0, width, signs)
            peak, pictures = f"{graph.share or 0.0:.0%} full".replace("%", " %"), [filled]
        else:
            top, free = max([graph.top, *known]), ""
            peak, pictures = f"max {graph.peak(max(known))}" if known else "", bar_graph(samples, top, rows, signs)
        for number, picture in enumerate(pictures):
            row = self._line()
            mark = " !" if graph.style == "error" else ""
            row.append(f"{graph.name + mark if number == 0 else '':<{LABEL}}", style=style if mark else "default")
            value_style = (graph.style if graph.style != "info" else "heading") if is_current else "detail"
            row.append(f"{graph.value if number == 0 else '':>{VALUE}}  ", style=rich_style(value_style))
            padding = width - len(picture) - len(free)
            row.append(picture, style=style)
            row.append(f"{free}{' ' * padding}  {peak if number == 0 else ''}", style=rich_style("detail"))
            yield row

    def _sorted_kernels(self) -> list[Mapping[str, Any]]:
        """The busy ones first, then the ones used last."""
        kernels: Sequence[Mapping[str, Any]] = (self.runtime["server"] or {}).get("kernel_list") or ()
        by_use = sorted(kernels, key=lambda kernel: str(kernel["last_activity"]), reverse=True)
        return sorted(by_use, key=lambda kernel: kernel["state"] != "busy")

    def _kernel_table(self, kernels: Sequence[Mapping[str, Any]], count: int, columns: int) -> Iterator[Text]:
        shown = f" ({count} of {len(kernels)})" if count < len(kernels) else ""
        width = max(20, min(60, columns - 36))
        yield self._dim(f"{'KERNEL' + shown:<{width}}  {'STATE':<10}  {'IDLE':<12}  MEMORY")
        for kernel in kernels[:count]:
            name = _kernel_title(kernel)
            is_idle, memory = kernel["state"] == "idle", kernel["memory_used"]
            idle = format.duration_since(kernel["last_activity"]) if is_idle and kernel["last_activity"] else ""
            row = self._line()
            row.append(f"{_shortened(clean_line(name, 200), width):<{width}}  ")
            row.append(f"{kernel['state']:<10}  ", style=rich_style("ok" if kernel["state"] == "busy" else "detail"))
            row.append(f"{idle:<12}  {'' if memory is None else format.size(memory)}")
            if self.runtime["state"] != "ready":
                row.stylize(rich_style("detail"))
            yield row

    def _dim(self, text: str) -> Text:
        row = self._line()
        row.append(text, style=rich_style("detail"))
        return row

    @staticmethod
    def _line() -> Text:
        from rich.text import Text

        return Text(no_wrap=True, overflow="ellipsis")


def busy_kernels(runtime: Mapping[str, Any]) -> list[str]:
    """The titles of the kernels that were busy at the last look."""
    kernels = (runtime["server"] or {}).get("kernel_list") or ()
    return [_kernel_title(kernel) for kernel in kernels if kernel["state"] == "busy"]


def _kernel_title(kernel: Mapping[str, Any]) -> str:
    return f"{kernel['path']} ({kernel['name']})" if kernel["path"] else str(kernel["name"])


def _gpu(gpus: Sequence[Mapping[str, Any]]) -> str:
    """Mean utilization, and the temperature of the hottest GPU where it is known."""
    temperatures = [each["temperature_c"] for each in gpus if each.get("temperature_c") is not None]
    return format.gpu_share(gpus) + (f" {max(temperatures):.0f} °C" if temperatures else "")


def _rate(bytes_per_s: float) -> str:
    return f"{format.size(bytes_per_s)}/s"


def _last(history: History, name: str) -> float | None:
    return (history.last(name, 1) or [None])[0]


def _shortened(text: str, columns: int) -> str:
    """The end of a path says more than its beginning."""
    return text if len(text) <= columns else f"…{text[-columns + 1 :]}"
