"""Why a Jupyter that was started is not there: its disk, its packages, an extension, or what its log says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import disk_space, package_import
from .interpreters import Found
from .package_import import Import
from .python_choice import Broken
from .reply import Answers, Failure


def reason(found: Found, env: Mapping[str, str], status: int, said: str, answers: Answers) -> Exception:
    """``Broken`` or ``Failure``, for one that ended before it answered. ``said``: the end of its log."""
    full = disk_space.full_disk(said)
    if full:
        return full
    with Import(found.path, package_import.server_module(found.kind), env) as jupyter:
        why = jupyter.trouble(answers)
    if why:
        return Broken(found.path, "Jupyter", why)
    left = re.search(r"Jupyter was ended by sys\.exit\(.*\) in (\w+)", said)
    hint = f"On the machine: `{found.path} -m jupyter server extension disable {left.group(1)}`" if left else ""
    return did_not_start(f"Jupyter ended (status {status})", said, hint)


def did_not_start(what: str, said: str, hint: str = "") -> Failure:
    return disk_space.full_disk(said) or Failure(
        "jupyter-did-not-start", what, said or "it wrote nothing to its log", hint
    )
