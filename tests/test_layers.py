"""The folders are the layers: reads every import of every module, and holds the table of who may import whom."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chordtwist

ROOT = Path(chordtwist.__file__).parent

TWISTED_OF_NODE = (
    "twisted.internet.defer",
    "twisted.internet.interfaces",
    "twisted.internet.task",
    "twisted.logger",
    # What an errback is given.
    "twisted.python.failure",
    "zope.interface",
)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": ("chordtwist.core", "msgspec"),
    "wire": ("chordtwist.core", "chordtwist.wire", "msgspec"),
    "node": (
        "chordtwist.core",
        "chordtwist.wire.peer_messages",
        "chordtwist.wire.api_messages",
        "chordtwist.node",
        "msgspec.structs",
        *TWISTED_OF_NODE,
    ),
    "storage": (
        "chordtwist.core",
        "chordtwist.node.interfaces",
        "chordtwist.storage",
        "lmdb",
        "sortedcontainers",
        "twisted.internet",
        "twisted.logger",
        "twisted.python",
        "zope.interface",
    ),
    "net": (
        "chordtwist.core",
        "chordtwist.wire",
        "chordtwist.node.interfaces",
        "chordtwist.net",
        "twisted",
        "zope.interface",
        # TLS: certificates and what is demanded of them.
        "OpenSSL",
        "cryptography",
        # net/web: JSON and metrics.
        "msgspec",
        "prometheus_client",
    ),
    "simulation": (
        "chordtwist.core",
        "chordtwist.wire",
        "chordtwist.node",
        "chordtwist.storage.memory",
        "chordtwist.simulation",
        "twisted",
        "zope.interface",
        # Its command: options, a progress bar.
        "click",
        "rich",
        # Sweeps on other machines, where somebody asks for that.
        "distributed",
    ),
    "app": ("",),
    "aio": ("chordtwist.core", "chordtwist.wire"),
}
"""Besides the standard library. The empty prefix is everything."""

WINGS = {"chordtwist.node.ring": "chordtwist.node.records", "chordtwist.node.records": "chordtwist.node.ring"}
"""Two halves of one layer that know nothing of one another: they meet in `IRing` and in `Node`."""

MAY_SIGN = "chordtwist.core.signed"
"""Of the core, only what signs and verifies; nothing else there has a dependency."""

MAY_IMPORT_REACTOR = ("chordtwist.app.plugin", "chordtwist.app.cli")
"""Whoever imports the reactor installs it for the whole process; these do so inside a function."""


@dataclass(frozen=True)
class Import:
    """``from module import name``, or ``import module`` with an empty name."""

    module: str
    name: str
    line: int
    in_function: bool
    for_types_only: bool

    @property
    def whole(self) -> str:
        """The dotted name of what is imported."""
        return f"{self.module}.{self.name}" if self.name else self.module

    def is_of(self, prefix: str) -> bool:
        """Whether it is the package, module or name `prefix`, or something in it."""
        return not prefix or f"{self.whole}.".startswith(f"{prefix}.")


@cache
def imports_of(module: str, source: str, is_package: bool = False) -> tuple[Import, ...]:
    """All imports of a module, also those inside functions and under TYPE_CHECKING."""
    package = module if is_package else module.rpartition(".")[0]

    def visit(node: ast.AST, in_function: bool, for_types_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno, in_function, for_types_only)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = ".".join(above[: len(above) + 1 - node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield Import(origin, alias.name, node.lineno, in_function, for_types_only)
        in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for field, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, in_function, for_types_only or (guarded and field == "body"))

    return tuple(visit(ast.parse(source), False, False))


def offences_of(module: str, source: str, is_package: bool = False) -> list[str]:
    """What a module imports against the table, one line each."""
    layer = module.split(".")[1] if "." in module else ""
    if layer and layer not in MAY_IMPORT:
        return [f"{module}: the table does not know the layer {layer}"]
    return [
        f"{module}:{found.line}: {found.whole}"
        for found in imports_of(module, source, is_package)
        if not _is_allowed(module, layer, found)
    ]


def _is_allowed(module: str, layer: str, found: Import) -> bool:
    if found.is_of("twisted.internet.reactor"):
        return found.in_function and any(f"{module}.".startswith(f"{place}.") for place in MAY_IMPORT_REACTOR)
    if not layer and found.for_types_only:
        return True  # what the package shows, imported when it is asked for
    if found.module.split(".")[0] in sys.stdlib_module_names:
        return True
    if any(f"{module}.".startswith(f"{wing}.") and found.is_of(other) for wing, other in WINGS.items()):
        return False
    if module == MAY_SIGN and found.is_of("nacl"):
        return True
    return any(found.is_of(prefix) for prefix in MAY_IMPORT.get(layer, ()))


def modules() -> dict[str, Path]:
    """Every module of the package, by dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("chordtwist", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def first_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, or nothing."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            cycle = walk(target, [*path, module])
            if cycle:
                return cycle
        done.add(module)
        return []

    for module in sorted(graph):
        cycle = walk(module, [])
        if cycle:
            return cycle
    return []


def constants_of(source: str) -> Iterator[str]:
    """The constants that a module defines: names in capitals, of two letters and more, that are not private."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(name, ast.Name) and len(name.id) > 1 and name.id.isupper() and name.id[0] != "_":
                    yield name.id


class LayersTests(SynchronousTestCase):
    """The package as it is."""

    def test_every_module_keeps_to_its_layer(self) -> None:
        """No module imports what the table does not allow its layer."""
        offences = [
            offence
            for module, path in modules().items()
            for offence in offences_of(module, path.read_text(), path.name == "__init__.py")
        ]
        self.assertEqual([], offences)

    def test_every_layer_is_read(self) -> None:
        """The table is held against modules of every layer; none is held in vain."""
        self.assertEqual(set(MAY_IMPORT), {name.split(".")[1] for name in modules() if "." in name})

    def test_no_circles(self) -> None:
        """The modules of the package can be read in an order in which each builds on earlier ones."""
        known = modules()
        graph: dict[str, set[str]] = {}
        for module, path in known.items():
            found = imports_of(module, path.read_text(), path.name == "__init__.py")
            graph[module] = {
                one.whole if one.whole in known else one.module
                for one in found
                if not one.for_types_only and (one.whole in known or one.module in known)
            }
        self.assertEqual([], first_cycle(graph))

    def test_one_constant_one_meaning(self) -> None:
        """No constant stands in two modules: whoever reads its name knows which one is meant."""
        homes: dict[str, list[str]] = {}
        for module, path in modules().items():
            for name in constants_of(path.read_text()):
                homes.setdefault(name, []).append(module)
        self.assertGreater(len(homes), 100)
        self.assertEqual({}, {name: places for name, places in homes.items() if len(places) > 1})


class OffencesTests(SynchronousTestCase):
    """The reading of imports, which must see what it is there for."""

    def assert_offence(self, module: str, source: str) -> None:
        """The import in `source` is refused in `module`."""
        self.assertEqual(1, len(offences_of(module, source)), source)

    def test_core_without_twisted(self) -> None:
        """Twisted in the core is an offence, in whatever way it is written."""
        self.assert_offence("chordtwist.core.ring", "import twisted.internet.defer")
        self.assert_offence("chordtwist.core.ring", "from twisted.logger import Logger")
        self.assert_offence("chordtwist.core.ring", "def f():\n    from twisted.internet import defer")

    def test_core_without_other_layers(self) -> None:
        """The core does not look up, not even for types, nor by a relative import."""
        source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from chordtwist.node.node import Node"
        self.assert_offence("chordtwist.core.ring", source)
        self.assert_offence("chordtwist.core.ring", "from ..wire import frames")

    def test_nacl_only_where_signed(self) -> None:
        """Of the core, only the module that signs and verifies may use PyNaCl."""
        source = "from nacl.exceptions import BadSignatureError"
        self.assertEqual([], offences_of("chordtwist.core.signed", source))
        self.assert_offence("chordtwist.core.ring", source)

    def test_node_without_transports(self) -> None:
        """A node has Deferreds and a clock, and of the wire the messages, not the frames."""
        self.assertEqual([], offences_of("chordtwist.node.node", "from twisted.internet import defer, task"))
        self.assertEqual([], offences_of("chordtwist.node.node", "from chordtwist.wire.peer_messages import Ping"))
        self.assert_offence("chordtwist.node.node", "from twisted.internet import endpoints")
        self.assert_offence("chordtwist.node.node", "from twisted.internet.protocol import Protocol")
        self.assert_offence("chordtwist.node.node", "from chordtwist.wire import frames")

    def test_wings_apart(self) -> None:
        """Ring and records know nothing of one another; a node knows both."""
        self.assert_offence("chordtwist.node.ring.tables", "from chordtwist.node.records.puts import Puts")
        self.assert_offence("chordtwist.node.records.puts", "from ..ring.tables import Tables")
        self.assertEqual([], offences_of("chordtwist.node.node", "from chordtwist.node.ring.tables import Tables"))

    def test_simulation_without_net(self) -> None:
        """The simulator has a network of its own."""
        self.assert_offence("chordtwist.simulation.world", "from chordtwist.net.peer_pool import PeerPool")

    def test_reactor_only_at_the_rim(self) -> None:
        """The reactor is imported inside functions of the plugin and the commands, nowhere else."""
        inside = "def f():\n    from twisted.internet import reactor"
        self.assertEqual([], offences_of("chordtwist.app.plugin", inside))
        self.assertEqual([], offences_of("chordtwist.app.cli.run", inside))
        self.assert_offence("chordtwist.app.plugin", "from twisted.internet import reactor")
        self.assert_offence("chordtwist.app.service", inside)
        self.assert_offence("chordtwist.net.api", inside)

    def test_unknown_layer(self) -> None:
        """A new folder needs a place in the table."""
        self.assert_offence("chordtwist.attic.old", "")

    def test_circle(self) -> None:
        """A circle of imports is found and shown."""
        self.assertEqual(["a", "b", "c", "a"], first_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}))
        self.assertEqual([], first_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}))
