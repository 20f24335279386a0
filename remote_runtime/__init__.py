"""remote-runtime: Google Colab on your own VM, host or computer, with one command.

In a script or a notebook:

    import remote_runtime

    with remote_runtime.open("my-gce-profile", on_progress=print) as runtime:
        print(runtime.url.reveal())  # paste it into Colab
        print(runtime.exec("import os; print(os.uname())").stdout)

``up``, ``down`` and ``status`` do what the commands of these names do. Every error is a ``RemoteRuntimeError`` with
``code``, ``what``, ``why`` and ``hint``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Literal

    from .api import ApiRuntime as ApiRuntime
    from .api import ReadyRuntime as ReadyRuntime
    from .commands.cp import CopyResult as CopyResult
    from .commands.exec_result import CodeOutput as CodeOutput
    from .commands.exec_result import CodeResult as CodeResult
    from .core.errors import CloudError as CloudError
    from .core.errors import DeadlinePassed as DeadlinePassed
    from .core.errors import HealthError as HealthError
    from .core.errors import Interrupted as Interrupted
    from .core.errors import LocalError as LocalError
    from .core.errors import MachineError as MachineError
    from .core.errors import RemoteRuntimeError as RemoteRuntimeError
    from .core.errors import SshError as SshError
    from .core.errors import UsageError as UsageError

__all__ = [
    "ApiRuntime",
    "CloudError",
    "CodeOutput",
    "CodeResult",
    "CopyResult",
    "DeadlinePassed",
    "HealthError",
    "Interrupted",
    "LocalError",
    "MachineError",
    "ReadyRuntime",
    "RemoteRuntimeError",
    "SshError",
    "UsageError",
    "__version__",
    "down",
    "open",
    "status",
    "up",
]


def open(
    profile: str,
    *,
    keep: bool | None = None,
    timeout_s: float | None = None,
    yes: bool = False,
    on_progress: Callable[[str], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> AbstractContextManager[ReadyRuntime]:
    """A runtime for the ``with`` block: `remote-runtime up` when it begins, `remote-runtime down` when it ends.

    ``profile``: its name or its file. ``keep``: whether the runtime stays running after the block; None keeps it if it
    was running before. ``timeout_s``, ``on_progress``, the value and the errors: as for ``up``. ``yes``: the VM can be
    created, and deleted again. ``tell``: the former name of ``on_progress``.

    At the end raises ``LocalError`` ``busy`` if kernels are busy, or ``left-behind``: then the runtime still exists.
    """
    from .api import open_runtime

    if tell is not None:
        import warnings

        if on_progress is not None:
            raise TypeError("open() got both `on_progress` and `tell`, its former name")
        warnings.warn("`open(tell=…)` is deprecated: use `on_progress=…`", DeprecationWarning, stacklevel=2)
    return open_runtime(profile, keep=keep, timeout_s=timeout_s, yes=yes, on_progress=on_progress or tell)


def up(
    profile: str,
    *,
    timeout_s: float | None = None,
    yes: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> ReadyRuntime:
    """Start a runtime, or reuse the running one, and return it. It keeps running until ``down``.

    ``profile``: its name or its file. ``timeout_s``: the deadline; None for the profile's own limits. ``yes``: the VM
    that ``target.create`` describes can be created. ``on_progress`` is called with each line of progress, in this
    thread.

    The runtime's ``url`` is masked when it is printed, because notebooks and logs are shared and it contains the token:
    ``runtime.url.reveal()`` is the URL to paste into Colab.

    There are no prompts: a key with a passphrase must be in an ssh-agent. Raises ``RemoteRuntimeError`` if the runtime
    can't start, after undoing everything.
    """
    from .api import start_runtime

    return start_runtime(profile, timeout_s=timeout_s, yes=yes, on_progress=on_progress)


def down(
    profile: str,
    *,
    force: bool = False,
    keep_server: bool = False,
    instance: Literal["stop", "suspend", "delete"] | None = None,
    purge: bool = False,
    yes: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Stop a runtime. Does nothing if it is not running.

    ``force``: also if kernels are busy or cleanup fails. ``keep_server``: Jupyter and its kernels continue on the
    machine. ``instance``: what happens to the VM; None for the profile's ``on_down``. ``purge``: also delete the
    remote-runtime directory on the machine, and the SSH key that was added. ``yes``: the VM can be deleted, which
    ``instance="delete"`` and ``on_down.instance: delete`` require.

    Returns the runtime's entry of `remote-runtime down --json`. Raises ``RemoteRuntimeError``: ``busy`` if kernels are
    busy, ``left-behind`` if something could not be removed.
    """
    from .api import stop_runtime
    from .commands.down import DownOptions

    options = DownOptions(keep_server=keep_server, instance=instance, purge=purge, force=force, yes=yes)
    return stop_runtime(profile, options, on_progress=on_progress)


def status(*profiles: str) -> list[ApiRuntime]:
    """The runtimes of ``profiles``, or all that this computer knows, each with its ``state``: ``ready``, ``starting``,
    ``reconnecting``, ``unreachable``, ``stranger`` or ``down``, and ``why``. ``url`` is None if there is none."""
    from .api import list_runtimes

    return list_runtimes(profiles)


def __getattr__(name: str) -> Any:
    """The classes of ``__all__``, imported when they are used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.endswith("Runtime"):
        from . import api

        return getattr(api, name)
    if name.startswith("Code"):
        from .commands import exec_result

        return getattr(exec_result, name)
    if name == "CopyResult":
        from .commands import cp

        return cp.CopyResult
    from .core import errors

    return getattr(errors, name)


def __dir__() -> list[str]:
    return sorted(__all__)
