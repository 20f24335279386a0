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
    """A runtime for the ``with`` block: `remote-runtime up` at its beginning, `remote-runtime down` at its end.

    ``profile``: its name or its file. ``keep``: whether the runtime stays up at the end; None keeps it if it was up
    before. ``timeout_s``: the deadline for bringing it up; None for the profile's own limits. ``tell`` is called with
    each line of progress, in this thread.

    The value is a ``core.model.Runtime`` whose ``url`` is a ``Secret``: ``runtime.url.reveal()`` is the URL for Colab.
    There are no prompts: a key that needs a passphrase must be in an ssh-agent.

    Raises ``core.errors.RemoteRuntimeError`` (with ``code``, ``what``, ``why``, ``hint``) if the runtime cannot be
    brought up, after undoing everything; at the end ``busy`` if kernels are busy, and ``left-behind``: then the runtime
    still exists.
    """
    from .api import open_runtime

    return open_runtime(profile, keep=keep, timeout_s=timeout_s, progress=tell)
