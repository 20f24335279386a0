"""Images and HTML that code displays become files, under names that the machine can't choose."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from remote_runtime.commands.kept_outputs import KeptOutputs
from remote_runtime.core.errors import LocalError


def test_each_output_is_a_new_private_file(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "plots"
    assert KeptOutputs(folder).keep({"image/png": "aGVsbG8=\n", "text/html": ["<b>", "x</b>"], "text/plain": "x"})
    again = KeptOutputs(folder)
    assert again.keep({"image/svg+xml": "<svg/>", "../../evil": "x", "application/pdf": "no base64!"})
    assert [path.name for path in again.paths] == ["output-1.svg", "output-2.pdf"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "output-1.png",
        "output-1.svg",
        "output-2.html",
        "output-2.pdf",
    ]
    assert (folder / "output-1.png").read_bytes() == b"hello"
    assert stat.S_IMODE((folder / "output-2.html").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_nothing_is_saved_without_a_folder_or_an_image(tmp_path: Path) -> None:
    assert KeptOutputs(None).keep({"image/png": ""}) == ""
    assert KeptOutputs(tmp_path / "x").keep({"text/plain": "x"}) == ""
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="Can't write to"):
        KeptOutputs(tmp_path / "file").keep({"image/png": ""})
