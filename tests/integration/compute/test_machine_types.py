"""The machine types with GPUs that the emulator offers, with prices and obtainability."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.compute import handlers
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.machine_offers import MachineOffer, MachineOffers
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.price_rows import catalogue


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    with FaultyEmulator([Vm("gpu-box")]) as emulator:
        emulator.cloud.skus = catalogue()
        yield emulator


@pytest.fixture
def environ(emulator: FaultyEmulator, tmp_path: Path) -> dict[str, str]:
    return {
        **emulator_environ(emulator.endpoint),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": emulator.os_login_endpoint,
        "CLOUDSDK_CONFIG": "/nonexistent",
        "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache"),
    }


def listed(environ: dict[str, str], gpu: str | None = None, *regions: str) -> MachineOffers:
    return handlers.list_machine_types(
        "demo", gpu, regions, progress=lambda text: None, deadline=Deadline(20), environ=environ
    )


def named(found: MachineOffers, machine_type: str, region: str) -> MachineOffer:
    (offer,) = [each for each in found.offers if (each.machine_type, each.region) == (machine_type, region)]
    return offer


def test_each_machine_type_with_gpus_has_its_zones_and_prices(
    emulator: FaultyEmulator, environ: dict[str, str]
) -> None:
    found = listed(environ)
    assert found.gpu_types == ("nvidia-h100-80gb", "nvidia-l4", "nvidia-tesla-a100", "nvidia-tesla-t4")
    assert found.notes == ()
    l4 = named(found, "g2-standard-8", "us-central1")
    assert (l4.cpus, l4.memory_gb, l4.gpu, l4.gpu_count) == (8, 32.0, "nvidia-l4", 1)
    assert l4.zones == ("us-central1-a", "us-central1-b", "us-central1-c")
    assert l4.price == pytest.approx(8 * 0.025 + 32 * 0.003 + 0.56)
    assert l4.spot_price == pytest.approx(8 * 0.01 + 32 * 0.001 + 0.22)
    assert named(found, "g2-standard-8", "us-east1").price is None, "no row of this region"
    t4 = named(found, "n1-standard-4", "europe-west4")
    assert (t4.gpu, t4.gpu_count, t4.zones, t4.is_attached) == ("nvidia-tesla-t4", 1, ("europe-west4-b",), True)
    assert t4.price == pytest.approx(4 * 0.034 + 15 * 0.0046 + 0.41)
    assert [each.obtainability for each in found.offers] == [None] * len(found.offers), "too many to ask for"
    complaints = [each for exchange in emulator.exchanges for each in google_discovery.complaints(exchange)]
    assert complaints == []


def test_a_few_have_the_obtainability_that_compute_engine_gives(
    emulator: FaultyEmulator, environ: dict[str, str]
) -> None:
    emulator.cloud.obtainability = {"us-central1-b": 0.9, "us-central1-a": 0.2, "us-central1-c": 0.1}
    found = listed(environ, "t4", "us-central1")
    assert {(each.machine_type, each.gpu) for each in found.offers} == {
        ("n1-standard-4", "nvidia-tesla-t4"), ("n1-standard-8", "nvidia-tesla-t4"),
    }  # fmt: skip
    assert {each.obtainability for each in found.offers} == {each.spot_obtainability for each in found.offers} == {0.9}
    assert [each for exchange in emulator.exchanges for each in google_discovery.complaints(exchange)] == []
    asked = [exchange.body for exchange in emulator.exchanges if exchange.method_id == "compute.advice.capacity"]
    assert len(asked) == 4
    assert {str(body and body["instanceProperties"]["scheduling"]["provisioningModel"]) for body in asked} == {
        "STANDARD", "SPOT",
    }  # fmt: skip


def test_without_prices_or_advice_the_rest_is_listed_with_the_reasons(
    emulator: FaultyEmulator, environ: dict[str, str]
) -> None:
    emulator.cloud.disabled_services = {"cloudbilling.googleapis.com"}
    emulator.forbidden_permissions.add("compute.advice.capacity")
    emulator.cloud.unreachable_zones = {"us-central1-a"}
    found = listed(environ, "nvidia-l4", "us-central1")
    assert [(each.machine_type, each.zones, each.price, each.obtainability) for each in found.offers] == [
        ("g2-standard-8", ("us-central1-b", "us-central1-c"), None, None),
        ("g2-standard-24", ("us-central1-b", "us-central1-c"), None, None),
    ]
    skipped, prices, advice = found.notes
    assert skipped == "Skipped us-central1-a: Compute Engine does not respond for these zones"
    assert prices.startswith("Prices are not shown: Cloud Billing API has not been used")
    assert "compute.advice.capacity" in advice


def test_a_gpu_that_does_not_exist_has_no_offer_and_the_others_are_named(environ: dict[str, str]) -> None:
    found = listed(environ, "rtx-4090", "us-central1")
    assert found.offers == ()
    assert "nvidia-l4" in found.gpu_types
    assert listed(environ, None, "mars-north1") == MachineOffers(())
