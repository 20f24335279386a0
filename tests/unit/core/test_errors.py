from __future__ import annotations

import re

import pytest

from remote_runtime.core import errors
from remote_runtime.core.errors import CODES, ERROR_CLASSES, LocalError, RemoteRuntimeError, from_code, from_dict
from remote_runtime.core.errors.catalogue import fill_in_profile

EXIT_CODES = {"UsageError": 2, "Bug": 3, "Interrupted": 130}


@pytest.mark.parametrize("code", CODES)
def test_every_code_survives_the_way_over_the_control_channel(code: str) -> None:
    sent = from_code(code, "it failed", "for a reason\nof two lines", "`remote-runtime down work`")
    received = from_dict(sent.as_dict())
    assert type(received) is type(sent)
    assert (received.code, received.as_dict()) == (code, sent.as_dict())
    assert received.exit_code == EXIT_CODES.get(type(received).__name__, 1)


def test_a_code_belongs_to_one_class_and_is_kebab_case() -> None:
    assert sum(len(kind.codes) for kind in ERROR_CLASSES) == len(CODES)
    assert [code for code in CODES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)] == []


def test_the_catalogue_speaks_in_one_voice() -> None:
    for code, entry in CODES.items():
        for sentence in (entry.meaning, entry.cause, entry.fix):
            assert sentence.endswith("."), code
            assert sentence.count("`") % 2 == 0, code
            assert sentence[0].isupper() or sentence[0] in "`~", code
        text = " ".join([entry.meaning, entry.cause, entry.fix]).lower()
        assert not {"please", "oops", "sorry", "unfortunately"} & set(re.findall(r"\w+", text)), code


def test_a_code_has_a_page_that_reads_as_text_and_as_markdown() -> None:
    assert errors.page("busy") == (
        "# busy\n\nMeaning: Another command is changing this runtime, or its kernels are busy.\n\n"
        "Cause: `up` or `down` of the same runtime is in progress, or a cell is running.\n\n"
        "Fix: Wait until it finishes. `remote-runtime down PROFILE --force` stops it now; running cells lose their "
        "work.\n\nExit code: 1\n"
    )
    assert [code for code in CODES if f"# {code}\n" not in errors.page(code)] == []
    with pytest.raises(KeyError):
        errors.page("no-such-code")


def test_the_family_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d+)", errors.__doc__ or "")
    assert [(kind.__name__, str(kind.exit_code)) for kind in ERROR_CLASSES] == drawn
    assert set(RemoteRuntimeError.__subclasses__()) == set(ERROR_CLASSES)


@pytest.mark.parametrize("described", [{"code": "no-such-code", "what": "x"}, {"code": "", "what": "x"}])
def test_a_code_that_is_not_ours_is_no_error_of_ours(described: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown error code"):
        from_dict(described)


def test_a_code_of_another_class_is_refused() -> None:
    with pytest.raises(ValueError, match="not a code of LocalError"):
        LocalError("ssh-unreachable", "it failed")


def test_an_error_reads_as_what_and_why() -> None:
    assert str(LocalError("busy", "work stays up", "its kernels are busy")) == "work stays up: its kernels are busy"
    assert str(LocalError("busy", "work stays up")) == "work stays up"
    assert from_dict({"code": "busy", "what": "w"}).as_dict() == {"code": "busy", "what": "w", "why": "", "hint": ""}


def test_commands_name_the_profile_as_the_user_does_quoted_for_a_shell() -> None:
    hint = "`remote-runtime logs PROFILE --server` shows more; `remote-runtime profiles check PROFILE`"
    assert fill_in_profile(hint, "./a folder/my.yaml") == (
        "`remote-runtime logs './a folder/my.yaml' --server` shows more; "
        "`remote-runtime profiles check './a folder/my.yaml'`"
    )
    assert fill_in_profile(hint, "my-vm") == (
        "`remote-runtime logs my-vm --server` shows more; `remote-runtime profiles check my-vm`"
    )
    assert fill_in_profile(hint, "") == hint
