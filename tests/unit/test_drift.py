"""Words and lists that repeat what the code says, held against the code."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import click

from remote_runtime import profiles
from remote_runtime.cli import cli
from remote_runtime.core import errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "remote_runtime").rglob("*.py"))


def test_the_generated_parts_of_the_documents_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/readme", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_code_is_in_the_catalogue_with_meaning_cause_and_fix() -> None:
    catalogue = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert "(docs/errors.md)" in README
    for code, entry in errors.CODES.items():
        _, _, section = catalogue.partition(f"### `{code}`\n")
        section, _, _ = section.partition("\n#")
        assert f"{entry.meaning}\n" in section
        assert f"- Cause: {entry.cause}\n" in section
        assert f"- Fix: {entry.fix}\n" in section


def test_every_profile_key_is_in_the_references_table() -> None:
    shapes = profiles.json_schema()["properties"]
    names = {
        f"`{section}.{name}`"
        for section, shape in shapes.items()
        for block in [shape, *shape.get("oneOf", ()), *shape.get("anyOf", ())]
        for name in block.get("properties", ())
    }
    assert len(names) > 30
    assert not [name for name in names if f"| {name} |" not in REFERENCE]


def test_the_first_commands_of_the_readme_are_the_two_that_ci_runs() -> None:
    first = re.search("```sh\n(.*?)```", README, re.DOTALL)
    assert first is not None
    commands = [line.split("#")[0].strip() for line in first[1].splitlines()]
    assert commands == ["scripts/quickstart", "scripts/test"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(re.search(rf"\b{command}\b", ci) for command in commands)


def test_every_command_that_is_named_exists() -> None:
    named = re.compile(r"(?:`|^\$? ?)remote-runtime ((?:[a-z][a-z-]* ?)+)", re.MULTILINE)
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *SOURCES]:
        for words in named.findall(path.read_text(encoding="utf-8")):
            command: click.Command | None = cli
            for word in words.split():
                if isinstance(command, click.Group):
                    command = command.commands.get(word)
                    assert command is not None, f"{path}: remote-runtime {words}"


def test_every_environment_variable_that_is_read_is_in_the_reference() -> None:
    name = re.compile(r"\b(?:REMOTE_RUNTIME|CLOUDSDK|GOOGLE)_[A-Z_]*[A-Z]\b")
    asked = [path for path in SOURCES if "demo" not in path.parts]  # it sets variables of its own processes
    read = {found for path in asked for found in name.findall(path.read_text(encoding="utf-8"))}
    assert not sorted(found for found in read if f"`{found}`" not in REFERENCE)


def test_setup_cfg_lists_the_packages_that_are_on_disk() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert sorted({*on_disk, "remote_runtime.ready_profiles"}) == listed


def test_every_folder_with_source_is_a_package() -> None:
    assert not [path for path in SOURCES if not (path.parent / "__init__.py").exists()]
