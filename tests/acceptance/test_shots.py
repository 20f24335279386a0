"""The pictures of docs/ show what the program still says: each scene is played again, in a real terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.scenes.film import missing, words_in
from scripts.scenes.play import SCENES, Scene, play

DOCS = Path(__file__).resolve().parents[2] / "docs"
# One size and one theme of the same thing is enough here.
PLAYED = [scene for scene in SCENES if not scene.name.startswith("watch-") or scene.name == "watch-80-dark"]


@pytest.mark.parametrize("scene", PLAYED, ids=lambda scene: str(scene.name))
def test_a_scene_is_played_as_its_picture_shows(scene: Scene) -> None:
    _, text = play(scene)
    assert missing(text, scene.phrases) == []


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.name))
def test_a_picture_shows_what_it_is_there_for(scene: Scene) -> None:
    shown = words_in((DOCS / "shots" / f"{scene.name}.svg").read_text(encoding="utf-8"))
    assert missing(shown, scene.phrases) == []
    assert max(map(len, shown.splitlines())) <= scene.columns


def test_every_picture_that_a_document_shows_is_there() -> None:
    for document in DOCS.glob("*.md"):
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / picture).exists(), f"{document.name}: {picture}"
