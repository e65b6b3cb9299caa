"""Writes docs/schemas: the JSON schema of what each command shows; a test holds the files against the code."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from chordtwist.app.cli.shapes import SHAPES

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def schema(name: str) -> str:
    """The file of one command."""
    return json.dumps(msgspec.json.schema(SHAPES[name]), indent=1) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name in SHAPES:
        (FOLDER / f"{name}.json").write_text(schema(name))
