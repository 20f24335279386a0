"""The price list over HTTP, and what it says of VMs in the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import compute
from remote_runtime.compute import handlers
from remote_runtime.compute.prices.fetch import current_prices
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.model import Instance
from remote_runtime.core.price import HourlyPrice
from remote_runtime.demo.gcp_api.api_errors import ApiError
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.environment import google_discovery
from tests.support.environment.google_environ import emulator_environ
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.price_rows import IOWA, catalogue
from tests.support.servers.billing_catalogue import billing_catalogue


def fetch(environ: dict[str, str], told: list[str] | None = None) -> float | None:
    told = [] if told is None else told
    prices = current_prices(environ, progress=lambda text: told.append(text), deadline=Deadline(10))
    return prices.only_amount(IOWA, "OnDemand", "g2 core")


def test_every_page_is_read_once_a_day(tmp_path: Path) -> None:
    with billing_catalogue(catalogue(), page_size=7) as billing:
        environ = {**billing.environ, "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache")}
        assert fetch(environ) == 0.025
        requests = len(billing.queries)
        assert requests == -(-len(catalogue()) // 7)
        assert {query["currencyCode"] for query in billing.queries} == {"USD"}
        assert fetch(environ) == 0.025
        assert len(billing.queries) == requests


def test_a_list_that_cannot_be_kept_is_used(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, and no directory")
    told: list[str] = []
    with billing_catalogue(catalogue()) as billing:
        assert fetch({**billing.environ, "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache")}, told) == 0.025
    assert told[-1].startswith("The price list is not kept: ")


def test_a_refusal_has_a_reason_and_nothing_is_kept(tmp_path: Path) -> None:
    environ = {"REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache")}
    with billing_catalogue(catalogue()) as billing:
        billing.refusal = ApiError(403, "forbidden", "Cloud Billing API has not been used in project 7 before")
        with pytest.raises(CloudError) as caught:
            fetch({**billing.environ, **environ})
        assert caught.value.code == "permission-denied"
        billing.refusal = None
        assert fetch({**billing.environ, **environ}) == 0.025
    with pytest.raises(CloudError) as caught:
        fetch({"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true", "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "other")})
    assert caught.value.code == "no-credentials", "nothing is sent to Google without credentials"


def test_the_worker_reads_it(tmp_path: Path) -> None:
    with billing_catalogue(catalogue()) as billing:
        environ = {**os.environ, **billing.environ, "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache")}
        compute.update_prices(progress=lambda text: None, deadline=Deadline(20), environ=environ)
    assert (tmp_path / "cache" / "prices.json").exists()


@pytest.fixture
def emulator() -> Iterator[FaultyEmulator]:
    vms = (
        Vm("gpu-box", machine_type="g2-standard-8", status="RUNNING"),
        Vm("spot-box", machine_type="n1-standard-8", accelerator="nvidia-tesla-t4", spot=True, status="RUNNING"),
    )
    with FaultyEmulator(vms) as emulator:
        emulator.cloud.skus = catalogue()
        yield emulator


def price_of(name: str, emulator: FaultyEmulator, tmp_path: Path) -> HourlyPrice | None:
    environ = {
        **emulator_environ(emulator.endpoint),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": emulator.os_login_endpoint,
        "REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache"),
    }
    instance = Instance("gce", name, zone="us-central1-a", project="demo")
    return handlers.instance_price(instance, progress=lambda text: None, deadline=Deadline(10), environ=environ)


def test_a_vm_is_priced_from_its_machine_type_gpus_and_disks(emulator: FaultyEmulator, tmp_path: Path) -> None:
    price = price_of("gpu-box", emulator, tmp_path)
    assert price is not None
    disk = next(each for each in price.parts if each.what == "disk").amount
    assert disk > 0
    assert price.amount == pytest.approx(8 * 0.025 + 32 * 0.003 + 0.56 + disk)
    spot = price_of("spot-box", emulator, tmp_path)
    assert spot is not None
    assert spot.provisioning == "spot"
    assert spot.amount == pytest.approx(8 * 0.007 + 30 * 0.001 + 0.11 + disk)
    assert [each for exchange in emulator.exchanges for each in google_discovery.complaints(exchange)] == []
