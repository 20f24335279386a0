"""What a server wants beside a key: answers to its questions (RFC 4256), or a password (RFC 4252 8)."""

from __future__ import annotations

from ...core.callbacks import Prompt
from ...core.errors import SshError
from ...core.sanitize import clean_line
from .auth_handler import AuthClient, AuthReply

INTERACTIVE_METHODS = ("keyboard-interactive", "password")
_MAX_TRIES = 3
# Each question of a login is a round, and OpenSSH ends each try with one that asks nothing.
_MAX_ROUNDS = 8


class SecondFactor:
    """``ask`` is asked at most ``_MOST_ROUNDS`` times, whatever the server sends."""

    def __init__(self, auth: AuthClient, prompt: Prompt, user: str) -> None:
        self._auth = auth
        self._prompt = prompt
        self._user = user
        self._rounds = 0

    def complete(self, answer: AuthReply) -> None:
        """``answer``: what the server said to the key. Returns when it lets us in.

        Raises ``SshError`` ``two-factor-needed`` and ``ssh-unreachable``, ``DeadlinePassed``, ``Interrupted``.
        """
        prefix = ""
        for _ in range(_MAX_TRIES):
            if "keyboard-interactive" in answer.methods:
                answer = self._answer_questions(prefix)
            elif "password" in answer.methods:
                answer = self._give_password(prefix)
            else:
                break
            if answer.kind == "accepted":
                return
            prefix = "Not accepted. "
        methods = ", ".join(answer.methods)
        raise _not_accepted(f"it still wants: {methods}")

    def _answer_questions(self, prefix: str) -> AuthReply:
        answer = self._auth.auth_interactive()
        while answer.kind == "asks":
            self._rounds += 1
            if self._rounds > _MAX_ROUNDS:
                raise _not_accepted(f"it goes on asking, {_MAX_ROUNDS} times so far")
            responses = [self._ask_one(prefix, answer, prompt, secret=not echo) for prompt, echo in answer.prompts]
            prefix = ""
            answer = self._auth.send_responses(responses)
        return answer

    def _give_password(self, prefix: str) -> AuthReply:
        answer = self._auth.auth_password(self._ask_user(f"{prefix}Password of {self._user}", secret=True))
        if answer.kind == "asks":
            instructions = clean_line(answer.instructions, 200)
            raise _not_accepted(
                f"the password has expired: {instructions}", "Log in with `ssh` once and change the password"
            )
        return answer

    def _ask_one(self, prefix: str, answer: AuthReply, prompt: str, *, secret: bool) -> str:
        text = clean_line(prompt, 200).rstrip(": ") or "Answer"
        instructions = clean_line(answer.instructions, 500)
        return self._ask_user(prefix + (f"{instructions} {text}" if instructions else text), secret=secret)

    def _ask_user(self, prompt: str, *, secret: bool) -> str:
        with self._auth.pause_deadline():
            return self._prompt(prompt, secret=secret, code="two-factor-needed")


def _not_accepted(why: str, hint: str = "") -> SshError:
    return SshError("two-factor-needed", "The machine does not accept the second factor", why, hint)
