"""The parts of the metadata that depend on the address of the repository; everything else is in setup.cfg."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from setuptools import setup

RELATIVE_LINK = re.compile(r'(\]\(|(?:href|src|srcset)=")(?!https?://|#|mailto:)([^)"#\s]+)')
PICTURES = (".svg", ".png", ".gif")


def project_urls(repository: str) -> dict[str, str]:
    if not repository:
        return {}
    return {
        "Source": repository,
        "Documentation": f"{repository}/blob/main/docs",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def absolute_links(text: str, repository: str) -> str:
    """``text`` with links to the repository's files that also work outside it; as it is without a ``repository``."""
    if not repository:
        return text

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link[2].endswith(PICTURES) else "blob"
        return f"{link[1]}{repository}/{kind}/main/{link[2]}"

    return RELATIVE_LINK.sub(absolute, text)


def repository() -> str:
    config = configparser.ConfigParser(interpolation=None)
    config.read("setup.cfg", encoding="utf-8")
    return config["remote-runtime"]["repository"].strip().rstrip("/")


if __name__ == "__main__":
    setup(
        project_urls=project_urls(repository()),
        long_description=absolute_links(Path("README.md").read_text(encoding="utf-8"), repository()),
        long_description_content_type="text/markdown",
    )
