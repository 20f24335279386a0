"""Environments from PyPI and of conda's format as kernels of an SSH host: the variables of a cell beside those of a
shell in which a person activated the environment. Downloads about 100 MB."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.machines import conda_channel
from tests.support.machines.environments import activated_in_a_shell, comparable, uv
from tests.support.servers.sshd import running_sshd

CELL = "import json, os; print(json.dumps(dict(os.environ)))"
ACTIVATED = ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_PREFIX",
             "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_ENV_SHLVL_1_CONDA_PREFIX")  # fmt: skip
PROFILE = """version: 1
target: {{kind: ssh, host: 127.0.0.1}}
ssh: {{user: {user}, port: {port}, identity_file: {key}, host_key: accept-new}}
jupyter: {{working_dir: ~/work, kernels: {kernels}}}
"""
LOGIN = "export PATH=/usr/bin:/bin LD_LIBRARY_PATH=/login/lib\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak kernels", description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="starts of each kernel that are timed (default: 5)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory, running_sshd(Path(directory) / "machine") as sshd:
        (sshd.home / ".profile").write_text(LOGIN)
        activations = make_environments(sshd.home, Path(directory))
        person = Path(directory) / "person"
        person.mkdir()
        world = World(person)
        facts = {"user": sshd.user, "port": sshd.port, "key": sshd.key_path}
        for name, kernels in (("with", "auto"), ("without", "off")):
            world.profile(name, PROFILE.format(**facts, kernels=kernels))
        try:
            results = [compare(world, name, activation, asked.starts) for name, activation in activations.items()]
            time_ups(world)
        finally:
            world.end()
    return 0 if all(results) else 1


def make_environments(home: Path, directory: Path) -> dict[str, tuple[Path, str]]:
    """Kernel → its environment, and what a person types to activate it; ``$1`` is its path."""
    work, tools = home / "work", directory / "tools"
    work.mkdir()
    python = str(tools / "bin" / "python")
    run(uv(), "venv", "-q", "--python", sys.executable, str(tools))
    run(uv(), "pip", "install", "-q", "--python", python, "py-rattler", "conda-pack", "setuptools")
    pixi, torch = work / "vision" / ".pixi" / "envs" / "default", home / "miniforge3" / "envs" / "torch"
    run(python, conda_channel.__file__, str(directory / "conda"), str(pixi), str(torch))
    (work / "vision" / "pixi.toml").write_text('[workspace]\nname = "vision"\n')
    activate_pixi = write_pixi(home, tools)
    packed, archive = work / "packed", directory / "packed.tar.gz"
    run(str(tools / "bin" / "conda-pack"), "-q", "-p", str(torch), "-o", str(archive), "--ignore-missing-files")
    packed.mkdir()
    run("tar", "-xzf", str(archive), "-C", str(packed))
    run(uv(), "venv", "-q", "--python", sys.executable, str(work / "proj" / ".venv"))
    run(sys.executable, "-m", "venv", str(work / "my venv"))
    for prefix in (pixi, torch, packed, work / "proj" / ".venv", work / "my venv"):
        run(uv(), "pip", "install", "-q", "--python", str(prefix / "bin" / "python"), "ipykernel")
    own = '. "$1/bin/activate"'
    by_hand = 'for s in "$1"/etc/conda/activate.d/*.sh; do CONDA_PREFIX=$1; export CONDA_PREFIX; . "$s"; done; '
    return {
        "proj": (work / "proj" / ".venv", own), "my-venv": (work / "my venv", own), "packed": (packed, own),
        "vision": (pixi, activate_pixi),
        "torch": (torch, by_hand + 'export PATH="$1/bin:$PATH" CONDA_DEFAULT_ENV=torch'),
    }  # fmt: skip


def write_pixi(home: Path, tools: Path) -> str:
    """An imitation of the program: its interface, and the script of rattler, the library that makes pixi's."""
    program = home / ".pixi" / "bin" / "pixi"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{tools}/bin/python\nimport sys\nfrom pathlib import Path\nfrom rattler.shell import *\n"
        "at = lambda option: sys.argv[sys.argv.index(option) + 1]\n"
        "assert sys.argv[1] == 'shell-hook' and {'--frozen', '--no-install'} <= set(sys.argv)\n"
        "prefix = Path(at('--manifest-path')).parent / '.pixi' / 'envs' / at('--environment')\n"
        "print(activate(prefix, ActivationVariables(), Shell.bash).script)\n"
    )
    program.chmod(0o755)
    manifest = '"${1%/.pixi/*}/pixi.toml"'
    options = f"shell-hook --shell bash --frozen --no-install --manifest-path {manifest} --environment default"
    return f'eval "$({shlex.quote(str(program))} {options})"'


def compare(world: World, name: str, environment: tuple[Path, str], starts: int) -> bool:
    """Whether a cell's variables are those of the shell; prints them, and how long the kernel takes to start."""
    prefix, activation = environment
    page = Page(world.up("with"))
    listed = page.ask("GET", "/api/kernelspecs")[1]["kernelspecs"]
    if name not in listed:
        say(f"{name}: not listed, only {sorted(listed)}")
        say(world.run("kernels", "with").err)
        return False
    plain = json.loads(run_cell(page, "python3"))
    found = comparable(json.loads(run_cell(page, name)))
    before = {**plain, "PATH": plain["PATH"].partition(":")[2]}
    before = {key: value for key, value in before.items() if key not in ACTIVATED or key in ("PATH", "LD_LIBRARY_PATH")}
    shell = activated_in_a_shell(prefix, before, activation)
    different = {
        key for key in {*found, *shell} - {"JPY_SESSION_NAME", "PS1"} if found.get(key) != shell.get(key)
        and not key.startswith(("JPY_", "RR_"))
    }  # fmt: skip
    times = {kernel: statistics.median(time_start(page, kernel) for _ in range(starts)) for kernel in ("python3", name)}
    say(f"{name}: {prefix}\n  {'equal to' if not different else 'DIFFERENT from'} its shell {sorted(different)}")
    for key in ACTIVATED:
        if key in found:
            say(f"  {key}={found[key]}")
    say(f"  start to the first output: {times[name]:.2f} s; python3: {times['python3']:.2f} s")
    return not different


def run_cell(page: Page, name: str) -> str:
    number = page.ask("POST", "/api/kernels", json.dumps({"name": name}).encode())[1]["id"]
    try:
        return page.run(number, CELL)
    finally:
        page.ask("DELETE", f"/api/kernels/{number}")


def time_start(page: Page, name: str) -> float:
    begun = time.monotonic()
    run_cell(page, name)
    return time.monotonic() - begun


def time_ups(world: World) -> None:
    """An `up` of a runtime that is running, which searches again, with and without environments."""
    for name in ("without", "with"):
        world.up(name)
    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(7):
        for name, each in times.items():
            begun = time.monotonic()
            world.up(name)
            each.append(time.monotonic() - begun)
    shown = ", ".join(f"{name} environments {statistics.median(each):.3f} s" for name, each in times.items())
    say(f"another `up`, median of 7: {shown}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
