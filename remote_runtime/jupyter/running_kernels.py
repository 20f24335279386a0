"""Finds, starts, interrupts and ends kernels of a runtime, through its local port."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ..core.deadline import Deadline
from ..core.errors import HealthError, MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from .health.endpoint import Endpoint, Response, request

REQUEST_TIMEOUT_S = 30.0
RETRY_S = 0.5
MAX_SHOWN = 20
EXEC_SESSION = "exec"


@fast_dataclass(frozen=True)
class RunningKernel:
    """``spec``: the name of its kernelspec. ``is_new``: it was started by this call."""

    id: str
    spec: str
    is_new: bool = False


@fast_dataclass(frozen=True)
class KernelSpecs:
    default: str
    names: tuple[str, ...]


def list_specs(endpoint: Endpoint, deadline: Deadline) -> KernelSpecs:
    """Raises ``HealthError``."""
    document = _answer(request(endpoint, "GET", "/api/kernelspecs", {}, deadline), "list its kernelspecs")
    specs = document.get("kernelspecs")
    return KernelSpecs(str(document.get("default", "")), tuple(specs) if isinstance(specs, dict) else ())


def named_session_kernel(endpoint: Endpoint, spec: str, deadline: Deadline) -> RunningKernel:
    """The kernel that programs share by default: of the session ``exec``, or ``exec-SPEC`` for a spec that is not the
    default. It is started if there is none. Raises as ``start_kernel``."""
    specs = list_specs(endpoint, deadline)
    name = EXEC_SESSION if spec in ("", specs.default) else f"{EXEC_SESSION}-{spec}"
    sessions = request(endpoint, "GET", "/api/sessions", {}, deadline)
    for session in _list(sessions, "list its sessions"):
        kernel = session.get("kernel")
        if session.get("path") == name and isinstance(kernel, dict):
            return _kernel(kernel)
    return _start(endpoint, name, _known_spec(specs, spec), deadline)


def start_kernel(endpoint: Endpoint, spec: str, deadline: Deadline) -> RunningKernel:
    """``spec``: its kernelspec; empty for the default. Raises ``MachineError`` ``kernel-not-found``, ``HealthError``
    ``kernel-did-not-answer`` or ``not-answering``."""
    specs = list_specs(endpoint, deadline)
    body = json.dumps({"name": _known_spec(specs, spec)}).encode()
    return _started(request(endpoint, "POST", "/api/kernels", {}, deadline, body))


def find_kernel(endpoint: Endpoint, begin: str, deadline: Deadline) -> RunningKernel:
    """The running kernel whose id begins so. Raises ``MachineError`` ``kernel-not-found`` unless there is one."""
    kernels = _list(request(endpoint, "GET", "/api/kernels", {}, deadline), "list its kernels")
    found = [kernel for kernel in kernels if str(kernel.get("id", "")).startswith(begin)]
    if len(found) == 1:
        return _kernel(found[0])
    what = "Several kernels have ids that begin so" if found else "No running kernel has an id that begins so"
    ids = ", ".join(clean_line(str(kernel.get("id", ""))[:8], 8) for kernel in (found or kernels)[:MAX_SHOWN])
    raise MachineError("kernel-not-found", f"{what}: {begin:.40}", f"kernels: {ids}" if ids else "no kernel runs")


def is_running(endpoint: Endpoint, kernel: str, deadline: Deadline) -> bool:
    """Raises ``HealthError``."""
    status = request(endpoint, "GET", f"/api/kernels/{quote(kernel)}", {}, deadline).status
    if status not in (200, 404):
        raise HealthError("not-answering", "Jupyter does not describe a kernel", f"status {status}")
    return status == 200


def is_busy(endpoint: Endpoint, kernel: str, deadline: Deadline) -> bool:
    """Raises ``HealthError``."""
    document = _answer(request(endpoint, "GET", f"/api/kernels/{quote(kernel)}", {}, deadline), "describe a kernel")
    return document.get("execution_state") == "busy"


def interrupt_kernel(endpoint: Endpoint, kernel: str, deadline: Deadline) -> None:
    """Raises ``HealthError``."""
    status = request(endpoint, "POST", f"/api/kernels/{quote(kernel)}/interrupt", {}, deadline).status
    if status not in (204, 404):  # 404: it has ended already
        raise HealthError("not-answering", "Jupyter does not interrupt the kernel", f"status {status}")


def end_kernel(endpoint: Endpoint, kernel: str, deadline: Deadline) -> None:
    """Raises ``HealthError``. A kernel that Jupyter just restarts can't be ended at once."""
    while True:
        status = request(endpoint, "DELETE", f"/api/kernels/{quote(kernel)}", {}, deadline).status
        if status < 500 or deadline.remaining_s() < RETRY_S:
            break
        deadline.sleep(RETRY_S)
    if status not in (204, 404):
        raise HealthError("not-answering", "Jupyter does not end the kernel", f"status {status}")


def _start(endpoint: Endpoint, name: str, spec: str, deadline: Deadline) -> RunningKernel:
    document = {"path": name, "name": name, "type": "console", "kernel": {"name": spec}}
    response = request(endpoint, "POST", "/api/sessions", {}, deadline, json.dumps(document).encode())
    return _started(response)


def _started(response: Response) -> RunningKernel:
    document = response.document()
    if response.status == 201 and isinstance(document, dict):
        kernel = document.get("kernel", document)
        if isinstance(kernel, dict):
            found = _kernel(kernel)
            return RunningKernel(found.id, found.spec, is_new=True)
    said = document.get("message", "") if isinstance(document, dict) else ""
    why = clean_line(f"status {response.status} {said}", 300)
    hint = "See the kernel's output: `remote-runtime logs PROFILE --server`"
    raise HealthError("kernel-did-not-answer", "Jupyter can't start a kernel", why, hint)


def _known_spec(specs: KernelSpecs, wanted: str) -> str:
    """Raises ``MachineError`` ``kernel-not-found``."""
    if wanted and wanted not in specs.names:
        known = ", ".join(clean_line(name, 60) for name in specs.names[:MAX_SHOWN])
        what = f"Jupyter has no kernelspec {clean_line(wanted, 60)}"
        raise MachineError("kernel-not-found", what, f"it has: {known}" if known else "it has none")
    return wanted or specs.default


def _kernel(document: dict[str, Any]) -> RunningKernel:
    """Raises ``HealthError``."""
    name = document.get("id")
    if not isinstance(name, str) or not name.replace("-", "").isalnum():
        raise HealthError("not-answering", "Jupyter names a kernel that can't be")
    return RunningKernel(name, str(document.get("name", "")))


def _answer(response: Response, what: str) -> dict[str, Any]:
    document = response.document()
    if response.status != 200 or not isinstance(document, dict):
        raise HealthError("not-answering", f"Jupyter does not {what}", f"status {response.status}")
    return document


def _list(response: Response, what: str) -> list[dict[str, Any]]:
    documents = response.document()
    if response.status != 200 or not isinstance(documents, list):
        raise HealthError("not-answering", f"Jupyter does not {what}", f"status {response.status}")
    return [each for each in documents if isinstance(each, dict)]
