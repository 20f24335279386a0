"""The table of keys, the schema made from it, the annotated example and the dataclasses say the same."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its types are a separate package
import pytest
import yaml

from remote_runtime import profiles
from remote_runtime.core.errors import UsageError
from remote_runtime.core.profile import ExtraForward
from remote_runtime.profiles.schema import PROFILE
from remote_runtime.profiles.sections import Key, Section, TaggedUnion

READY = Path(profiles.__file__).parents[2] / "profiles"
READY_NAMES = sorted(path.stem for path in READY.glob("*.yaml"))
HEAD = {"version": 1, "target": {"kind": "local"}}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(profiles.json_schema())
    return jsonschema.Draft202012Validator(profiles.json_schema())


@pytest.mark.parametrize("name", READY_NAMES)
def test_the_schema_accepts_the_ready_profiles(validator: jsonschema.Draft202012Validator, name: str) -> None:
    validator.validate(yaml.safe_load((READY / f"{name}.yaml").read_text()))
    kinds = {"example": "gce", "deep-learning-vm": "gce", "demo-iap": "demo", "demo-new": "demo"}
    assert profiles.load(name, environ={}).target.kind == kinds.get(name, name)


@pytest.mark.parametrize(
    "document",
    [
        {}, {"version": 1}, {"version": 2, "target": {"kind": "local"}}, {"version": 1, "target": {"kind": "vm"}},
        {"version": 1, "target": {"kind": "local", "host": "x"}}, {"version": 1, "target": {"kind": "ssh"}},
        {"version": 1, "target": {"kind": "gce", "instance": "Upper"}}, HEAD | {"shh": {}},
        HEAD | {"ssh": {"port": "22"}},
        HEAD | {"ssh": {"host_key": "off"}}, HEAD | {"ssh": {"keepalive": 15}}, HEAD | {"ssh": {"port": 0}},
        HEAD | {"jupyter": {"env": {"A": 1}}}, HEAD | {"jupyter": {"attach": {"token_file": "~/t"}}},
        HEAD | {"forward": {"engine": "slow"}}, HEAD | {"forward": {"local_port": [1, 2, 3]}},
        HEAD | {"forward": {"extra": ["6006:"]}}, HEAD | {"colab": {"origins": []}}, HEAD | {"idle": {"after": "soon"}},
        HEAD | {"on_down": {"instance": "erase"}}, HEAD | {"timeouts": {"ssh": "never"}},
    ],
)  # fmt: skip
def test_schema_and_loader_refuse_the_same_mistakes(
    validator: jsonschema.Draft202012Validator, tmp_path: Path, document: dict[str, Any]
) -> None:
    assert not validator.is_valid(document)
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UsageError):
        profiles.load(str(tmp_path / "p.yaml"))


def test_every_key_is_described() -> None:
    assert all(key.description for _, _, key in every_key_with_its_section())


def test_every_key_sets_a_field_of_its_dataclass() -> None:
    for _, block, key in every_key_with_its_section():
        assert key.name == "version" or key.attribute in {item.name for item in dataclasses.fields(block.model)}


def test_the_example_shows_every_key_and_its_default() -> None:
    told = told_in_the_example()
    for section, block, key in every_key_with_its_section():
        if key.required:
            assert "required" in told[section, key.name], key.name
        elif key.name == "attach" or not isinstance(key.value_type, Section):
            default = re.sub(r"^null \(.*", "null", told[section, key.name].rpartition("default: ")[2])
            assert yaml.safe_load(default) == block.default_as_yaml(key), (section, key.name)
        else:
            assert (section, key.name) in told


def told_in_the_example() -> dict[tuple[str, str], str]:
    """The first line of every key by section and name; keys that are commented out count as well."""
    told: dict[tuple[str, str], str] = {}
    section = ""
    for line in (READY / "example.yaml").read_text().splitlines():
        found = re.match(r"(  )?(?:# )?([a-z_]+):(?:\s|$)", line)
        if found:
            section = section if found[1] else found[2]
            told.setdefault((section, found[2]), line)
    return told


def every_key_with_its_section() -> Iterator[tuple[str, Section, Key]]:
    for section in PROFILE.keys:
        yield section.name, PROFILE, section
        blocks = (
            section.value_type.sections.values()
            if isinstance(section.value_type, TaggedUnion)
            else [section.value_type]
        )
        yield from ((section.name, block, key) for block in blocks if isinstance(block, Section) for key in block.keys)


def test_what_is_shown_loads_again_to_the_same_profile(tmp_path: Path) -> None:
    for name in READY_NAMES:
        loaded = profiles.load(name, environ={})
        (tmp_path / f"{name}.yaml").write_text(profiles.to_yaml(loaded))
        again = profiles.load(str(tmp_path / f"{name}.yaml"))
        assert dataclasses.replace(again, path=loaded.path) == loaded


def test_what_is_shown_has_every_key_and_fits_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    document = profiles.to_document(profiles.load("example", environ={}))
    validator.validate(document)
    assert set(document) == {key.name for key in PROFILE.keys}
    assert document["target"]["kind"] == "gce"
    assert document["forward"] == {"local_port": "auto", "engine": "auto", "extra": ["6006:6006"]}
    assert document["timeouts"]["instance"] == "5m"


def test_what_is_shown_hides_secrets(tmp_path: Path) -> None:
    text = "version: 1\ntarget: {kind: local}\njupyter: {env: {HF_TOKEN: hunter2, A: b}, packages: ['x @ https://u:hunter2@h/x']}\n"
    (tmp_path / "p.yaml").write_text(text)
    loaded = profiles.load(str(tmp_path / "p.yaml"))
    assert loaded.jupyter.env["HF_TOKEN"] == "hunter2"
    shown = profiles.to_document(loaded)["jupyter"]
    assert shown["env"] == {"HF_TOKEN": "***", "A": "b"}
    assert shown["packages"] == ["x @ https://***@h/x"]


def test_a_forward_of_the_command_line_is_read_like_one_of_the_profile() -> None:
    for text in ("6006", "6006:6006"):
        assert profiles.parse_extra_forward(text) == ExtraForward(6006, 6006)
    assert profiles.parse_extra_forward("1:[::1]:2") == ExtraForward(1, 2, "::1")
    assert profiles.parse_extra_forward("1:/run/a b.sock") == ExtraForward(1, 0, "/run/a b.sock")
    for text in ("1:run/me.sock", "0:/run/me.sock", "1:/" + 101 * "x", "1:/run\n/me"):
        with pytest.raises(UsageError):
            profiles.parse_extra_forward(text)
    with pytest.raises(UsageError) as caught:
        profiles.parse_extra_forward("70000")
    assert caught.value.code == "usage"


def test_the_text_of_a_template_names_its_schema_wherever_it_is_copied_to() -> None:
    first, _, rest = profiles.template_text("example").partition("\n")
    assert rest == (READY / "example.yaml").read_text().partition("\n")[2]
    assert first == f"# yaml-language-server: $schema={(READY / 'schema.json').as_uri()}"


@pytest.mark.parametrize("name", READY_NAMES)
def test_each_ready_profile_names_the_schema_beside_it(name: str) -> None:
    assert (READY / f"{name}.yaml").read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    assert json.loads((READY / "schema.json").read_text()) == profiles.json_schema()


def test_the_keys_that_a_file_sets_are_told_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\ntarget: {kind: gce, instance: a}\njupyter: {env: {HF_TOKEN: hunter2}}\nssh:\n")
    loaded = profiles.load(str(path))
    assert profiles.set_document(loaded) == {
        "version": 1, "target": {"kind": "gce", "instance": "a"}, "jupyter": {"env": {"HF_TOKEN": "***"}},
    }  # fmt: skip
    marked = profiles.marked_yaml(loaded)
    assert yaml.safe_load(marked) == profiles.to_document(loaded)
    assert "  instance: a\n" in marked
    assert "  zone: null  # default\n" in marked
