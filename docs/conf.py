"""How Sphinx builds the documents."""

import re

project = "chordtwist"
author = "The chordtwist authors"
copyright = f"2026, {author}"
extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "chordtwist"
nitpicky = True
# Types in signatures that are described elsewhere, or that no program makes.
nitpick_ignore_regex = [
    ("py:.*", r"(<InterfaceClass )?(twisted|asyncio|typing|collections|pathlib)\..*"),
    ("py:.*", r"(chordtwist\..*\.)?(Connecting|NodeService|StartError|Alarm|Event|Signer|Version|Peer)"),
]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"


def _fields(app, what, name, obj, options, lines):
    """Write the fields of the code's docstrings, ``@param name:``, as Sphinx reads them."""
    text = re.sub(r" @(\w+)", r"\n@\1", "\n".join(lines))
    lines[:] = re.sub(r"^@(param|raise|return|ivar)\b", r":\1", text, flags=re.M).split("\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _fields)
