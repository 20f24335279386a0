"""`kernels`: lists the kernels of a runtime, and environments of its machine that cannot be kernels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..core.fast_dataclass import fast_dataclass
from ..core.profile import Profile
from ..jupyter.kernels import KernelList
from ..jupyter.kernels import list_kernels as list_kernels_of_server
from ..jupyter.server import ServerSpec
from ..state import store
from .context import CommandContext
from .machine import open_machine


@fast_dataclass(frozen=True)
class ListedKernels:
    """``is_running``: False if no runtime is ready, and the kernels are those that `up` would offer."""

    name: str
    is_running: bool
    found: KernelList

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "running": self.is_running,
            "kernels": [asdict(each) for each in self.found.kernels],
            "unusable": [asdict(each) for each in self.found.unusable],
            "notes": list(self.found.notes),
        }


def list_kernels(profile: Profile, context: CommandContext) -> ListedKernels:
    """Searches the environments again: each that can be a kernel is one afterwards. Uses the keeper's connection if the
    runtime is ready, else connects as `up` would. Raises ``RemoteRuntimeError``."""
    runtime = store.load_if_readable(context.state, profile.name)
    is_running = runtime is not None and runtime.state == "ready" and store.is_alive(context.state, profile.name)
    server = runtime.server if runtime is not None and is_running else None
    client_id = runtime.client_id if runtime else store.load_last_run(context.state, profile.name).client_id
    spec = ServerSpec(profile.name, client_id, profile.jupyter, profile.colab.origins)
    with open_machine(profile, context) as machine:
        context.view.step(profile.name, "Searching environments")
        found = list_kernels_of_server(
            machine.run,
            spec.key,
            profile.jupyter,
            progress=context.progress(profile.name),
            deadline=context.deadline(profile.timeouts.jupyter_s),
            attached=server if server is not None and server.attached else None,
        )
        context.view.done(profile.name)
    return ListedKernels(profile.name, is_running, found)
