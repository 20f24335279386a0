"""`machine-types`: which machine types with GPUs Compute Engine offers, where, and at what price."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from .. import compute
from ..core.errors import UsageError
from ..core.machine_offers import MachineOffers
from .context import CommandContext

NAME = "machine-types"
LISTING_TIMEOUT_S = 120.0


def list_machine_types(
    project: str | None, gpu: str | None, regions: Sequence[str], context: CommandContext
) -> MachineOffers:
    """Raises ``CloudError``; ``UsageError`` for a GPU that no machine type there has."""
    context.view.step(NAME, "Reading what Compute Engine offers")
    found = compute.list_machine_types(
        project,
        gpu,
        list(regions),
        progress=context.progress(NAME),
        deadline=context.deadline(LISTING_TIMEOUT_S),
        environ=context.environ,
    )
    context.view.done(NAME)
    where = f" in {', '.join(regions)}" if regions else ""
    if not found.gpu_types:
        hint = "`gcloud compute regions list` lists the regions" if regions else ""
        raise UsageError("usage", f"No machine types with GPUs{where}", "", hint)
    if gpu and not found.offers:
        close = difflib.get_close_matches(gpu, found.gpu_types, n=1, cutoff=0.4)
        hint = f"Did you mean `--gpu {close[0]}`?" if close else ""
        raise UsageError(
            "usage", f"No machine type has the GPU {gpu!r:.80}{where}", f"there are {', '.join(found.gpu_types)}", hint
        )
    return found
