"""What a server wants beside a key: answers to its questions (RFC 4256), or a password (RFC 4252 8)."""

from __future__ import annotations

from ...core.callbacks import Ask
from ...core.errors import SshError
from ...core.sanitize import clean_line
from .auth_handler import Answer, Conversation

BY_A_PERSON = ("keyboard-interactive", "password")
_TRIES = 3
# Each question of a login is a round, and OpenSSH ends each try with one that asks nothing.
_MOST_ROUNDS = 8


class SecondFactor:
    """``ask`` is asked at most ``_MOST_ROUNDS`` times, whatever the server sends."""

    def __init__(self, talk: Conversation, ask: Ask, user: str) -> None:
        self._talk = talk
        self._ask = ask
        self._user = user
        self._rounds = 0

    def give(self, answer: Answer) -> None:
        """``answer``: what the server said to the key. Returns when it lets us in.

        Raises ``SshError`` ``two-factor-needed`` and ``ssh-unreachable``, ``DeadlinePassed``, ``Interrupted``.
        """
        before = ""
        for _ in range(_TRIES):
            if "keyboard-interactive" in answer.methods:
                answer = self._answer_questions(before)
            elif "password" in answer.methods:
                answer = self._give_password(before)
            else:
                break
            if answer.kind == "accepted":
                return
            before = "Not accepted. "
        methods = ", ".join(answer.methods)
        raise _refused(f"it still wants: {methods}")

    def _answer_questions(self, before: str) -> Answer:
        answer = self._talk.ask_me()
        while answer.kind == "asks":
            self._rounds += 1
            if self._rounds > _MOST_ROUNDS:
                raise _refused(f"it goes on asking, {_MOST_ROUNDS} times so far")
            replies = [self._reply(before, answer, prompt, secret=not echo) for prompt, echo in answer.prompts]
            before = ""
            answer = self._talk.reply(replies)
        return answer

    def _give_password(self, before: str) -> Answer:
        answer = self._talk.give_password(self._asked(f"{before}Password of {self._user}", secret=True))
        if answer.kind == "asks":
            said = clean_line(answer.instructions, 200)
            raise _refused(f"the password has expired: {said}", "Log in with `ssh` once and change the password")
        return answer

    def _reply(self, before: str, answer: Answer, prompt: str, *, secret: bool) -> str:
        text = clean_line(prompt, 200).rstrip(": ") or "Answer"
        told = clean_line(answer.instructions, 500)
        return self._asked(before + (f"{told} {text}" if told else text), secret=secret)

    def _asked(self, prompt: str, *, secret: bool) -> str:
        with self._talk.a_person_is_asked():
            return self._ask(prompt, secret=secret, code="two-factor-needed")


def _refused(why: str, hint: str = "") -> SshError:
    return SshError("two-factor-needed", "The machine does not accept the second factor", why, hint)
