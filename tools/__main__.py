"""``python -m tools``: what there is, and what each is for."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import tools


def purposes() -> dict[str, str]:
    """The tools by name, each with the first line of its documentation."""
    names = [module.name for module in iter_modules(tools.__path__) if module.name != "__main__"]
    return {name: (import_module(f"tools.{name}").__doc__ or "").partition("\n")[0] for name in names}


if __name__ == "__main__":
    for name, purpose in purposes().items():
        print(f"python -m tools.{name:<14}{purpose}")
