"""`machine-types` as a person and a program see it."""

from __future__ import annotations

import re

from remote_runtime.cli.output.machine_types_table import machine_types_table
from remote_runtime.core.machine_offers import MachineOffer
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.environment.google_environ import emulator_environ
from tests.support.environment.world import World
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.price_rows import catalogue

L4 = MachineOffer(
    "g2-standard-8", 8, 32.0, "nvidia-l4", 1, "us-central1", ("us-central1-a", "us-central1-b"), 0.8536, 0.31,
    obtainability=0.9, spot_obtainability=0.4,
)  # fmt: skip
T4 = MachineOffer("n1-standard-4", 4, 15.0, "nvidia-tesla-t4", 1, "europe-west4", ("europe-west4-b",))


def test_the_table_shows_each_offer_and_what_has_no_room_below_its_row() -> None:
    head, l4, t4 = machine_types_table([L4, T4], 0).splitlines()
    assert re.split("  +", head) == [
        "MACHINE TYPE", "GPU", "REGION", "PER HOUR", "SPOT", "OBTAINABLE", "CPUS", "MEMORY", "ZONES",
    ]  # fmt: skip
    assert re.split("  +", l4) == [
        "g2-standard-8", "1 nvidia-l4", "us-central1", "$0.85", "$0.31", "90 %, spot 40 %", "8", "32 GB", "a, b",
    ]  # fmt: skip
    assert re.split("  +", t4) == ["n1-standard-4", "1 nvidia-tesla-t4", "europe-west4", "4", "15 GB", "b"]
    narrow = machine_types_table([L4, T4], 80).splitlines()
    assert max(map(len, narrow)) <= 80
    assert "  8 CPUs · 32 GB · zones a, b" in narrow
    assert "  4 CPUs · 15 GB · zone b" in narrow


def test_the_command_lists_what_compute_engine_offers(world: World) -> None:
    with FaultyEmulator([Vm("gpu-box", project="my-project")]) as emulator:
        emulator.cloud.skus = catalogue()
        world.environ |= emulator_environ(emulator.endpoint)
        world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"] = emulator.os_login_endpoint
        world.environ["CLOUDSDK_CORE_PROJECT"] = "my-project"
        listed = world.run("machine-types", "--gpu", "l4", "--region", "us-central1", "--json")
        assert listed.code == 0, listed.err
        first, second = listed.document["machine_types"]
        assert (first["machine_type"], second["machine_type"]) == ("g2-standard-8", "g2-standard-24")
        assert (first["price"], first["currency"], first["obtainability"]) == (0.856, "USD", 0.7)

        shown = world.run("machine-types", "--gpu", "nvidia-l4", "--region", "us-central1")
        assert shown.code == 0, shown.err
        assert re.search(r"^g2-standard-8 +1 nvidia-l4 +us-central1 +\$0.86 +\$0.33 +70 %, spot 70 %", shown.out, re.M)

        unknown = world.run("machine-types", "--gpu", "nvidia-l40", "--json")
        assert (unknown.code, unknown.error["code"]) == (2, "usage")
        assert unknown.error["hint"] == "Did you mean `--gpu nvidia-l4`?"
        nowhere = world.run("machine-types", "--region", "mars-north1", "--json")
        assert nowhere.error["what"] == "No machine types with GPUs in mars-north1"
