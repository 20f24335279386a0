"""Codes of the path from the browser to Jupyter."""

from __future__ import annotations

from .catalogue import CatalogueEntry

HEALTH = {
    "not-answering": CatalogueEntry(
        "no answer through the forwarded port",
        "Jupyter hangs or has ended, or the link to the machine is slow or gone.",
        "`remote-runtime status PROFILE` shows whether it is being mended; `remote-runtime up PROFILE` mends it now.",
    ),
    "token-refused": CatalogueEntry(
        "Jupyter refuses the token",
        "The server was started with another token than the one that is known here.",
        "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`.",
    ),
    "token-not-required": CatalogueEntry(
        "Jupyter lets everybody in, without a token",
        "Something that the server loads on the machine (an identity provider, an extension) replaces its login.",
        "Remove it there; `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "stranger-answered": CatalogueEntry(
        "something answers that is not our server",
        "Jupyter ended and another program of the machine took its port. It was told no token.",
        "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`: the server gets another port.",
    ),
    "origin-refused": CatalogueEntry(
        "Jupyter refuses Colab's origin, or accepts a foreign one",
        "`colab.origins` does not list the page, or a setting on the machine overrides ours.",
        "Check `colab.origins`; `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "kernel-did-not-answer": CatalogueEntry(
        "a kernel does not start, or runs no cell",
        "The environment's ipykernel is broken, or the machine has no memory left.",
        "`remote-runtime logs PROFILE --server` shows what the kernel said.",
    ),
}
