"""Words and lists that repeat what the code says, held against the code."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from remote_runtime import profiles
from remote_runtime.cli import cli
from remote_runtime.core import errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")
SKILL = ROOT / "skills" / "remote-runtime" / "SKILL.md"
MAX_SENTENCE_WORDS = 20
SOURCES = sorted((ROOT / "remote_runtime").rglob("*.py"))


def test_the_generated_parts_of_the_documents_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/readme", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_code_has_a_page_with_meaning_cause_and_fix() -> None:
    pages = DOCS / "errors"
    index = (pages / "index.md").read_text(encoding="utf-8")
    assert "(docs/errors/index.md)" in README
    for code, entry in errors.CODES.items():
        page = (pages / f"{code}.md").read_text(encoding="utf-8")
        assert f"\n\n{entry.meaning}\n" in page
        assert f"**Cause:** {entry.cause}\n" in page
        assert f"**Fix:** {entry.fix}\n" in page
        assert f"| [`{code}`]({code}.md) | " in index


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


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    blocks = re.findall("```sh\n(.*?)```", README, re.DOTALL)
    commands = {line.split("#")[0].strip() for block in blocks for line in block.splitlines()}
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("scripts/quickstart", "scripts/test"):
        assert command in commands
        assert re.search(rf"\b{command}\b", ci)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_skill_is_short_and_says_when_it_is_to_be_used() -> None:
    """Its header is that of agent skills: the folder's name, and a description of 1024 characters at most."""
    text = SKILL.read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    assert set(header) == {"name", "description"}
    assert header["name"] == SKILL.parent.name
    assert 50 < len(header["description"]) <= 1024
    assert len(text.splitlines()) <= 150


def long_sentences(document: str) -> list[str]:
    """Those of more than 20 words in what people wrote: no tables, code or generated parts. Code is one word."""
    for part in (r"^    .*?$", r"<!-- generated.*?<!-- end", r"^```.*?^```$", r"<picture>.*?</picture>", r"^\|.*?$"):
        document = re.sub(part, "", document, flags=re.DOTALL | re.MULTILINE)
    document = re.sub(r"\]\([^)]*\)|`[^`]*`", "]", document)
    items = [" ".join(item.split()) for item in re.split(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )", document)]
    sentences = [sentence for item in items for sentence in re.split(r"(?<=[.!?:;·])\s+", item)]
    return [sentence for sentence in sentences if len(sentence.split()) > MAX_SENTENCE_WORDS]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "skills"])
def test_sentences_are_short(name: str) -> None:
    found = sorted((ROOT / name).rglob("*.md")) if name in ("docs", "skills") else [ROOT / name]
    pages = [page for page in found if page.parent.name != "errors"]  # all generated
    assert [sentence for page in pages for sentence in long_sentences(page.read_text(encoding="utf-8"))] == []
    assert long_sentences("word " * (MAX_SENTENCE_WORDS + 1))


def test_every_command_that_is_named_exists() -> None:
    named = re.compile(r"(?:`|^\$? ?)remote-runtime ((?:[a-z][a-z-]* ?)+)", re.MULTILINE)
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md"), SKILL, *SOURCES]:
        for words in named.findall(code_in(path)):
            command: click.Command | None = cli
            for word in words.split():
                if isinstance(command, click.Group):
                    command = command.commands.get(word)
                    assert command is not None, f"{path}: remote-runtime {words}"


def code_in(path: Path) -> str:
    """The text of a program; of a document its fenced blocks and what stands in backticks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return text
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`[^`\n]+`", text)])


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
