"""What an `up` that was cancelled reports: the last observed cause, and what is left."""

from __future__ import annotations

import pytest

from remote_runtime.commands.cancelled_up import failure_of
from remote_runtime.core.errors import DeadlinePassed, Interrupted, RemoteRuntimeError, SshError

CANCELLED = Interrupted().as_dict()


def failed(error: dict[str, str], **facts: object) -> dict[str, object]:
    return {"event": "failed", "error": error, "remains": [], "undone": True, **facts}


@pytest.mark.parametrize(
    ("current", "why"),
    [
        ("Waiting for SSH on vm:22 (timed out), 19 s", "it was still waiting for SSH on vm:22 (timed out), 19 s"),
        ("my-vm has published no host keys yet", "my-vm has published no host keys yet"),
    ],
)
def test_a_deadline_names_what_was_observed_last(current: str, why: str) -> None:
    error = failure_of(failed(CANCELLED), DeadlinePassed("vm was not ready within 20 s"), current)
    assert (error.code, error.why) == ("deadline-passed", why)


def test_a_deadline_names_the_error_that_the_keeper_met() -> None:
    cause = SshError("ssh-unreachable", "Can't connect to my-vm", "connection refused")
    error = failure_of(failed(cause.as_dict()), DeadlinePassed("vm was not ready within 20 s"), "Connecting")
    assert (error.code, error.why) == ("deadline-passed", "Can't connect to my-vm: connection refused")


def test_ctrl_c_says_that_nothing_was_left_running_only_where_that_is_so() -> None:
    def interrupted(**facts: object) -> RemoteRuntimeError:
        return failure_of(failed(CANCELLED, **facts), Interrupted(why="Nothing was left running"), "")

    assert interrupted().as_document() == {
        "code": "interrupted",
        "what": "Cancelled",
        "why": "Nothing was left running",
        "hint": "",
    }
    left = interrupted(remains=["putting my-vm back to TERMINATED failed: 403"])
    assert left.as_document() == {
        "code": "interrupted",
        "what": "Cancelled",
        "why": "",
        "hint": "`remote-runtime down PROFILE`",
        "remains": ["putting my-vm back to TERMINATED failed: 403"],
    }


def test_ctrl_c_of_an_up_that_others_wait_for_says_so() -> None:
    others = Interrupted(why="Another `up` still waits for vm").as_dict()
    error = failure_of(failed(others, undone=False), Interrupted(why="Nothing was left running"), "")
    assert error.why == "Another `up` still waits for vm"
