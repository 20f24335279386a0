"""Make foreign text safe to show: no control characters, no terminal sequences, a maximum length, no secrets."""

from __future__ import annotations

import re

_STRING_SEQUENCE = "(?:\x1b[PX^_\\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
_CONTROL_SEQUENCE = "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
_OTHER_ESCAPE = "\x1b[ -/]*[0-~]?"
_TERMINAL_SEQUENCE = re.compile(f"{_STRING_SEQUENCE}|{_CONTROL_SEQUENCE}|{_OTHER_ESCAPE}")
_LINE_END = re.compile("\r\n|\r(?!\n)|\x85|\u2028|\u2029")
# Bidirectional overrides and isolates reorder the text on the screen; lone surrogates cannot be printed.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(text: str, max_chars: int) -> str:
    """``text`` without terminal sequences and control characters, at most ``max_chars`` characters long.

    Tabs and line feeds stay, other line ends become line feeds. Text that is too long ends with ``…``. Markup of
    the output library is left alone; ``cli.output`` escapes it.
    """
    # Bounds the work: there may be more escape sequences than text.
    kept = _TERMINAL_SEQUENCE.sub("", text[: 4 * max_chars + 4096])
    kept = _UNSAFE.sub("", _LINE_END.sub("\n", kept))
    if len(kept) <= max_chars and len(text) <= 4 * max_chars + 4096:
        return kept
    return kept[: max(0, max_chars - 1)] + "…" if max_chars > 0 else ""


def clean_line(text: str, max_chars: int) -> str:
    """``clean``, with spaces for line feeds and tabs: for values inside a sentence or a table."""
    return " ".join(clean(text, max_chars).split())


# Before the secret: its name, quotes (escaped ones too, of JSON inside JSON), and = or : (also URL-encoded).
_NAMED_FIELD = r"(?:token|_xsrf|password|passphrase|client_secret|private_key)[\\'\"]*\s*(?:[=:]|%(?:25)*3d)\s*[\\'\"]*"
_AUTH_HEADER = r"authorization[\\'\"]*\s*[=:]\s*[\\'\"]*(?:(?:token|bearer|basic)\s+)?"
_NAMED_SECRET = re.compile(rf"(?i)({_AUTH_HEADER}|{_NAMED_FIELD}|bearer\s+)[^\s&'\"]+")
# Known by their form: private keys; Google's access tokens, refresh tokens and client secrets; JSON Web Tokens.
_SECRET_FORMAT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bya29\.[\w.-]+|\b1//0[\w-]{10,}|\bGOCSPX-[\w-]+|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    re.DOTALL,
)
_URL_CREDENTIALS = re.compile(r"(?i)(\bhttps?://|://[^\s/@:'\"]{1,256}:)[^\s/@'\"]{1,512}@")


def redact(text: str) -> str:
    """``text`` with ``***`` for values of secret names such as ``token=``, for keys and tokens of known forms, and for
    the credentials in URLs."""
    return _URL_CREDENTIALS.sub(r"\1***@", _NAMED_SECRET.sub(r"\1***", _SECRET_FORMAT.sub("***", text)))
