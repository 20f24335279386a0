"""Conda environments that a real solver and installer make (rattler, pixi's) from packages of this computer's Python.

Run by a Python that has py-rattler: ``python conda_channel.py ROOT PREFIX…``. No package index of the tests has conda's
own packages.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

SCRIPT = b"""export LD_LIBRARY_PATH="$CONDA_PREFIX/lib/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export CUDA_HOME="$CONDA_PREFIX"
echo "cuda is active"
"""
LEFT_OUT = ("site-packages", "test", "tests", "__pycache__", "idlelib")


def main() -> None:
    root, *prefixes = map(Path, sys.argv[1:])
    folder = root / "channel" / "linux-64"
    folder.mkdir(parents=True)
    version = ".".join(map(str, sys.version_info[:3]))
    write_package(folder, "python", version, python_files(root), [])
    scripts: dict[str, Path | bytes] = {
        "etc/conda/activate.d/cuda.sh": SCRIPT,
        "etc/conda/deactivate.d/cuda.sh": b"unset CUDA_HOME\n",
    }
    write_package(folder, "cuda-scripts", "1.0", scripts, ["python"])
    asyncio.run(install(root, prefixes))


async def install(root: Path, prefixes: list[Path]) -> None:
    import rattler  # type: ignore[import-not-found]  # of the Python that runs this file
    from rattler.index import index_fs  # type: ignore[import-not-found]  # as above

    await index_fs(root / "channel")
    records: Any = await rattler.solve(
        [f"file://{root / 'channel'}"], ["cuda-scripts"], platforms=["linux-64", "noarch"]
    )
    for prefix in prefixes:
        await rattler.install(records, prefix, cache_dir=root / "cache", show_progress=False)


def python_files(root: Path) -> dict[str, Path | bytes]:
    """Without its tests and packages."""
    base, name = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files: dict[str, Path | bytes] = {}
    for path in sorted((base / "lib" / name).rglob("*")):
        parts = path.relative_to(base).parts
        if not any(part in LEFT_OUT or part.startswith("config-") for part in parts) and not path.is_dir():
            files["/".join(parts)] = path
    files |= {f"lib/{path.name}": path for path in (base / "lib").glob("libpython*")}
    link = root / "python"
    link.symlink_to(name)
    return {**files, f"bin/{name}": base / "bin" / name, "bin/python": link, "bin/python3": link}


def write_package(folder: Path, name: str, version: str, files: dict[str, Path | bytes], depends: list[str]) -> None:
    """Source: the package metadata of conda's documentation, ``info/index.json``, ``info/paths.json``."""
    listed = []
    with tarfile.open(folder / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as tar:

        def add(path: str, content: bytes) -> None:
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))

        for path, source in files.items():
            content, kind = source if isinstance(source, bytes) else b"", "hardlink"
            if isinstance(source, bytes):
                add(path, content)
            elif source.is_symlink():
                info, kind = tarfile.TarInfo(path), "softlink"
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(source)
                tar.addfile(info)
            else:
                tar.add(source, path, recursive=False)
                content = source.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            listed.append({"_path": path, "path_type": kind, "sha256": digest, "size_in_bytes": len(content)})
        index = {
            "name": name, "version": version, "build": "0", "build_number": 0, "depends": depends,
            "arch": "x86_64", "platform": "linux", "subdir": "linux-64", "timestamp": 1700000000000,
        }  # fmt: skip
        add("info/index.json", json.dumps(index).encode())
        add("info/files", "".join(f"{path}\n" for path in files).encode())
        add("info/paths.json", json.dumps({"paths": listed, "paths_version": 1}).encode())


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    main()
