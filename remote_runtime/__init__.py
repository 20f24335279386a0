"""remote-runtime: Google Colab on your own machine in the cloud, with one command.

In a script or a notebook:

    import remote_runtime

    with remote_runtime.open("my-gce-profile") as runtime:
        print(runtime.url.reveal())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .api import ReadyRuntime

__all__ = ["__version__", "open"]


def open(
    profile: str,
    *,
    keep: bool | None = None,
    timeout_s: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> AbstractContextManager[ReadyRuntime]:
    """A runtime for as long as the ``with`` block lasts, as `remote-runtime up` and `remote-runtime down` have it.

    ``profile``: its name or its file. ``keep``: whether it stays up at the end; None leaves it as it was found, up or
    down. ``timeout_s``: the deadline for bringing it up; None for the profile's own limits. ``tell`` is called with
    each line of the story, in this thread.

    The value is a ``model.Runtime`` whose ``url`` is a ``Secret``: ``runtime.url.reveal()`` is what Colab is given.
    Nobody is asked anything: a key that needs a passphrase must be in an ssh-agent.

    Raises ``errors.RemoteRuntimeError`` (with ``code``, ``what``, ``why``, ``hint``) when it cannot be brought up, all
    undone then; at the end ``busy`` when kernels are busy, and ``left-behind``: the runtime is still there then.
    """
    from .api import open_runtime

    return open_runtime(profile, keep=keep, timeout_s=timeout_s, progress=tell)
