"""How Sphinx builds the documents."""

project = "chordtwist"
author = "The chordtwist authors"
copyright = f"2026, {author}"
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
nitpicky = True
