"""A hook of mkdocs: README.md is the home page, and the other documents of the top folder are pages too.

Their links are made relative to docs/, and links from docs/ to them point to the pages.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "report-a-vulnerability.md",
}
TARGET = re.compile(r"""(?<=\]\()[^)\s]+(?=\))|(?<=src=")[^"]+|(?<=srcset=")[^"]+""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=linked(text, PurePosixPath(name))))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri in PAGES.values():
        return markdown
    return linked(markdown, PurePosixPath("docs") / page.file.src_uri)


def linked(text: str, source: PurePosixPath) -> str:
    """``text`` of the file ``source`` with links to files of the repository as links between the site's pages."""
    page = PurePosixPath(PAGES.get(source.name, source.name)) if source.parent == PurePosixPath() else source
    depth = len(page.parts) - 2 if page.parts[0] == "docs" else 0
    return TARGET.sub(lambda found: _target(found[0], source, depth), text)


def _target(link: str, source: PurePosixPath, depth: int) -> str:
    path, mark, anchor = link.partition("#")
    if not path or ":" in path:
        return link
    parts: list[str] = []
    for part in (source.parent / path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    name = "/".join(parts)
    if name in PAGES:
        return "../" * depth + PAGES[name] + mark + anchor
    if source.parent == PurePosixPath() and parts[0] == "docs":
        return "/".join(parts[1:]) + mark + anchor
    return link
