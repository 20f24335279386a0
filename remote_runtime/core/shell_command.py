"""Commands in texts, quoted for a shell."""

from __future__ import annotations

import shlex


def shell_command(*words: str) -> str:
    """The command in backticks. A shell that reads it gets exactly ``words``, except that it replaces a leading ``~/``.

    ``PROFILE`` and other placeholders in capitals stay as they are."""
    return f"`{' '.join(quote_word(word) for word in words)}`"


def quote_word(word: str) -> str:
    return f"~/{quote_word(word[2:])}" if word.startswith("~/") and len(word) > 2 else shlex.quote(word)
