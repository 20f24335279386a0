"""What is installed for the user is bounded, and a vulnerability can be reported."""

from __future__ import annotations

import configparser
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote.private_venv import REQUIRED

REPOSITORY = Path(__file__).resolve().parents[2]


def extras() -> list[str]:
    config = configparser.ConfigParser(interpolation=None)
    config.read(REPOSITORY / "setup.cfg")
    return [line for line in config["options.extras_require"]["local"].split("\n") if line]


@pytest.mark.parametrize("requirement", [*REQUIRED, *extras()])
def test_a_next_major_version_is_not_installed_and_the_one_that_is_tested_is(requirement: str) -> None:
    matched = re.fullmatch(r"([a-z_]+)>=([0-9.]+),<([0-9]+)", requirement)
    assert matched, "it has both bounds"
    have = tuple(map(int, version(matched[1]).split(".")[:2]))
    assert tuple(map(int, matched[2].split("."))) <= have < (int(matched[3]),)


def test_a_vulnerability_is_reported_by_the_code_host_and_to_no_invented_address() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
    assert not re.search(r"\S@\S|https?://", text)
