"""Google's client, imported no further than it is used."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from remote_runtime.compute.client import lazy_import

PACKAGE = "rr_compute_v9"
MODULES = {
    "__init__.py": "from .services.disks import DisksClient\nfrom .services.zone_disks import ZoneDisksClient\n"
    "from .elsewhere import Moved\nwhole = True\n",
    "elsewhere.py": "class Moved: pass\n",
    "services/__init__.py": "",
    "services/disks.py": "from rr_compute_v9 import elsewhere\nclass DisksClient: pass\n",
    "services/zone_disks.py": "class ZoneDisksClient: pass\n",
    "types/__init__.py": "",
    "types/compute.py": "class Disk: pass\n",
}


@pytest.fixture
def lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package like Google's."""
    for path, text in MODULES.items():
        (file := tmp_path / PACKAGE / path).parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    lazy_import.import_lazily(PACKAGE)
    yield importlib.import_module(PACKAGE)
    for name in loaded():
        del sys.modules[PACKAGE + name]


def loaded() -> set[str]:
    return {name.removeprefix(PACKAGE) for name in sys.modules if name.partition(".")[0] == PACKAGE}


@pytest.mark.parametrize(
    ("name", "home"),
    [("DisksClient", ".services.disks"), ("ZoneDisksClient", ".services.zone_disks"), ("Disk", ".types.compute")],
)
def test_a_name_brings_its_own_module_only(lazy: ModuleType, name: str, home: str) -> None:
    found = getattr(lazy, name)

    assert found.__module__ == PACKAGE + home
    also = {".elsewhere"} if name == "DisksClient" else set()  # which that module needs itself
    assert loaded() == {"", home, home.rpartition(".")[0]} | also


def test_what_is_not_where_it_is_expected_is_what_the_whole_package_has(lazy: ModuleType) -> None:
    before = lazy.DisksClient

    assert lazy.Moved.__module__ == f"{PACKAGE}.elsewhere"
    assert lazy.whole
    assert lazy.DisksClient is before


def test_a_name_that_does_not_exist_is_an_error_of_attribute(lazy: ModuleType) -> None:
    with pytest.raises(AttributeError, match="Nowhere"):
        lazy.Nowhere  # noqa: B018  # to look is the test
    assert isinstance(lazy.Moved, type)


@pytest.mark.parametrize("name", ["sys", "rr_no_such_package"])
def test_what_was_imported_before_or_is_not_installed_stays_as_it_is(name: str) -> None:
    before = sys.modules.get(name)

    lazy_import.import_lazily(name)

    assert sys.modules.get(name) is before


def test_a_conversation_loads_the_services_it_is_held_with() -> None:
    code = (
        "import sys\n"
        "from remote_runtime.compute.client import api\n"
        "from remote_runtime.core.deadline import Deadline\n"
        "api.open_api({'CLOUDSDK_AUTH_DISABLE_CREDENTIALS': 'true',"
        " 'CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE': 'http://127.0.0.1:9'}, progress=print, deadline=Deadline(9))\n"
        "print(*sorted({n.split('.')[4] for n in sys.modules if n.startswith('google.cloud.compute_v1.services.')}))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"instances", "projects", "zone_operations"} <= set(answer.stdout.split())
    assert len(answer.stdout.split()) < 6, "the whole package was imported"


def test_every_name_that_is_used_is_where_it_is_expected() -> None:
    """Else the whole package would be imported for it, which takes seconds: a release has moved it."""
    sources = (Path(lazy_import.__file__).parents[1]).rglob("*.py")
    names = {name for path in sources for name in re.findall(r"\bcompute_v1\.([A-Z]\w+)", path.read_text())}
    code = (
        "import sys\n"
        "from remote_runtime.compute.client import lazy_import\n"
        "lazy_import.import_lazily()\n"
        "from google.cloud import compute_v1\n"
        "for name in sys.argv[1:]:\n"
        "    getattr(compute_v1, name)\n"
        "    assert '__getattr__' in vars(compute_v1), f'{name} is elsewhere'\n"
    )
    assert {"Instance", "InstancesClient", "ZoneOperationsClient"} <= names
    subprocess.run([sys.executable, "-c", code, *sorted(names)], timeout=60, check=True)
