"""`outputs`: shows what kernels published while no page was open, or writes it as a notebook."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import LocalError, UsageError
from ..core.private_file import write_private
from ..jupyter import health
from ..jupyter.notebook import build_notebook
from ..jupyter.outputs import OutputRecord, RecordedKernel, open_record
from ..state import store
from ..state.ipc import uncounted_connector
from .context import CommandContext
from .status import url as url_of

OPEN_TIMEOUT_S = 20.0


@contextlib.contextmanager
def recorded_outputs(
    name: str, context: CommandContext, *, kernel: str = "", follow: bool = False
) -> Iterator[OutputRecord]:
    """The record of a runtime. ``kernel``: the beginning of a kernel's id, which is unique. Raises ``LocalError``
    ``not-up``, ``UsageError`` for such a beginning, ``HealthError``, ``MachineError`` ``outputs-not-recorded``."""
    endpoint = _endpoint(name, context)
    if kernel:
        with open_record(endpoint, Deadline(OPEN_TIMEOUT_S)) as record:
            kernel = _only_kernel(record.kernels, kernel).id
    with open_record(endpoint, Deadline(OPEN_TIMEOUT_S), kernel=kernel, follow=follow) as record:
        yield record


def write_notebook(name: str, context: CommandContext, path: Path, *, kernel: str, force: bool) -> int:
    """Write the outputs of one kernel to ``path``, mode 0600: the number of cells. Raises as ``recorded_outputs``, also
    ``UsageError`` if there are several kernels and none was named, and ``LocalError`` ``notebook-not-written``."""
    if path.exists() and not force:
        raise UsageError("usage", f"{path} exists already", "", "Choose another name, or add --force to overwrite it")
    with recorded_outputs(name, context, kernel=kernel) as record:
        found = [each for each in record.kernels if each.requests]
        if not found:
            raise LocalError("no-outputs", f"No outputs of {name} are recorded")
        chosen = _only_kernel(found, kernel)
        notebook = build_notebook(event for event in record.events if event.kernel == chosen.id)
    try:
        write_private(path, json.dumps(notebook, indent=1).encode() + b"\n")
    except OSError as error:
        raise LocalError("notebook-not-written", f"Can't write {path}", error.strerror or str(error)) from error
    return len(notebook["cells"])


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


def _endpoint(name: str, context: CommandContext) -> health.Endpoint:
    """Raises ``LocalError`` ``not-up``."""
    url_of(name, context.state, context.environ)
    runtime = store.load(context.state, name)
    if runtime is None or runtime.server is None or runtime.local_port is None:
        raise ValueError(f"{name} was ready a moment ago")
    server = runtime.server
    connect = functools.partial(uncounted_connector(name, context.state), runtime.local_port)
    attached = server if server.attached else None
    return health.Endpoint(runtime.local_port, server.token, (), connect, attached=attached)
