"""`outputs`: shows what kernels published while no page was open, or writes it as a notebook."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import LocalError, UsageError
from ..core.private_file import write_private
from ..jupyter.notebook import build_notebook
from ..jupyter.outputs import OutputEvent, OutputRecord, RecordedKernel, open_record
from .context import CommandContext
from .runtime_endpoint import endpoint_of

OPEN_TIMEOUT_S = 20.0


@contextlib.contextmanager
def recorded_outputs(
    name: str, context: CommandContext, *, kernel: str = "", follow: bool = False
) -> Iterator[OutputRecord]:
    """The record of a runtime. ``kernel``: the beginning of a kernel's id, which is unique. Raises ``LocalError``
    ``not-up``, ``UsageError`` for such a beginning, ``HealthError``, ``MachineError`` ``outputs-not-recorded``."""
    endpoint = endpoint_of(name, context)
    if kernel:
        with open_record(endpoint, Deadline(OPEN_TIMEOUT_S)) as record:
            kernel = _only_kernel(record.kernels, kernel).id
    with open_record(endpoint, Deadline(OPEN_TIMEOUT_S), kernel=kernel, follow=follow) as record:
        yield record


@contextlib.contextmanager
def outputs_of_run(name: str, context: CommandContext, run: str) -> Iterator[RunOutputs]:
    """Of code that `exec --detach` has started. ``run``: the beginning of its id. Raises as ``recorded_outputs``, and
    ``LocalError`` ``no-outputs`` if nothing of it is recorded."""
    with recorded_outputs(name, context) as record:
        outputs = RunOutputs(event for event in record.events if event.request.startswith(run))
        if outputs.first is None:
            why = "it may wait for other code of its kernel"
            raise LocalError("no-outputs", f"No outputs of a run {run:.40} are recorded", why)
        yield outputs


class RunOutputs:
    """``events``: read once. ``status``: the exit status, once they are read; None if the code has not ended then."""

    def __init__(self, events: Iterator[OutputEvent]) -> None:
        self.first = next(events, None)
        self.status: int | None = None
        self._rest = events

    def __iter__(self) -> Iterator[OutputEvent]:
        for event in itertools.chain([] if self.first is None else [self.first], self._rest):
            end = event.content.get("remote_runtime")
            if isinstance(end, dict) and isinstance(end.get("status"), int):
                self.status = int(end["status"])
            else:
                yield event


def write_notebook(name: str, context: CommandContext, path: Path, *, kernel: str, force: bool, run: str = "") -> int:
    """Write the outputs of one kernel, or of one run, to ``path``, mode 0600: the number of cells. Raises as these,
    also ``UsageError`` if there are several kernels and none was named, and ``LocalError`` ``notebook-not-written``."""
    if path.exists() and not force:
        raise UsageError("usage", f"{path} exists already", "", "Choose another name, or add --force to overwrite it")
    if run:
        with outputs_of_run(name, context, run) as outputs:
            notebook = build_notebook(outputs)
    else:
        notebook = _notebook_of_kernel(name, context, kernel)
    try:
        write_private(path, json.dumps(notebook, indent=1).encode() + b"\n")
    except OSError as error:
        raise LocalError("notebook-not-written", f"Can't write {path}", error.strerror or str(error)) from error
    return len(notebook["cells"])


def _notebook_of_kernel(name: str, context: CommandContext, kernel: str) -> dict[str, Any]:
    with recorded_outputs(name, context, kernel=kernel) as record:
        found = [each for each in record.kernels if each.requests]
        if not found:
            raise LocalError("no-outputs", f"No outputs of {name} are recorded")
        chosen = _only_kernel(found, kernel)
        return build_notebook(event for event in record.events if event.kernel == chosen.id)


def run_document(name: str, context: CommandContext, run: str) -> dict[str, Any]:
    """The cells of a run, and its exit status; None if it has not ended."""
    with outputs_of_run(name, context, run) as outputs:
        cells = build_notebook(outputs)["cells"]
        return {"name": name, "run": run, "status": outputs.status, "cells": cells}


def outputs_document(name: str, context: CommandContext, *, kernel: str) -> dict[str, Any]:
    """The kernels with the cells of a notebook for each."""
    with recorded_outputs(name, context, kernel=kernel) as record:
        events = list(record.events)
        kernels = [
            {
                "id": each.id,
                "path": each.path or None,
                "running": each.is_running,
                "cut": each.cut or None,
                "cells": build_notebook(event for event in events if event.kernel == each.id)["cells"],
            }
            for each in record.kernels
        ]
        return {"name": name, "paused": record.paused or None, "kernels": kernels}


def _only_kernel(kernels: list[RecordedKernel] | tuple[RecordedKernel, ...], begin: str) -> RecordedKernel:
    found = [each for each in kernels if each.id.startswith(begin)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.id[:8]} ({each.path})" if each.path else each.id[:8] for each in kernels[:20])
    what = "Several kernels have outputs" if found else f"No outputs of a kernel {begin:.40} are recorded"
    raise UsageError("usage", what, f"kernels: {known}" if known else "", "Name one with `--kernel ID`")
