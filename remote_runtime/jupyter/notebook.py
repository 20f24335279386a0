"""Builds a notebook (nbformat 4.5) of recorded outputs: a code cell for each request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .outputs import OutputEvent

_JSON_TYPE = re.compile(r"application/(?:.*\+)?json")  # only these may hold more than text


def build_notebook(events: Iterable[OutputEvent]) -> dict[str, Any]:
    """Of the events of one kernel."""
    builder = NotebookBuilder()
    for event in events:
        builder.add(event)
    return builder.notebook()


class NotebookBuilder:
    """Applies events as Jupyter's pages do: merges streams, clears outputs, and updates displays."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[str, Any]] = {}
        self._to_clear: set[str] = set()
        self._displays: dict[str, list[dict[str, Any]]] = {}

    def notebook(self) -> dict[str, Any]:
        cells = [_finished(cell) for cell in self._cells.values()]
        return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}

    def cell_of(self, request: str) -> dict[str, Any] | None:
        """None if no event belongs to it."""
        cell = self._cells.get(request)
        return None if cell is None else _finished(cell)

    def add(self, event: OutputEvent) -> None:
        content = event.content
        cell = self._cell(event)
        if event.type == "execute_input":
            cell["source"], cell["execution_count"] = _text(content.get("code")), _count(content)
        elif event.type == "clear_output":
            if content.get("wait") is True:
                self._to_clear.add(event.request)
            else:
                cell["outputs"].clear()
        elif event.type == "update_display_data":
            self._update(content)
        else:
            if event.request in self._to_clear:
                self._to_clear.discard(event.request)
                cell["outputs"].clear()
            self._append(cell["outputs"], event.type, content)

    def _cell(self, event: OutputEvent) -> dict[str, Any]:
        cell = self._cells.get(event.request)
        if cell is None:
            metadata = {"remote_runtime": {"earlier_output_is_missing": True}} if event.earlier else {}
            cell = self._cells[event.request] = {
                "cell_type": "code",
                "id": hashlib.sha256(event.request.encode(errors="replace")).hexdigest()[:16],
                "execution_count": None,
                "metadata": metadata,
                "source": "",
                "outputs": [],
            }
        return cell

    def _append(self, outputs: list[dict[str, Any]], kind: str, content: Mapping[str, Any]) -> None:
        if kind == "stream":
            name = "stderr" if content.get("name") == "stderr" else "stdout"
            last = outputs[-1] if outputs else {}
            if last.get("output_type") == "stream" and last["name"] == name:
                last["text"].append(_text(content.get("text")))
            else:
                outputs.append({"output_type": "stream", "name": name, "text": [_text(content.get("text"))]})
        elif kind == "error":
            trace = content.get("traceback")
            lines = [_text(line) for line in trace] if isinstance(trace, list) else []
            names = {name: _text(content.get(name)) for name in ("ename", "evalue")}
            outputs.append({"output_type": "error", **names, "traceback": lines})
        elif kind in ("display_data", "execute_result"):
            output = {"output_type": kind, **_bundle(content)}
            if kind == "execute_result":
                output["execution_count"] = _count(content)
            outputs.append(output)
            display = _display_id(content)
            if display:
                self._displays.setdefault(display, []).append(output)

    def _update(self, content: Mapping[str, Any]) -> None:
        for output in self._displays.get(_display_id(content), ()):
            output.update(_bundle(content))


def _finished(cell: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [
        {**output, "text": "".join(output["text"])} if output["output_type"] == "stream" else output
        for output in cell["outputs"]
    ]
    return {**cell, "outputs": outputs}


def _display_id(content: Mapping[str, Any]) -> str:
    transient = content.get("transient")
    return str(transient.get("display_id") or "") if isinstance(transient, dict) else ""


def _bundle(content: Mapping[str, Any]) -> dict[str, Any]:
    data, metadata = content.get("data"), content.get("metadata")
    kept = data.items() if isinstance(data, dict) else ()
    return {
        "data": {name: value if _JSON_TYPE.fullmatch(name) else _text(value) for name, value in kept},
        "metadata": metadata if isinstance(metadata, dict) else {},
    }


def _count(content: Mapping[str, Any]) -> int | None:
    count = content.get("execution_count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _text(value: Any) -> str:
    """Some kernels send the lines of a text as a list."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else "" if value is None else str(value)
