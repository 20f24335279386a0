"""What a machine tells of its GPUs: nvidia-smi is a script on PATH here, the rest is the launcher's."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from remote_runtime.jupyter.remote import gpus
from remote_runtime.launcher.remote.reply import ReplyWriter

TWO = "Tesla T4, 15360, 580.95.05\nNVIDIA A100-SXM4-40GB, 40960, 580.95.05\n"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def nvidia_smi(folder: Path, body: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)


def seen(within_s: float = 30.0) -> gpus.GpuResult:
    with open(os.devnull, "w") as nobody, gpus.GpuProbe(within_s, folders=()) as looking:
        return looking.result(ReplyWriter("", nobody, 60))


def test_name_memory_and_driver_of_each_gpu(bin_folder: Path) -> None:
    asked = " ".join(gpus.QUERY)
    nvidia_smi(bin_folder, f"[ \"$*\" = '{asked}' ] || exit 9\ncat <<'END'\n{TWO}END")
    assert seen() == gpus.GpuResult(
        [
            {"name": "Tesla T4", "memory_bytes": 15360 << 20, "driver": "580.95.05"},
            {"name": "NVIDIA A100-SXM4-40GB", "memory_bytes": 40960 << 20, "driver": "580.95.05"},
        ]
    )


def test_a_gpu_without_memory_of_its_own_is_one_too() -> None:
    assert gpus.parse_gpus("NVIDIA GB10, [N/A], 580.1\nnonsense\n") == [
        {"name": "NVIDIA GB10", "memory_bytes": 0, "driver": "580.1"}
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f'echo "{NO_DRIVER}"; exit 9', "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate"),
        ('echo "No devices were found"', "nvidia-smi: No devices were found"),
        ("exit 12", "it failed without output"),
    ],
)
def test_a_driver_that_fails_is_told_with_its_reason(bin_folder: Path, body: str, why: str) -> None:
    nvidia_smi(bin_folder, body)
    found = seen()
    assert found.gpus == []
    assert found.problem.startswith("The GPU does not work: ")
    assert why in found.problem


def test_an_nvidia_smi_that_hangs_is_ended_after_its_limit(bin_folder: Path) -> None:
    nvidia_smi(bin_folder, "exec sleep 60")
    before = children()
    assert "timed out after 1 s" in seen(within_s=1.0).problem
    assert children() == before


def test_an_nvidia_smi_that_is_given_up_is_ended(bin_folder: Path) -> None:
    nvidia_smi(bin_folder, "exec sleep 60")
    before = children()
    with gpus.GpuProbe(30.0, folders=()):
        assert len(children() - before) == 1
    assert children() == before


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@pytest.mark.parametrize(
    ("command", "installs"),
    [
        ("/bin/bash /opt/deeplearning/install-driver.sh", True),
        ("python3 /opt/google/cuda-installer/cuda_installer.pyz install_driver", True),
        ("sh ./NVIDIA-Linux-x86_64-580.95.05.run --silent", True),
        ("apt-get install -y nvidia-driver-580-server", True),
        ("/usr/bin/nvidia-persistenced --verbose", False),
        ("python3 train.py --driver nvidia", False),
    ],
)
def test_a_driver_that_is_being_installed_is_told_as_such(command: str, installs: bool) -> None:
    told = gpus.explain("nvidia-smi: it failed", ["/sbin/init", command])
    assert ("is being installed" in told, "it failed" in told) == (installs, not installs)


def test_an_nvidia_device_is_known_by_its_vendor_and_class(tmp_path: Path) -> None:
    def device(name: str, vendor: str, kind: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")

    device("0000:00:03.0", "0x1af4", "0x030000")
    device("0000:00:04.0", "0x10de", "0x040300")  # the sound of a graphics card
    assert not gpus.has_nvidia_device(str(tmp_path))
    device("0000:00:05.0", "0x10de", "0x030200")
    assert gpus.has_nvidia_device(str(tmp_path))
    assert not gpus.has_nvidia_device(str(tmp_path / "no" / "such"))


def test_a_machine_without_nvidia_smi_and_device_has_nothing_to_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert seen() == gpus.GpuResult([], gpus.problem_note(gpus.NO_DRIVER) if gpus.has_nvidia_device() else "")
