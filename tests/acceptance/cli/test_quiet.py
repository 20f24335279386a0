"""A quiet day: with ``-q`` only answers are seen."""

from __future__ import annotations

from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host


def test_a_runtimes_whole_life_can_be_quiet(world: World) -> None:
    with ssh_host(world):
        story = [
            (["up", "box"], 1),
            (["up", "box"], 1),
            (["url", "box"], 1),
            (["status", "box"], None),
            (["logs", "box"], None),
            (["logs", "box", "--server"], None),
            (["ssh", "box", "--", "true"], 0),
            (["doctor", "box"], 0),
            (["host-key", "show", "box"], None),
            (["down", "box"], 0),
        ]
        for arguments, lines in story:
            at = arguments.index("--") if "--" in arguments else len(arguments)
            done = world.run(*arguments[:at], "-q", *arguments[at:])
            assert (done.code, done.err) == (0, ""), arguments
            assert lines is None or len(done.out.splitlines()) == lines, arguments


def test_a_failure_is_told_even_then(world: World) -> None:
    done = world.run("up", "nobody", "-q")
    assert done.code == 2
    assert done.err.startswith("error[profile-not-found]: ")
