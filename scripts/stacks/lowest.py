"""``scripts/test --lowest``: the tests with exactly the oldest versions that setup.cfg allows, on the oldest Python."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from . import venvs

DIRECTORY = venvs.VENVS / "lowest"
TESTS = ("tests/unit", "tests/integration/demo", "tests/acceptance/demo", "tests/acceptance/api")
OLDEST_PYTHON = "3.10"
INPUTS = ("setup.cfg", "pyproject.toml")


def main(arguments: list[str]) -> int:
    python = _ensure()
    environ = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(python), "-m", "pytest", "-n", "4", "-p", "no:cacheprovider", *(arguments or TESTS)]
    return subprocess.run(command, cwd=venvs.ROOT, env=environ, check=False).returncode


def lowest(requirements: str) -> list[str]:
    """``requirements`` of setup.cfg, each with its lower bound as the only version."""
    parsed = [Requirement(line) for line in requirements.strip().splitlines()]
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in parsed
        for bound in requirement.specifier
        if bound.operator == ">="
    ]


def _ensure() -> Path:
    """The interpreter of the environment, which is made again when the requirements have changed."""
    python, stamp = DIRECTORY / "bin" / "python", DIRECTORY / "installed"
    wanted = "".join((venvs.ROOT / name).read_text(encoding="utf-8") for name in INPUTS)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    try:
        base = venvs.find_python(OLDEST_PYTHON)
    except venvs.Unavailable as reason:
        base = sys.executable
        sys.stderr.write(f"warning: {reason}; using {base}\n")
    config = configparser.ConfigParser(interpolation=None)
    config.read(venvs.ROOT / "setup.cfg", encoding="utf-8")
    _uv("venv", "-q", "--clear", "--python", base, str(DIRECTORY))
    (venvs.VENVS / ".gitignore").write_text("*\n")
    constraints = DIRECTORY / "constraints.txt"
    constraints.write_text("\n".join(lowest(config["options"]["install_requires"])), encoding="utf-8")
    sys.stderr.write(f"Installing the oldest dependencies into {DIRECTORY}\n")
    clone = ("-C", "editable_mode=compat", "-e", ".")
    _uv("pip", "install", "-q", "-p", str(python), "-c", str(constraints), *clone, "--group", "dev")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=venvs.ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
