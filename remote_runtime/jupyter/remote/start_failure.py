"""Why a Jupyter that was started is not there: its disk, its packages, an extension, or what its log says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import disk_space, package_import
from .interpreters import Interpreter
from .package_import import ImportCheck
from .python_choice import BrokenPython
from .reply import ReplyWriter, ReportedError


def explain_exit(
    interpreter: Interpreter, env: Mapping[str, str], status: int, log: str, reply: ReplyWriter
) -> Exception:
    """``Broken`` or ``Failure``, for one that ended before it answered. ``said``: the end of its log."""
    full = disk_space.disk_full_cause(log)
    if full:
        return full
    with ImportCheck(interpreter.path, package_import.server_module(interpreter.kind), env) as jupyter:
        why = jupyter.problem(reply)
    if why:
        return BrokenPython(interpreter.path, "Jupyter", why)
    match = re.search(r"Jupyter was ended by sys\.exit\(.*\) in (\w+)", log)
    hint = f"On the machine: `{interpreter.path} -m jupyter server extension disable {match.group(1)}`" if match else ""
    return start_error(f"Jupyter ended (status {status})", log, hint)


def start_error(what: str, log: str, hint: str = "") -> ReportedError:
    return disk_space.disk_full_cause(log) or ReportedError(
        "jupyter-did-not-start", what, log or "it wrote nothing to its log", hint
    )
