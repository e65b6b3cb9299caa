"""The state directory: one owner, whole files, and no start that a corrupt one stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import StateUnusable
from chordtwist.core.peer import Identity, Policy
from chordtwist.storage.state import FILE_BYTES_MAX, PEERS_REMEMBERED_MAX, StateDirectory, set_aside

IDENTITY = Identity("test", Policy.ADDRESS)
NOW_MS = 1_700_000_000_000


class StateDirectoryTests(SynchronousTestCase):
    """One directory, and several runs that use it one after another."""

    def setUp(self) -> None:
        """A path where there is nothing yet."""
        self.path = Path(self.mktemp()) / "state"
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.opened: list[StateDirectory] = []

    def tearDown(self) -> None:
        """End what still runs."""
        for state in self.opened:
            state.close()

    def open(self) -> StateDirectory:
        """A run begins."""
        state = StateDirectory(self.path)
        self.opened.append(state)
        return state

    def reopen(self) -> StateDirectory:
        """The run before ends, the next one begins."""
        self.opened.pop().close()
        return self.open()

    def messages(self) -> list[str]:
        """What was logged."""
        return [str(event["log_format"]).format(**event) for event in self.logged]

    # The lock

    def test_made(self) -> None:
        """A directory that is not there is made, with its parents, and nobody else may look into it."""
        self.open()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.messages(), [])

    def test_in_use(self) -> None:
        """A directory in use is refused at once, with its name and the process that uses it."""
        self.open()
        with self.assertRaises(StateUnusable) as caught:
            StateDirectory(self.path)
        self.assertEqual(str(caught.exception), f"{self.path}: in use by process {os.getpid()}")

    def test_in_use_by_another_process(self) -> None:
        """So it is in another process, and a process that was killed leaves no lock behind."""
        program = "import sys, pathlib, chordtwist.storage.state as s; s.StateDirectory(pathlib.Path(sys.argv[1])); "
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                program + "print('locked', flush=True); sys.stdin.read()",
                str(self.path.absolute()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"locked\n")
            with self.assertRaises(StateUnusable) as caught:
                StateDirectory(self.path)
            self.assertEqual(str(caught.exception), f"{self.path}: in use by process {process.pid}")
            process.kill()
        self.open()

    def test_closed(self) -> None:
        """Once closed, the next may have it."""
        self.open()
        self.reopen()

    def test_closed_twice(self) -> None:
        """Closing it again does not close what the system gave its descriptor to meanwhile."""
        state = self.open()
        state.close()
        with (self.path / "lock").open() as other:
            state.close()
            os.fstat(other.fileno())

    def test_no_directory(self) -> None:
        """A path that can be no directory is an error of one line that names it."""
        self.path.parent.mkdir()
        self.path.write_bytes(b"")
        with self.assertRaises(StateUnusable) as caught:
            StateDirectory(self.path)
        self.assertEqual(str(caught.exception), f"{self.path}: cannot be used as state directory: it is a file")

    def test_open_to_all(self) -> None:
        """A directory that everybody may write to is refused: anybody could put files of his own in place of ours."""
        self.path.mkdir(parents=True)
        self.path.chmod(0o777)
        with self.assertRaises(StateUnusable) as caught:
            StateDirectory(self.path)
        self.assertEqual(
            str(caught.exception), f"{self.path}: everybody may write to it: take that right away (chmod o-w)"
        )
        self.assertEqual(list(self.path.iterdir()), [])

    def test_links(self) -> None:
        """A link, or a pipe, in the place of a file is refused in one line that names it; nothing is read or written
        where it leads.
        """
        target = self.path.parent / "target"
        for name, use in {
            "lock": lambda state: None,
            "format": lambda state: None,
            "epoch": lambda state: state.next_epoch(5),
            "node-key": lambda state: state.node_key(),
            "peers.json": lambda state: state.remembered_peers(IDENTITY),
            "tls-key.pem": lambda state: state.read(state.tls_key),
        }.items():
            for make, reason in (
                (lambda path: path.symlink_to(target.absolute()), "it is a symbolic link"),
                (os.mkfifo, "it is no ordinary file"),
            ):
                self.path.mkdir(parents=True, exist_ok=True)
                make(self.path / name)
                target.write_bytes(b"precious")
                with self.assertRaises(StateUnusable) as caught:
                    use(self.open())
                self.assertTrue(str(caught.exception).startswith(str(self.path)), str(caught.exception))
                self.assertTrue(str(caught.exception).endswith(reason), str(caught.exception))
                self.assertEqual(target.read_bytes(), b"precious")
                for state in self.opened:
                    state.close()
                self.opened.clear()
                shutil.rmtree(self.path)

    # The format

    def test_newer_format(self) -> None:
        """A directory of a newer format is refused with one line, and neither touched nor left locked."""
        self.open()
        (self.path / "format").write_bytes(b"2\n")
        self.opened.pop().close()
        for _ in range(2):
            with self.assertRaises(StateUnusable) as caught:
                StateDirectory(self.path)
            self.assertEqual(
                str(caught.exception),
                f"{self.path}: written by a newer chordtwist (format 2; this one reads up to 1)",
            )
        self.assertEqual((self.path / "format").read_bytes(), b"2\n")

    def test_older_format(self) -> None:
        """A directory of an older format is read, and is of this format then."""
        self.open().next_epoch(NOW_MS)
        (self.path / "format").write_bytes(b"0\n")
        self.assertEqual(self.reopen().next_epoch(5), NOW_MS + 1)
        self.assertEqual((self.path / "format").read_bytes(), b"1\n")

    # The epoch

    def test_epoch(self) -> None:
        """An epoch is the time, or one more than the last when the clock went back; in one run and over many."""
        state = self.open()
        self.assertEqual(state.next_epoch(NOW_MS), NOW_MS)
        self.assertEqual(state.next_epoch(NOW_MS), NOW_MS + 1)
        self.assertEqual(self.reopen().next_epoch(NOW_MS - 60_000), NOW_MS + 2)
        self.assertEqual(self.reopen().next_epoch(NOW_MS + 60_000), NOW_MS + 60_000)

    def test_epoch_on_a_full_disk(self) -> None:
        """Where no new file can be written, the old one is written over: a node starts on a full disk, too."""
        state = self.open()
        state.next_epoch(NOW_MS)
        (self.path / "epoch.new").mkdir()
        self.assertEqual(state.next_epoch(NOW_MS), NOW_MS + 1)
        self.assertEqual(self.reopen().next_epoch(0), NOW_MS + 2)
        self.assertEqual(self.messages(), [])

    def test_epoch_is_stored_first(self) -> None:
        """An epoch that cannot be stored is not given: two runs would sign as the same one."""
        state = self.open()
        (self.path / "epoch.new").mkdir()
        with self.assertRaises(StateUnusable) as caught:
            state.next_epoch(NOW_MS)
        self.assertEqual(str(caught.exception), f"{self.path / 'epoch'}: cannot be written: Is a directory")

    # The key

    def test_key(self) -> None:
        """A key is made once, and only its owner may read it."""
        seed = self.open().node_key()
        self.assertEqual(len(seed), 32)
        self.assertEqual((self.path / "node-key").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.reopen().node_key(), seed)
        self.assertEqual(self.messages(), [])

    def test_key_that_others_may_read(self) -> None:
        """A key that others could read is closed to them, and a line says so."""
        seed = self.open().node_key()
        (self.path / "node-key").chmod(0o644)
        self.assertEqual(self.reopen().node_key(), seed)
        self.assertEqual((self.path / "node-key").stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(self.messages()), 1)

    def test_key_that_is_not_ours_to_close(self) -> None:
        """A readable key of another user, as a restored backup may have, ends the start with one line."""
        self.open().node_key()
        (self.path / "node-key").chmod(0o644)

        def refused(path: Path, mode: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(Path, "chmod", refused)
        error = self.assertRaises(StateUnusable, self.reopen().node_key)
        self.assertIn("node-key: others can read this node's key: Operation not permitted", str(error))

    # Peers

    def test_peers(self) -> None:
        """Peers are remembered in their order, of both families."""
        peers = [
            IDENTITY.peer("127.0.0.1", 6401),
            IDENTITY.peer("2001:db8::1", 6402),
            IDENTITY.peer("10.1.2.3", 65_535),
        ]
        self.assertEqual(self.open().remembered_peers(IDENTITY), [])
        self.open_state().remember_peers(peers)
        self.assertEqual(self.reopen().remembered_peers(IDENTITY), peers)

    def open_state(self) -> StateDirectory:
        """The run of now."""
        return self.opened[-1]

    def test_many_peers(self) -> None:
        """Of more peers than are kept, the first are."""
        peers = [IDENTITY.peer("127.0.0.1", port) for port in range(1, 1000)]
        self.open().remember_peers(iter(peers))
        self.assertEqual(self.reopen().remembered_peers(IDENTITY), peers[:PEERS_REMEMBERED_MAX])

    def test_peers_without_room(self) -> None:
        """When they cannot be written, the older ones stay."""
        peers = [IDENTITY.peer("127.0.0.1", 6401)]
        state = self.open()
        state.remember_peers(peers)
        (self.path / "peers.json.new").mkdir()
        self.assertRaises(StateUnusable, state.remember_peers, [])
        self.assertEqual(state.remembered_peers(IDENTITY), peers)

    # Trouble with files

    def test_corrupt_files(self) -> None:
        """A file of anything else is set aside, with one line that names it, and the run goes on as if it had never
        been.
        """
        reads: dict[str, Callable[[StateDirectory], object]] = {
            "epoch": lambda state: self.assertEqual(state.next_epoch(NOW_MS), NOW_MS),
            "node-key": lambda state: self.assertEqual(len(state.node_key()), 32),
            "peers.json": lambda state: self.assertEqual(state.remembered_peers(IDENTITY), []),
            "format": lambda state: None,
        }
        nonsense = [b"", b"\xff\xfe\0", b"-5", b"[1]", b'["127.0.0.1"]', b'["127.0.0.1:0"]', b'["host:80"]', b"{}"]
        nonsense += [
            b"[" * 10_000,
            b"0" * (FILE_BYTES_MAX + 1),
            b"\xc2\xb2",
            b"ab" * 31,
            b"zz" * 32,
            b"9" * 100,
            b"9" * 9999,
        ]
        self.open()
        for name, read in reads.items():
            for n, content in enumerate(nonsense):
                (self.path / name).write_bytes(content)
                self.logged._events.clear()
                read(self.reopen())
                lines = self.messages()
                self.assertEqual(len(lines), 1, (name, content, lines))
                self.assertIn(f"{name} is corrupt and was set aside as {name}.corrupt-{n + 1}", lines[0])
                self.assertEqual((self.path / f"{name}.corrupt-{n + 1}").read_bytes(), content)

    def test_left_by_a_crash(self) -> None:
        """What a crash in the middle of a write left behind changes nothing, and is overwritten, its rights as well."""
        self.open().next_epoch(NOW_MS)
        (self.path / "epoch.new").write_bytes(b"999999999999")
        (self.path / "epoch.new").chmod(0o666)
        state = self.reopen()
        self.assertEqual(state.next_epoch(5), NOW_MS + 1)
        self.assertFalse((self.path / "epoch.new").exists())
        self.assertEqual((self.path / "epoch").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.messages(), [])

    def test_unreadable(self) -> None:
        """A file that the system does not let us read is no corrupt one: it stays, and the operator hears why."""
        state = self.open()
        (self.path / "node-key").mkdir()
        with self.assertRaises(StateUnusable) as caught:
            state.node_key()
        self.assertEqual(str(caught.exception), f"{self.path / 'node-key'}: cannot be read: Is a directory")

    def test_set_aside(self) -> None:
        """Others set their files aside in the same way."""
        state = self.open()
        state.tls_certificate.write_bytes(b"nonsense")
        set_aside(state.tls_certificate, "no certificate")
        self.assertFalse(state.tls_certificate.exists())
        [line] = self.messages()
        self.assertEqual(
            line,
            f"{state.tls_certificate} is corrupt and was set aside as tls-certificate.pem.corrupt-1: no certificate",
        )
