"""What is declared in setup.cfg is what the package imports, and no address is made up."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from scripts.stacks.lowest import lowest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "remote_runtime"
# These run in the Jupyter server's Python, with what is there.
ON_THE_MACHINE = (
    "bridge",
    "jupyter/remote",
    "jupyter/in_kernel",
    "launcher/program.py",
    "launcher/remote",
    "jupyter/extension",
)
DISTRIBUTIONS = {
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud": "google-cloud-compute",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "yaml": "pyyaml",
}
HOST = "https://host.example/owner/name"


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rr_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(config: configparser.ConfigParser) -> list[Requirement]:
    return [Requirement(line) for line in config["options"]["install_requires"].strip().splitlines()]


def imported_modules() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix().startswith(ON_THE_MACHINE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_that_is_imported_is_required_and_no_other(config: configparser.ConfigParser) -> None:
    imported = set()
    for module in imported_modules():
        top, _, rest = module.partition(".")
        if top not in sys.stdlib_module_names and top != "remote_runtime":
            key = f"google.{rest.partition('.')[0]}" if top == "google" else top
            imported.add(DISTRIBUTIONS.get(key, key))
    assert imported == {requirement.name for requirement in requirements(config)}


def test_each_requirement_has_a_lower_bound_which_is_a_version_of_its_own(config: configparser.ConfigParser) -> None:
    for requirement in requirements(config):
        assert [each.operator for each in requirement.specifier].count(">=") == 1, requirement


def test_the_oldest_versions_are_the_lower_bounds(config: configparser.ConfigParser) -> None:
    assert lowest("a>=1.2,<2\nb-c>=3") == ["a==1.2", "b-c==3"]
    assert len(lowest(config["options"]["install_requires"])) == len(requirements(config))


@pytest.mark.parametrize("name", ["google-cloud-compute", "paramiko"])
def test_a_package_whose_inner_layout_is_used_has_an_upper_bound(config: configparser.ConfigParser, name: str) -> None:
    (found,) = [requirement for requirement in requirements(config) if requirement.name == name]
    assert "<" in {each.operator for each in found.specifier}


def test_users_are_offered_no_extra_for_developers(config: configparser.ConfigParser) -> None:
    assert set(config["options.extras_require"]) == {"local"}


def test_without_a_repository_there_are_no_project_urls(setup: ModuleType) -> None:
    text = "[docs](docs/how-to.md)"
    assert setup.project_urls("") == {}
    assert setup.absolute_links(text, "") == text


def test_with_a_repository_every_project_url_is_in_it(setup: ModuleType) -> None:
    urls = setup.project_urls(HOST)
    assert urls["Source"] == HOST
    assert {"Issues", "Changelog", "Documentation"} < set(urls)
    assert all(url.startswith(HOST) for url in urls.values())


@pytest.mark.parametrize(
    ("link", "absolute"),
    [
        ("[a](docs/a.md)", f"[a]({HOST}/blob/main/docs/a.md)"),
        ("[a](docs/a.md#part)", f"[a]({HOST}/blob/main/docs/a.md#part)"),
        ("![a](docs/shots/up.svg)", f"![a]({HOST}/raw/main/docs/shots/up.svg)"),
        ('<img src="docs/up.png">', f'<img src="{HOST}/raw/main/docs/up.png">'),
        ("[a](#part)", "[a](#part)"),
        ("[a](https://colab.google/)", "[a](https://colab.google/)"),
    ],
)
def test_relative_links_work_on_the_package_index(setup: ModuleType, link: str, absolute: str) -> None:
    assert setup.absolute_links(link, HOST) == absolute


def test_every_relative_link_of_the_readme_is_a_file_of_the_repository(setup: ModuleType) -> None:
    links = [match[2] for match in setup.RELATIVE_LINK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_source_distribution_has_every_folder_of_the_repository() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    assert re.findall(r"^graft (\S+)$", manifest, re.MULTILINE) == [
        ".ci",
        "docs",
        "profiles",
        "scripts",
        "skills",
        "tests",
    ]
