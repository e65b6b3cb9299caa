"""The `chordtwist` command: its entry point here, the list of its commands in `commands`, one module for each of them.

Exit status of all of them: 0 done, 1 not found or refused, 2 bad usage, 3 node not reachable, 4 too few
copies, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command of the command line, and end the process with its status.

    Until a command says otherwise Ctrl-C ends the process at once and in silence, also while Python still imports what
    the command needs: Python's own reaction is a traceback. Where the shell has Ctrl-C ignored, as for what runs behind
    an ampersand in a script, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # what is imported stays: to look for garbage in it took a fifteenth of a short command
    from chordtwist.app.cli.commands import main as commands

    commands()
