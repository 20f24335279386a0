"""When the price of a VM is read, and from when its cost is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from remote_runtime.core.errors import CloudError
from remote_runtime.core.model import Instance, Runtime
from remote_runtime.core.price import HourlyPrice
from remote_runtime.keeper.price import PriceReader
from remote_runtime.keeper.runtime_record import RuntimeRecord
from remote_runtime.state.store import StateDir
from remote_runtime.targets import Target
from tests.support.environment.waiting import eventually

STARTED = "2026-12-01T10:00:00+00:00"
VM = Instance("gce", "my-vm", "127.0.0.1", id="42", started_from="TERMINATED", running_since=STARTED)
PRICE = HourlyPrice(0.87, "USD")


class PricedTarget:
    def __init__(self, price: Callable[[], HourlyPrice | None]) -> None:
        self.price = price
        self.asked: list[str] = []

    def hourly_price(self, instance: Instance, deadline: object) -> HourlyPrice | None:
        self.asked.append(instance.running_since)
        return self.price()


def follow(tmp_path: Path, price: Callable[[], HourlyPrice | None]) -> tuple[RuntimeRecord, PricedTarget]:
    record = RuntimeRecord(StateDir(tmp_path), Runtime(name="work", profile_path="", target={}, client_id="c"))
    target = PricedTarget(price)
    record.on_instance = PriceReader(record, lambda: cast("Target", target)).follow
    return record, target


def test_the_price_arrives_beside_and_the_cost_counts_from_the_start_of_the_vm(tmp_path: Path) -> None:
    answer = threading.Event()

    def price() -> HourlyPrice:
        answer.wait(10)
        return PRICE

    record, target = follow(tmp_path, price)
    record.update(instance=VM)
    record.update(instance=VM)
    assert record.runtime.price is None, "nothing waits for it"
    answer.set()
    eventually(lambda: record.runtime.price == PRICE, within_s=10)
    assert target.asked == [STARTED], "one boot, one question"
    assert record.runtime.price_since == STARTED

    again = replace(VM, running_since="2026-12-01T12:00:00+00:00")
    record.update(instance=again)
    eventually(lambda: len(target.asked) == 2, within_s=10)
    assert record.runtime.price_since == again.running_since


def test_a_vm_that_ran_before_is_counted_from_now_and_a_next_keeper_counts_on(tmp_path: Path) -> None:
    record, _ = follow(tmp_path, lambda: PRICE)
    record.update(instance=replace(VM, started_from=None))
    first = record.runtime.price_since
    assert first > STARTED
    next_keeper = PriceReader(record, lambda: cast("Target", PricedTarget(lambda: PRICE)))
    next_keeper.follow(replace(VM, started_from=None))
    assert record.runtime.price_since == first


@pytest.mark.parametrize("failure", [CloudError("permission-denied", "no"), RuntimeError("a bug"), OSError("no")])
def test_without_a_price_nothing_fails(tmp_path: Path, failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def price() -> HourlyPrice:
        raise failure

    record, target = follow(tmp_path, price)
    with caplog.at_level("INFO"):
        record.update(instance=VM)
        eventually(lambda: "no price of my-vm" in caplog.text, within_s=10)
    assert record.runtime.price is None
    assert target.asked == [STARTED]


def test_only_a_running_vm_of_compute_engine_has_a_price(tmp_path: Path) -> None:
    record, target = follow(tmp_path, lambda: PRICE)
    for other in (replace(VM, kind="demo"), replace(VM, kind="ssh"), replace(VM, status="PROVISIONING")):
        record.update(instance=other)
    record.update(state="ready")
    assert (target.asked, record.runtime.price_since) == ([], "")
