"""``python -m scripts.scenes [NAME…]``: plays the scenes and writes their pictures to docs/shots/."""

from __future__ import annotations

import sys
from pathlib import Path

from .film import missing
from .play import SCENES, play

SHOTS = Path(__file__).resolve().parents[2] / "docs" / "shots"


def main(names: list[str]) -> int:
    SHOTS.mkdir(exist_ok=True)
    lacking = 0
    for scene in SCENES:
        if names and scene.name not in names:
            continue
        picture, text = play(scene)
        (SHOTS / f"{scene.name}.svg").write_text(picture, encoding="utf-8")
        lacks = missing(text, scene.phrases)
        lacking += len(lacks)
        sys.stdout.write(f"── {scene.name}{f': lacks {lacks}' if lacks else ''}\n{text.rstrip()}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
