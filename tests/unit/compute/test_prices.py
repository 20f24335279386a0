"""The price of an hour, from rows of the catalogue that are like the real ones."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.compute.prices import price_list
from remote_runtime.compute.prices.hourly import DiskShape, MachineShape, has_free_licenses, hourly_price
from remote_runtime.compute.prices.price_list import PriceList, from_rows
from remote_runtime.compute.prices.rows import parse_row
from tests.support.price_rows import HOUR, IOWA, NETHERLANDS, VARIANTS, catalogue, sku

G2 = MachineShape("g2-standard-8", 8, 32 * 1024, "nvidia-l4", 1)
A100 = MachineShape("a2-highgpu-1g", 12, 85 * 1024, "nvidia-tesla-a100", 1)
A100_80 = MachineShape("a2-ultragpu-1g", 12, 170 * 1024, "nvidia-a100-80gb", 1, local_ssds=1)
N1_T4 = MachineShape("n1-standard-8", 8, 30 * 1024, "nvidia-tesla-t4", 2)
E2 = MachineShape("e2-standard-4", 4, 16 * 1024)
BALANCED, SSD = DiskShape("pd-balanced", 100), DiskShape("pd-ssd", 200)


def prices_of(skus: list[Any]) -> PriceList:
    return from_rows("https://cloudbilling.googleapis.com", filter(None, map(parse_row, skus)))


PRICES = prices_of(catalogue())
# Computed by hand: cores × price + GiB × price + GPUs × price + disk GiB × price of a month / 730.
BY_HAND = (
    (G2, BALANCED, IOWA, 8 * 0.025 + 32 * 0.003 + 1 * 0.56 + 100 * 0.1 / 730, 0.86970),
    (G2, BALANCED, NETHERLANDS, 8 * 0.0275 + 32 * 0.0032 + 1 * 0.62 + 100 * 0.11 / 730, 0.95747),
    (A100, BALANCED, IOWA, 12 * 0.03 + 85 * 0.004 + 1 * 2.9 + 100 * 0.1 / 730, 3.61370),
    (A100, BALANCED, NETHERLANDS, 12 * 0.035 + 85 * 0.0045 + 1 * 3.2 + 100 * 0.11 / 730, 4.01757),
    (A100_80, SSD, IOWA, 12 * 0.03 + 170 * 0.004 + 1 * 3.9 + 200 * 0.17 / 730 + 375 * 0.08 / 730, 5.02767),
    (A100_80, SSD, NETHERLANDS, 12 * 0.035 + 170 * 0.0045 + 1 * 4.3 + 200 * 0.187 / 730 + 375 * 0.088 / 730, 5.58144),
    (N1_T4, BALANCED, IOWA, 8 * 0.032 + 30 * 0.004 + 2 * 0.35 + 100 * 0.1 / 730, 1.08970),
    (N1_T4, BALANCED, NETHERLANDS, 8 * 0.034 + 30 * 0.0046 + 2 * 0.41 + 100 * 0.11 / 730, 1.24507),
    (E2, SSD, IOWA, 4 * 0.02 + 16 * 0.0025 + 200 * 0.17 / 730, 0.16658),
    (E2, SSD, NETHERLANDS, 4 * 0.022 + 16 * 0.003 + 200 * 0.187 / 730, 0.18723),
)


@pytest.mark.parametrize(("shape", "disk", "region", "formula", "amount"), BY_HAND)
def test_an_hour_costs_what_its_parts_cost(
    shape: MachineShape, disk: DiskShape, region: str, formula: float, amount: float
) -> None:
    price = hourly_price(PRICES, shape, [disk], region, "standard")
    assert price is not None
    assert price.currency == "USD"
    assert price.amount == pytest.approx(formula, abs=1e-9)
    assert price.amount == pytest.approx(amount, abs=6e-6)
    assert sum(part.amount for part in price.parts) == price.amount


def test_a_spot_vm_has_the_rows_of_spot_and_a_disk_has_no_spot_price() -> None:
    price = hourly_price(PRICES, G2, [BALANCED], IOWA, "spot")
    assert price is not None
    assert price.amount == pytest.approx(8 * 0.01 + 32 * 0.001 + 0.22 + 100 * 0.1 / 730)
    assert [part.what for part in price.parts] == ["cores", "memory", "GPU", "disk"]


@pytest.mark.parametrize(
    ("shape", "disk", "region", "provisioning"),
    [
        (A100, BALANCED, IOWA, "spot"),  # there is no such row
        (G2, BALANCED, "us-west1", "standard"),
        (G2, DiskShape("hyperdisk-balanced", 100), IOWA, "standard"),
        (G2, BALANCED, IOWA, "flex-start"),
        (replace(E2, name="e2-custom-4-16384"), BALANCED, IOWA, "standard"),
        (replace(E2, name="e2-medium", is_shared=True), BALANCED, IOWA, "standard"),
        (replace(N1_T4, name="n1-ultramem-40"), BALANCED, IOWA, "standard"),
        (replace(N1_T4, gpu="nvidia-tesla-t4-vws"), BALANCED, IOWA, "standard"),
        (MachineShape("a3-highgpu-8g", 208, 1872 * 1024, "nvidia-h100-80gb", 8, 16), BALANCED, IOWA, "standard"),
    ],
)
def test_what_does_not_match_one_row_has_no_price(
    shape: MachineShape, disk: DiskShape, region: str, provisioning: str
) -> None:
    assert hourly_price(PRICES, shape, [disk], region, provisioning) is None


@pytest.mark.parametrize(
    "extra",
    [
        sku("G2 Instance Core running in Americas", "OnDemand", HOUR, 0.024, regions=["us-east1", IOWA]),
        sku("NVIDIA L4 GPU running in Americas", "OnDemand", HOUR, 0.5, regions=[IOWA]),
        sku("Balanced PD Capacity", "OnDemand", "GiBy.mo", 0.1, regions=[IOWA]),
        sku("G2 Instance Ram running in Iowa", "OnDemand", "GiBy.h", 0.0, regions=[IOWA]),
    ],
    ids=["cores", "GPU", "disk", "free"],
)
def test_two_rows_for_one_part_show_no_price(extra: Any) -> None:
    assert hourly_price(prices_of([*catalogue(), extra]), G2, [BALANCED], IOWA, "standard") is None
    assert hourly_price(prices_of([*catalogue(), extra]), G2, [BALANCED], NETHERLANDS, "standard") is not None


def test_a_row_without_a_single_price_in_its_unit_and_currency_shows_none() -> None:
    def core(*amounts: float, unit: str = HOUR, currency: str = "USD") -> Any:
        row = sku("G2 Instance Core running in Iowa", "OnDemand", unit, *amounts, regions=[IOWA], currency=currency)
        found = parse_row(row)
        assert found is not None
        return found.amount

    assert core(0.025) == core(0.0, 0.025) == 0.025
    assert core(0.025, 0.02) is core(0.0) is core(0.025, unit="GiBy.h") is core(0.025, currency="EUR") is None
    newest = sku("G2 Instance Core running in Iowa", "OnDemand", HOUR, 0.03, regions=[IOWA])
    newest["pricingInfo"].insert(0, sku("", "", HOUR, 0.9, regions=[])["pricingInfo"][0])
    found = parse_row(newest)
    assert found is not None
    assert found.amount == 0.03


@pytest.mark.parametrize(("text", "use", "unit", "amount"), VARIANTS)
def test_variants_are_no_price_of_an_ordinary_vm(text: str, use: str, unit: str, amount: float) -> None:
    row = parse_row(sku(text, use, unit, amount, regions=[IOWA]))
    assert row is None or row.amount is None


@pytest.mark.parametrize(
    "nonsense",
    [None, [], "text", {}, {"description": "G2 Instance Core running in Iowa", "category": "Compute"},
     {"description": 3, "category": {"resourceFamily": "Compute", "usageType": "OnDemand"}}],
)  # fmt: skip
def test_nonsense_is_no_row(nonsense: Any) -> None:
    assert parse_row(nonsense) is None


@pytest.mark.parametrize(
    "damage",
    [("serviceRegions", "Iowa"), ("pricingInfo", {}), ("pricingInfo", [3]),
     ("pricingInfo", [{"pricingExpression": {"usageUnit": "h", "tieredRates": [{"unitPrice": {"units": "x"}}]}}])],
)  # fmt: skip
def test_a_damaged_row_has_no_price(damage: tuple[str, Any]) -> None:
    row = parse_row(sku("G2 Instance Core running in Iowa", "OnDemand", HOUR, 0.025, regions=[IOWA]) | dict([damage]))
    assert row is not None
    assert row.amount is None or row.regions == ()


def test_images_of_the_free_projects_alone_have_no_price_of_their_own() -> None:
    link = "https://www.googleapis.com/compute/v1/projects/{}/global/licenses/{}"
    assert has_free_licenses([])
    assert has_free_licenses([link.format("debian-cloud", "debian-12"), link.format("ubuntu-os-cloud", "ubuntu-2404")])
    assert not has_free_licenses(
        [link.format("debian-cloud", "debian-12"), link.format("windows-cloud", "server-2022")]
    )
    assert not has_free_licenses(["nonsense"])


def test_the_list_is_kept_for_a_day_in_a_private_file_without_the_rest_of_the_catalogue(tmp_path: Path) -> None:
    environ = {"REMOTE_RUNTIME_CACHE_DIR": str(tmp_path / "cache")}
    endpoint = PRICES.endpoint
    assert price_list.load(endpoint, environ) is None
    price_list.save(PRICES, environ)
    path = tmp_path / "cache" / "prices.json"
    assert price_list.load(endpoint, environ) == PRICES
    assert price_list.load("http://127.0.0.1:1/emulator", environ) is None
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "Custom" not in path.read_text()
    assert len(path.read_text()) < len(json.dumps(catalogue())) / 10
    assert os.listdir(path.parent) == ["prices.json"]

    old = replace(PRICES, fetched_at=time.time() - price_list.MAX_AGE_S - 1)
    price_list.save(old, environ)
    assert price_list.load(endpoint, environ) is None
    for damaged in ("", "[]", '{"version": 1}', '{"version": 1, "endpoint": "", "fetched_at": "x", "amounts": []}'):
        path.write_text(damaged)
        assert price_list.load(endpoint, environ) is None
