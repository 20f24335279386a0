"""The pictures of docs/ show what the program still says: each scene is played again, in a real terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.scenes.film import THEMES, missing, words_in
from scripts.scenes.play import SCENES, Scene, play

DOCS = Path(__file__).resolve().parents[2] / "docs"
# One size of the same thing is enough here.
PLAYED = [scene for scene in SCENES if scene.name != "watch-140"]


@pytest.mark.parametrize("scene", PLAYED, ids=lambda scene: str(scene.name))
def test_a_scene_is_played_as_its_picture_shows(scene: Scene) -> None:
    _, text = play(scene)
    assert missing(text, scene.phrases) == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.name))
def test_a_picture_shows_what_it_is_there_for(scene: Scene, theme: str) -> None:
    picture = (DOCS / "shots" / f"{scene.name}-{theme}.svg").read_text(encoding="utf-8")
    shown = words_in(picture)
    assert missing(shown, scene.phrases) == []
    assert max(map(len, shown.splitlines())) <= scene.columns
    assert "/tmp" not in picture
    assert "@font-face" not in picture


def test_every_picture_that_a_document_shows_is_there() -> None:
    shown = set()
    for document in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]:
        for picture in re.findall(
            r'(?:src|srcset)="([^"]+)"|!\[[^]]*\]\(([^)]+)\)', document.read_text(encoding="utf-8")
        ):
            path = document.parent / "".join(picture)
            assert path.exists(), f"{document.name}: {picture}"
            shown.add(path.name)
    assert len(shown) > 6
