"""`machine-types`."""

from __future__ import annotations

from dataclasses import asdict

import click

from .common import OutputOptions, common
from .group import ThemedCommand, examples
from .output import console


@click.command(
    name="machine-types",
    cls=ThemedCommand,
    epilog=examples(
        "machine-types --gpu l4 --region us-central1",
        "machine-types --gpu nvidia-tesla-t4",
        "machine-types --region europe-west4 --json",
    ),
)
@click.option("--gpu", metavar="TYPE", help="Only this GPU such as l4; or none.")
@click.option("--region", "regions", metavar="REGION", multiple=True, help="Only this region; repeatable.")
@click.option("--project", metavar="ID", help="The Google Cloud project.")
@common
def machine_types(gpu: str | None, regions: tuple[str, ...], project: str | None, output: OutputOptions) -> None:
    """List GPU machine types and their prices.

    Prices are Google's list prices of an hour in US dollars, without disks. Obtainability is Compute Engine's estimate
    that a VM can be created now; it is read for up to 12 rows.
    """
    from ..commands.machine_types import list_machine_types
    from .output.machine_types_table import machine_types_table

    context = output.context(transient=True)
    try:
        found = list_machine_types(project, gpu, regions, context)
    finally:
        context.view.pause()
    if output.as_json:
        rows = [asdict(offer) for offer in found.offers]
        for row in rows:
            row["currency"] = "USD"
        console.document({"machine_types": rows, "notes": list(found.notes)})
        return
    console.answer(machine_types_table(found.offers))
    if not output.quiet:
        for note in found.notes:
            console.warn(note)
