"""What came from outside is shown through one function, wherever it is shown."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from chordtwist.core.parameters import Parameters
from chordtwist.core.printable import printable, printable_lines
from chordtwist.core.records import PutResult, Version
from chordtwist.wire.api_messages import AnswerReader, Outcome, ResultCode
from chordtwist.wire.peer_messages import MESSAGES, REASON_MAX, Goodbye, JoinFailure, Refused, decode, encode

HOSTILE = "a\x1b[2J\nmember  yes\r\x07\x9b31m\u202eb\u2066\u2028\u2029\u200b\ufeff\ud800\x85\t"
"""Clears a screen, opens lines of all kinds, rings, changes colours, turns the reading order, and is nothing to see."""

ROOT = Path(chordtwist.__file__).parent

SHOWS = {"echo", "secho", "print", "write"}
"""Calls by which a program puts a line before people's eyes."""

MAY_SHOW = {
    # Bytes that were asked for, to a pipe or a terminal.
    "app/cli/get.py": {"sys.stdout.buffer.write"},
    "app/cli/talking.py": {"click.echo"},
    # What it shows is made of its `text`, which is printable.
    "app/cli/showing.py": {"to.print"},
    # Lines of the log, whose messages are made printable one by one.
    "app/log_lines.py": {"self._stream.write"},
    "app/line_writer.py": {"os.write"},
    "app/cli/testnet.py": {"self._stream.write"},
    # Files.
    "app/tls.py": {"state.write"},
    "app/checkup.py": {"file.write"},
    # Lines of JSON, in ASCII.
    "app/cli/export.py": {"out.write"},
}
"""Others have `show` of talking, or give what they show to `printable` first."""


class PrintableTests(SynchronousTestCase):
    """The function."""

    def test_escapes(self) -> None:
        """What steers a terminal, ends a line, turns it or is invisible is written as Python writes it."""
        self.assertEqual(r"a\x1b[2J\nb\u202ec\u2028\x85\U000e0041", printable("a\x1b[2J\nb\u202ec\u2028\x85\U000e0041"))
        self.assertTrue(printable(HOSTILE).isprintable())

    def test_left_alone(self) -> None:
        """People's own letters are no danger."""
        for text in ("", "connection refused", "Größe: 5 µs, 日本語, עברית", "\\x1b"):
            self.assertEqual(text, printable(text))

    @given(st.text())
    def test_any(self, text: str) -> None:
        """Whatever it was, it is visible, in one line."""
        self.assertTrue(printable(text).isprintable())
        self.assertEqual(1, len((printable(text) + "x").splitlines()))
        self.assertEqual(text.count("\n"), printable_lines(text).count("\n"))


class PlacesTests(SynchronousTestCase):
    """Where texts come in, and where they go out."""

    def test_reasons_of_peers(self) -> None:
        """A peer's reason is printable from the moment it is read, and no longer than one may be."""
        text = HOSTILE.replace("\ud800", "")
        for told in Goodbye(text), JoinFailure(text), Refused(text), Goodbye("\x1b" * REASON_MAX):
            read = decode(told.kind, encode(told))
            assert isinstance(read, Goodbye | JoinFailure | Refused)
            self.assertIs(type(told), type(read))
            self.assertEqual(printable(told.reason)[:REASON_MAX], read.reason)
        self.assertEqual(Goodbye("leaving"), decode(Goodbye.kind, encode(Goodbye("leaving"))))

    def test_other_texts_of_peers(self) -> None:
        """Besides reasons a peer says its network's name and policy, which are quoted where they are shown."""
        texts = {
            (message.__name__, field.name)
            for message in MESSAGES
            for field in msgspec.structs.fields(message)
            if str(field.type).startswith("<class 'str'") or "[str," in str(field.type)
        }
        expected = {(message.__name__, "reason") for message in (Goodbye, JoinFailure, Refused)}
        self.assertEqual(expected | {("Hello", "network"), ("Hello", "policy")}, texts)
        name = Parameters(network="\x1b[2J\n\u202e").differences(Parameters())
        self.assertTrue("".join(name).isprintable())

    def test_reasons_of_a_node(self) -> None:
        """So is what a node tells its client, whose programs show it to people."""
        reader = AnswerReader()
        result = PutResult(1, 4, Version(0, b""), 0)
        reader.feed(Outcome(5, ResultCode.FAILED, result, "a\x1b[2J\nb").pack())
        answer = reader.take()
        assert isinstance(answer, Outcome)
        self.assertEqual(r"a\x1b[2J\nb", answer.reason)

    def test_no_other_way_out(self) -> None:
        """No command shows a line otherwise than through `printable`: directly, or by `show`, which does."""
        offences = []
        for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "simulation").rglob("*.py")]):
            name = str(path.relative_to(ROOT))
            for call in calls_of(path):
                called = ast.unparse(call.func)
                is_way_out = called.rpartition(".")[2] in SHOWS
                if is_way_out and called not in MAY_SHOW.get(name, ()) and not is_safe(call):
                    offences.append(f"{name}, line {call.lineno}: {ast.unparse(call)}")
        self.assertEqual([], offences)


def calls_of(path: Path) -> list[ast.Call]:
    """All calls of a module."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def is_safe(call: ast.Call) -> bool:
    """Tell whether what is shown is a text of our own, JSON, or has gone through `printable`."""
    return all(_is_safe(argument) for argument in call.args)


def _is_safe(shown: ast.expr) -> bool:
    if isinstance(shown, ast.IfExp):
        return _is_safe(shown.body) and _is_safe(shown.orelse)
    if isinstance(shown, ast.JoinedStr):
        return all(_is_safe(part) for part in shown.values)
    if isinstance(shown, ast.FormattedValue):
        return _is_safe(shown.value)
    if isinstance(shown, ast.Call):
        return ast.unparse(shown.func) in ("printable", "printable_lines", "json.dumps")
    return isinstance(shown, ast.Constant)
