"""Where profiles are found, what they may be called, and which one wins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.core.errors import UsageError

LOCAL = "version: 1\ntarget: {kind: local}\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with two folders of its own and a config dir, all empty."""
    for name in ("first", "second", "config/profiles", "here/profiles"):
        (tmp_path / name).mkdir(parents=True)
    folders = os.pathsep.join(str(tmp_path / name) for name in ("first", "second"))
    return {"REMOTE_RUNTIME_PROFILES": folders, "REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path / "config")}


def put(folder: Path, name: str, text: str = LOCAL) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_name_is_looked_up_in_the_environments_folders_then_the_users_then_the_packaged_then_here(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    here = tmp_path / "here"
    expected = profiles.load("demo", environ=environ, cwd=here).path
    put(here / "profiles", "demo")
    assert profiles.load("demo", environ=environ, cwd=here).path == expected
    for folder in ("config/profiles", "second", "first"):
        latest = put(tmp_path / folder, "demo")
        assert profiles.load("demo", environ=environ, cwd=here).path == latest


def test_a_name_that_only_the_working_directory_has_is_found_there(tmp_path: Path, environ: dict[str, str]) -> None:
    path = put(tmp_path / "here/profiles", "mine")
    assert profiles.load("mine", environ=environ, cwd=tmp_path / "here").path == path


def test_the_users_config_dir_is_used_when_nothing_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    import platformdirs

    folder = platformdirs.user_config_path("remote-runtime", appauthor=False) / "profiles"
    folder.mkdir(parents=True)
    path = put(folder, "work")
    assert profiles.load("work", environ={}, cwd=tmp_path).path == path


def test_an_empty_entry_of_the_variable_is_not_the_working_directory(tmp_path: Path, environ: dict[str, str]) -> None:
    put(tmp_path / "here", "demo")
    environ["REMOTE_RUNTIME_PROFILES"] = os.pathsep
    assert profiles.load("demo", environ=environ, cwd=tmp_path / "here").path.parent != tmp_path / "here"


def test_a_path_is_loaded_as_it_is_and_named_by_its_stem(tmp_path: Path, environ: dict[str, str]) -> None:
    put(tmp_path / "here", "mine")
    (tmp_path / "here/other.yml").write_text(LOCAL)
    (tmp_path / "here/plain").write_text(LOCAL)
    for given, name in {"mine.yaml": "mine", "./mine.yaml": "mine", "other.yml": "other", "./plain": "plain"}.items():
        assert profiles.load(given, environ=environ, cwd=tmp_path / "here").name == name


def test_an_unknown_name_is_refused_with_a_near_miss(tmp_path: Path, environ: dict[str, str]) -> None:
    put(tmp_path / "first", "my-gpu")
    with pytest.raises(UsageError) as caught:
        profiles.load("my-gup", environ=environ, cwd=tmp_path)
    assert caught.value.code == "profile-not-found"
    assert "Did you mean my-gpu?" in caught.value.hint
    assert "remote-runtime profiles list" in caught.value.hint
    assert str(tmp_path / "first") in caught.value.why


@pytest.mark.parametrize("path", ["missing.yaml", "./missing", "profiles/", "./", "./" + "a" * 5000, "./\x00"])
def test_a_path_without_a_file_is_not_found(tmp_path: Path, environ: dict[str, str], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.load(path, environ=environ, cwd=tmp_path / "here")
    assert caught.value.code == "profile-not-found"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a b", "CON", "nul", "com1", "lpt9.x", "é", "a" * 65, "end.", "a\n"],
)
def test_a_name_that_cannot_name_files_everywhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.load(name, environ={"REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path)}, cwd=tmp_path)
    assert caught.value.code == "profile-invalid"
    assert "Invalid profile name" in caught.value.what


def test_a_file_whose_name_is_no_profiles_name_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "my machine")
    with pytest.raises(UsageError, match=r"file name `my machine\.yaml` is not a valid profile name") as caught:
        profiles.load("./my machine.yaml", environ={}, cwd=tmp_path)
    command = caught.value.hint.split("`")[1]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=20)
    assert profiles.load("./my-machine.yaml", environ={}, cwd=tmp_path).name == "my-machine"


def test_the_list_tells_origins_shadows_and_problems(tmp_path: Path, environ: dict[str, str]) -> None:
    put(tmp_path / "first", "work")
    put(tmp_path / "second", "work")
    put(tmp_path / "second", "broken", "version: 1\n")
    put(tmp_path / "here/profiles", "bad name")
    put(tmp_path / "here/profiles", "demo")
    found = profiles.list_profiles(environ, cwd=tmp_path / "here")
    assert [(item.name, item.origin, item.shadowed) for item in found] == [
        ("work", "environment", False), ("broken", "environment", False), ("work", "environment", True),
        ("deep-learning-vm", "packaged", False),
        ("demo", "packaged", False), ("demo-iap", "packaged", False), ("demo-new", "packaged", False),
        ("example", "packaged", False), ("local", "packaged", False),
        ("bad name", "directory", False), ("demo", "directory", True),
    ]  # fmt: skip
    problems = {item.name: item.problem for item in found if item.problem}
    assert set(problems) == {"broken", "bad name"}
    assert "target: required key is missing" in problems["broken"]


def test_the_ready_profiles_are_found_from_the_source_tree_and_only_once(tmp_path: Path) -> None:
    root = Path(profiles.__file__).parents[2]
    found = profiles.list_profiles({"REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path)}, cwd=root)
    assert [(item.name, item.origin, item.problem) for item in found] == [
        ("deep-learning-vm", "packaged", None),
        ("demo", "packaged", None), ("demo-iap", "packaged", None), ("demo-new", "packaged", None),
        ("example", "packaged", None), ("local", "packaged", None),
    ]  # fmt: skip


def test_copies_of_built_in_profiles_in_the_working_directory_are_not_listed(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    here = tmp_path / "here"
    for name in ("demo", "local"):
        put(here / "profiles", name, profiles.load(name, environ={}, cwd=tmp_path).path.read_text())
    put(here / "profiles", "demo-iap")
    found = profiles.list_profiles(environ, cwd=here)
    assert [item.name for item in found if item.origin == "directory"] == ["demo-iap"]


def test_a_name_that_is_not_found_says_where_it_was_looked_up_in_places_that_people_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path / "config")}
    with pytest.raises(UsageError) as caught:
        profiles.load("wrok", environ=environ, cwd=Path("/srv"))
    assert caught.value.why == "Searched: ~/config/profiles, the built-in profiles, /srv/profiles"
    assert profiles.source(profiles.load("demo", environ=environ, cwd=tmp_path).path) == "built in"
    assert profiles.source(tmp_path / "config/profiles/work.yaml") == "~/config/profiles/work.yaml"


def test_importing_the_module_imports_no_slow_library() -> None:
    script = "import sys, remote_runtime.profiles; print({'yaml', 'platformdirs', 'jsonschema'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert ended.stdout.strip() == "set()"
