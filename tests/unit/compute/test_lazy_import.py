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
MESSAGES = """
import proto
import google.protobuf.any_pb2 as any_pb2
__protobuf__ = proto.module(package="rr.compute.v9", manifest={"Disk", "Operation", "Owner", "Size"})
class Disk(proto.Message):
    size = proto.Field(proto.MESSAGE, number=1, message="Size")
    owners = proto.RepeatedField(proto.MESSAGE, number=2, message="Owner")
    extra = proto.Field(proto.MESSAGE, number=3, message=any_pb2.Any)
class Operation(proto.Message):
    class Status(proto.Enum):
        UNDEFINED = 0
        DONE = 1
    class Size(proto.Enum):
        SMALL = 0
    status = proto.Field(proto.ENUM, number=1, enum=Status)
    sizes = proto.MapField(proto.STRING, proto.MESSAGE, number=2, message="Size")
class Owner(proto.Message):
    disk = proto.Field(proto.MESSAGE, number=1, message="Disk")
    label = proto.MapField(proto.STRING, proto.STRING, number=2)
class Size(proto.Message):
    gb = proto.Field(proto.INT64, number=1)
"""
ANNOTATED = (
    "from typing import Union\nfrom rr_compute_v9.types import compute\n"
    "class DisksClient:\n    def get(self, disk: Union[compute.Disk, dict]) -> compute.Operation: ...\n"
)


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
    assert loaded() == {"", ".types", home, home.rpartition(".")[0]} | also


def test_what_is_not_where_it_is_expected_is_what_the_whole_package_has(lazy: ModuleType) -> None:
    before = lazy.DisksClient

    assert lazy.Moved.__module__ == f"{PACKAGE}.elsewhere"
    assert lazy.whole
    assert lazy.DisksClient is before


def test_a_name_that_does_not_exist_is_an_error_of_attribute(lazy: ModuleType) -> None:
    with pytest.raises(AttributeError, match="Nowhere"):
        lazy.Nowhere  # noqa: B018  # to look is the test
    assert isinstance(lazy.Moved, type)


def test_a_message_is_made_when_it_is_used_and_with_it_those_of_its_fields(tmp_path: Path) -> None:
    """In a process of its own: protobuf registers a message once."""
    for path, text in {**MODULES, "types/compute.py": MESSAGES, "services/disks.py": ANNOTATED}.items():
        (file := tmp_path / PACKAGE / path).parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    subprocess.run([sys.executable, "-c", CONVERSATION], env={"PYTHONPATH": str(tmp_path)}, timeout=60, check=True)


CONVERSATION = """
from remote_runtime.compute.client import lazy_import
lazy_import.import_lazily("rr_compute_v9")
import rr_compute_v9
from rr_compute_v9.types import compute

def made():
    return {"Disk", "Operation", "Owner", "Size"} & vars(compute).keys()

client = rr_compute_v9.DisksClient
assert made() == set() and rr_compute_v9.types.compute is compute
disk = compute.Disk(size={"gb": 7}, owners=[{"label": {"a": "b"}, "disk": {"size": {"gb": 8}}}])
assert made() == {"Disk", "Owner", "Size"}, made()
assert compute.Disk.from_json(compute.Disk.to_json(disk)) == disk
assert disk.owners[0].disk.size.gb == 8 and isinstance(disk.owners[0], compute.Owner)
done = rr_compute_v9.Operation(status=rr_compute_v9.Operation.Status.DONE, sizes={"all": disk.size})
assert done.sizes["all"] == compute.Size(gb=7), "made before"
assert compute.Operation.to_dict(done) == {"status": 1, "sizes": {"all": {"gb": "7"}}}
assert not hasattr(compute, "Nowhere")
"""


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
