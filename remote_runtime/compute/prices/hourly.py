"""The price of an hour of a VM: the sum of its parts, each priced by exactly one row, or no price at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.fast_dataclass import fast_dataclass
from ...core.price import HourlyPrice, PricePart
from .price_list import PriceList
from .rows import CURRENCY, SPOT, STANDARD

HOURS_PER_MONTH = 730.0  # Google's, https://cloud.google.com/compute/vm-instance-pricing
LOCAL_SSD_GB = 375
LOCAL_SSD = "local-ssd"
# The price list names no row for Flex-start.
USES = {"standard": STANDARD, "spot": SPOT}
# Series with the Local SSDs that the price list calls so; others have their own, at other prices.
LOCAL_SSD_SERIES = ("a2", "c2", "c2d", "g2", "n1", "n2", "n2d")
N1_CLASSES = ("standard", "highmem", "highcpu")
# Whose images cost nothing beside the VM.
FREE_LICENSES = (
    "centos-cloud", "cos-cloud", "debian-cloud", "deeplearning-platform-release", "ml-images", "rocky-linux-cloud",
    "ubuntu-os-accelerator-images", "ubuntu-os-cloud",
)  # fmt: skip


@fast_dataclass(frozen=True)
class MachineShape:
    """A machine type with its GPUs. ``local_ssds``: those that it always has. ``is_shared``: it has parts of cores."""

    name: str
    cpus: int
    memory_mb: int
    gpu: str = ""
    gpu_count: int = 0
    local_ssds: int = 0
    is_shared: bool = False


@fast_dataclass(frozen=True)
class DiskShape:
    """``type``: such as ``pd-balanced``, or ``local-ssd``."""

    type: str
    size_gb: float


def hourly_price(
    prices: PriceList, shape: MachineShape, disks: Sequence[DiskShape], region: str, provisioning: str
) -> HourlyPrice | None:
    """None unless cores, memory, GPUs and each disk match exactly one row of ``region`` and ``provisioning``."""
    use, series = USES.get(provisioning), series_of(shape)
    if use is None or not series:
        return None
    parts = []
    for part, row_use, key, quantity in _quantities(shape, disks, series, use):
        amount = prices.only_amount(region, row_use, key)
        if amount is None:
            return None
        parts.append(PricePart(part, amount * quantity))
    return HourlyPrice(sum(part.amount for part in parts), CURRENCY, tuple(parts), provisioning)


def series_of(shape: MachineShape) -> str:
    """The series of ``rows.SERIES`` that prices the machine type; empty for custom and shared-core ones, and others
    with rows of their own."""
    series, _, rest = shape.name.partition("-")
    kind = rest.partition("-")[0]
    if shape.is_shared or kind == "custom" or rest.endswith("-metal"):
        return ""
    if series == "n1" and kind not in N1_CLASSES:
        return ""
    if shape.local_ssds and series != "a2":
        return ""  # how large they are, and what they cost, differs
    return f"{series}-{kind}" if series == "a3" else series


def has_free_licenses(licenses: Sequence[str]) -> bool:
    """Whether the operating system costs nothing. ``licenses``: the links of an image's or a disk's licenses."""
    return all(_project(link) in FREE_LICENSES for link in licenses)


def _project(link: str) -> str:
    parts = link.split("/")
    return parts[parts.index("projects") + 1] if "projects" in parts[:-1] else ""


def _quantities(
    shape: MachineShape, disks: Sequence[DiskShape], series: str, use: str
) -> Iterator[tuple[str, str, str, float]]:
    """For each part: its name, the use and the key of its row, and how much of it."""
    yield "cores", use, f"{series} core", shape.cpus
    yield "memory", use, f"{series} memory", shape.memory_mb / 1024
    if shape.gpu_count:
        yield "GPU", use, f"gpu {shape.gpu}", shape.gpu_count
    for disk in [*disks, *[DiskShape(LOCAL_SSD, LOCAL_SSD_GB)] * shape.local_ssds]:
        is_local = disk.type == LOCAL_SSD
        key = f"disk {disk.type}" if not is_local or series in LOCAL_SSD_SERIES else ""
        yield "disk", use if is_local else STANDARD, key, disk.size_gb / HOURS_PER_MONTH
