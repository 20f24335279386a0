"""``python -m scripts.scenes [NAME…]``: plays the scenes and writes their pictures to docs/shots/."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.environment import network

from .film import missing
from .play import SCENES, play

SHOTS = Path(__file__).resolve().parents[2] / "docs" / "shots"


def main(names: list[str]) -> int:
    SHOTS.mkdir(exist_ok=True)
    network.leave()  # port 8888 is free there
    lacking = 0
    for scene in SCENES:
        if names and scene.name not in names:
            continue
        try:
            pictures, text = play(scene)
        except TimeoutError as error:
            lacking += 1
            sys.stdout.write(f"── {scene.name}: {error}\n")
            continue
        for theme, picture in pictures.items():
            (SHOTS / f"{scene.name}-{theme}.svg").write_text(picture, encoding="utf-8")
        lacks = missing(text, scene.phrases)
        lacking += len(lacks)
        sys.stdout.write(f"── {scene.name}{f': lacks {lacks}' if lacks else ''}\n{text.rstrip()}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
