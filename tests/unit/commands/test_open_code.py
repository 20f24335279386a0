"""VS Code's URLs."""

from __future__ import annotations

import json

import pytest

from remote_runtime.commands.open_code import folder_url


@pytest.mark.parametrize(
    ("folder", "encoded"),
    [
        ("/home/me/project", "home/me/project"),
        ("/a b/50%/ü?#&+", "a%20b/50%25/%C3%BC%3F%23%26%2B"),
        ("/", ""),
        ("//evil.example/x", "evil.example/x"),
    ],
)
def test_a_folder_is_percent_encoded(folder: str, encoded: str) -> None:
    assert folder_url("rr-my-vm", folder) == f"vscode://vscode-remote/ssh-remote+rr-my-vm/{encoded}"


def test_a_host_that_is_no_lower_case_name_is_written_in_hexadecimal() -> None:
    url = folder_url("rr-My.VM", "/x")
    digits = url.removeprefix("vscode://vscode-remote/ssh-remote+").removesuffix("/x")
    assert json.loads(bytes.fromhex(digits)) == {"hostName": "rr-My.VM"}
