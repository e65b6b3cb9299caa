"""What is run by hand, for minutes or for ever, to look at a node from outside: ``python -m tools`` lists it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def purposes(package: ModuleType) -> dict[str, str]:
    """The programs of a package by name, each with the first line of its documentation."""
    names = [module.name for module in iter_modules(package.__path__) if not module.name.startswith("_")]
    return {name: (import_module(f"{package.__name__}.{name}").__doc__ or "").partition("\n")[0] for name in names}


def show(package: ModuleType) -> None:
    """List the programs of a package, each with what it is for."""
    for name, purpose in purposes(package).items():
        print(f"python -m {package.__name__}.{name:<14}{purpose}")
