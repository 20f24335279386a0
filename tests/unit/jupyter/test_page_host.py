"""The host name of a runtime's own pages."""

from __future__ import annotations

import re

import pytest

from remote_runtime.jupyter.server import page_host


def test_a_plain_name_stays_readable() -> None:
    assert page_host("my-gpu2") == "rr-my-gpu2.localhost"


@pytest.mark.parametrize("name", ["Work", "a.b", "a_b", "-", "._", "x" * 200, "a-" * 30, "evil.example", "A" * 63])
def test_any_name_becomes_one_label_that_no_other_name_has(name: str) -> None:
    host = page_host(name)
    label, _, rest = host.partition(".")
    assert rest == "localhost"
    assert re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label), host
    others = [name.lower(), name.replace(".", "-").replace("_", "-"), name[:-1], name + "x"]
    assert host not in {page_host(other) for other in others if other and other != name}
