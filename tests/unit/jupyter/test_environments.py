"""Which folders of a home are environments, which of them can be kernels, and what is said about the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import environment_kernels, environment_places, environments
from remote_runtime.jupyter.remote.environment_places import NetworkMounts
from remote_runtime.jupyter.remote.environments import EnvironmentSearch, KernelEnvironment, find_environments

Make = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def make(home: Path) -> Make:
    """An environment's files, as far as they are read. ``kernel``: with ipykernel; ``config``: of ``pyvenv.cfg``."""

    def write(
        place: str, kind: str = "venv", *, kernel: bool = True, config: str = "", python: str = "/bin/sh"
    ) -> Path:
        prefix = home / place
        site = prefix / "lib" / "python3.12" / "site-packages"
        site.mkdir(parents=True)
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python").symlink_to(python)
        if kernel:
            (site / "ipykernel_launcher.py").write_text("")
        if kind == "conda":
            (prefix / "conda-meta").mkdir()
        else:
            marker = "uv = 0.9\n" if kind == "uv" else ""
            (prefix / "pyvenv.cfg").write_text(f"home = /usr/bin\n{marker}version_info = 3.12.1\n{config}")
        return prefix

    return write


def search(home: Path, *places: str, **env: str) -> dict[str, KernelEnvironment]:
    """By path below the home."""
    found = find_environments(places or ["auto"], str(home / "project"), {"HOME": str(home), "PATH": "/usr/bin", **env})
    return {os.path.relpath(each.prefix, home): each for each in found if Path(each.prefix).is_relative_to(home)}


def test_environments_are_found_where_their_tools_keep_them(home: Path, make: Make) -> None:
    elsewhere = make("data/anywhere", "conda")
    (home / ".conda").mkdir()
    (home / ".conda" / "environments.txt").write_text(f"{elsewhere}\n/gone/envs/old\nnot a path\n")
    (home / "project" / "pix").mkdir(parents=True)
    (home / "project" / "pix" / "pixi.toml").write_text("")
    made = {
        "miniforge3/envs/torch": ("conda", "torch"),
        "data/anywhere": ("conda", "anywhere"),
        ".virtualenvs/old": ("venv", "old"),
        ".local/share/virtualenvs/app-1x": ("venv", "app-1x"),
        ".cache/pypoetry/virtualenvs/lib-py3.12": ("venv", "lib-py3.12"),
        ".pyenv/versions/3.12.1/envs/p": ("venv", "p"),
        "project/.venv": ("uv", "project"),
        "project/own": ("venv", "own"),
        "project/proj/.venv": ("uv", "proj"),
        "project/other/venv": ("venv", "other"),
        "project/pix/.pixi/envs/default": ("pixi", "pix"),
        "project/pix/.pixi/envs/gpu": ("pixi", "pix-gpu"),
        "uv/project": ("uv", "project"),
    }
    for place, (kind, _) in made.items():
        if place != "data/anywhere":
            make(place, "conda" if kind == "pixi" else kind)
    make("project/.hidden/.venv")
    make("project/deep/er/.venv")
    found = search(home, UV_PROJECT_ENVIRONMENT=str(home / "uv" / "project"))
    assert {place: (each.kind, each.name) for place, each in found.items()} == made
    assert {(each.problem, each.python_version) for each in found.values()} == {("", "3.12")}


def test_the_home_s_own_environment_is_not_named_after_the_user(home: Path, make: Make) -> None:
    assert KernelEnvironment(str(make(".venv")), "venv").name == "venv"


def test_a_root_of_conda_is_base(home: Path, make: Make) -> None:
    root = make("miniconda3", "conda")
    (root / "condabin").mkdir()
    assert search(home)["miniconda3"].name == "base"


def test_listed_paths_are_all_that_is_searched_unless_auto_is_among_them(home: Path, make: Make) -> None:
    for place in ("project/.venv", "envs/a", "envs/b", "one"):
        make(place)
    (home / "empty").mkdir()
    assert set(search(home, "~/envs", "~/one")) == {"envs/a", "envs/b", "one"}
    assert set(search(home, "auto", "~/one")) == {"project/.venv", "one"}
    assert search(home, "~/empty")["empty"].problem == "there is no environment"
    assert search(home, "~/gone")["gone"].problem == "there is no such folder"
    assert list(find_environments([], str(home), {})) == []


def test_each_kind_without_ipykernel_is_told_the_command_that_installs_it(home: Path, make: Make) -> None:
    (home / "project" / "p").mkdir(parents=True)
    (home / "project" / "p" / "pixi.toml").write_text("")
    venv = make("project/v", kernel=False)
    (venv / "lib" / "python3.12" / "site-packages" / "pip").mkdir()
    for place, kind in {
        "project/u": "uv", "project/no-pip": "venv", "miniforge3/envs/my env": "conda", "project/c": "conda",
        "project/p/.pixi/envs/default": "conda", "project/p/.pixi/envs/gpu": "conda",
    }.items():  # fmt: skip
        make(place, kind, kernel=False)
    found = search(home)
    assert {each.problem for each in found.values()} == {"it has no ipykernel"}
    assert {place: each.fix.replace(str(home), "~") for place, each in found.items()} == {
        "project/v": "~/project/v/bin/python -m pip install ipykernel",
        "project/u": "uv pip install --python ~/project/u/bin/python ipykernel",
        "project/no-pip": "uv pip install --python ~/project/no-pip/bin/python ipykernel",
        "miniforge3/envs/my env": "conda install -n 'my env' ipykernel",
        "project/c": "conda install -p ~/project/c ipykernel",
        "project/p/.pixi/envs/default": "pixi add --manifest-path ~/project/p/pixi.toml ipykernel",
        "project/p/.pixi/envs/gpu": "pixi add --manifest-path ~/project/p/pixi.toml --feature gpu ipykernel",
    }


def test_an_environment_whose_python_is_gone_is_reported(home: Path, make: Make) -> None:
    make("project/v", python=str(home / "removed" / "python3.12"))
    assert search(home)["project/v"].problem == f"its Python is gone: {home}/removed/python3.12"


def test_ipykernel_is_found_where_python_would_find_it(home: Path, make: Make) -> None:
    linked = make("project/linked", kernel=False)
    (home / "shared").mkdir()
    (home / "shared" / "ipykernel_launcher.py").write_text("")
    (linked / "lib" / "python3.12" / "site-packages" / "x.pth").write_text(f"import os\n{home}/shared\n")
    make("project/system", kernel=False, config=f"include-system-site-packages = true\nhome = {home}/base/bin\n")
    make("miniforge3/envs/c", "conda", kernel=False)
    make("project/closed", kernel=False)
    user = home / ".local" / "lib" / "python3.12" / "site-packages"
    user.mkdir(parents=True)
    (user / "ipykernel_launcher.py").write_text("")
    usable = {place for place, each in search(home).items() if not each.problem}
    assert usable == {"project/linked", "project/system", "miniforge3/envs/c"}


def test_names_are_unique_and_such_as_jupyter_accepts(home: Path, make: Make) -> None:
    places = [
        "project/a/.venv",
        "project/b/a",
        "project/x y;$(z)",
        "project/Ünï",
        "project/python3",
        "project/数",
        "project/taken",
        "project/...",
    ]
    made = [KernelEnvironment(str(make(place)), "venv") for place in places]
    named = environment_kernels.name_kernels(made, taken=["Taken"])
    assert len(named) == len(places)
    assert {"x-y-z", "uni"} <= set(named)
    assert not {"a", "python3", "taken"} & set(named), "these would hide another kernel, or one of ours"
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") and name[0] != "." for name in named)
    assert named == environment_kernels.name_kernels(list(reversed(made)), taken=["taken"])
    shown = {environment_kernels.display_name(each, named) for each in made}
    assert {"Python (x y;$(z))", f"Python (a, {home}/project/b/a)"} <= shown


def test_a_path_that_is_not_text_has_no_kernel(home: Path, make: Make) -> None:
    for name in ("new\nline", os.fsdecode(b"\xff\xfe")):
        make(f"project/{name}")
    assert {each.problem for each in search(home).values()} == {"its path has characters that are not text"}


def test_network_file_systems_are_left_out_except_that_of_the_home() -> None:
    rows = [
        "36 35 98:0 / / rw - ext4 /dev/sda rw", "40 36 0:50 / /mnt/data\\040set rw - nfs4 filer:/d rw",
        "41 36 0:51 / /home rw shared:1 - nfs filer:/h rw", "42 36 0:52 / /home/me/bucket rw - fuse.gcsfuse b rw",
        "43 36 0:53 / /proc rw - proc proc rw", "malformed",
    ]  # fmt: skip
    mounts = NetworkMounts("\n".join(rows), "/home/me")
    assert mounts.has("/mnt/data set/env")
    assert mounts.has("/home/me/bucket")
    assert not mounts.has("/home/me/env")
    assert not mounts.has("/home/me/bucket2")


def test_a_link_to_a_network_file_system_is_not_followed(home: Path) -> None:
    (home / "link").symlink_to("/mnt/far/env")
    assert NetworkMounts("40 36 0:50 / /mnt/far rw - nfs4 filer:/d rw", str(home)).has(str(home / "link"))


def test_the_search_is_bounded(home: Path, make: Make) -> None:
    for number in range(environments.MAX_ENVIRONMENTS + 3):
        make(f".virtualenvs/e{number:03}")
    for number in range(environment_places.MAX_ENTRIES + 50):
        (home / "project" / f"folder{number}").mkdir(parents=True)
    assert len(environment_places.subfolders(str(home / "project"))) <= environment_places.MAX_ENTRIES
    whole = EnvironmentSearch(["auto"], str(home / "project"))
    whole.begin({})
    found = whole.result()
    assert len(found.environments) == environments.MAX_ENVIRONMENTS
    assert "Only the first 60 environments are kernels" in found.notes[0]


def test_a_disk_that_does_not_respond_takes_the_search_s_time_only(home: Path, make: Make) -> None:
    """A pipe without a writer, in the place of a file on such a disk."""
    make(".virtualenvs/quick")
    os.mkfifo(make(".virtualenvs/stuck") / "waits")
    (home / ".virtualenvs" / "stuck" / "pyvenv.cfg").unlink()
    (home / ".virtualenvs" / "stuck" / "waits").rename(home / ".virtualenvs" / "stuck" / "pyvenv.cfg")
    slow = EnvironmentSearch(["auto"], str(home / "project"), limit_s=0.5)
    begun = time.monotonic()
    slow.begin({})
    found = slow.result()
    assert [each.name for each in found.environments] == ["quick"]
    assert "took more than" in found.notes[-1]
    assert time.monotonic() - begun < 20
    os.close(os.open(home / ".virtualenvs" / "stuck" / "pyvenv.cfg", os.O_RDWR | os.O_NONBLOCK))
