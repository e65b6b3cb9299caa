"""``chordtwist doctor``: is a node well, and would it be well here; what to do where it is not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller, Connect, No, NotReachable
from chordtwist.core.counted import counted
from chordtwist.core.errors import ConfigurationError

if TYPE_CHECKING:
    from chordtwist.app.checkup import Finding
    from chordtwist.app.config_file import Checked

FAULTS_NAMED = 3
_STYLES = {"good": "green", "look": "yellow", "bad": "red"}


@click.command(
    help="""Look whether a node is well, and its machine; say what to do where it is not.

    Asks the node at --api how it is, walks its ring, and tries its neighbours. With -c FILE it also looks at what a
    configuration needs: its mistakes, ports, addresses, the disk of state_dir, certificates, bootstrap nodes; then no
    node has to run, and the one that is asked is the file's, unless something else says where. Each line is good, look
    (worth a look) or bad; status 1 when one is bad.

    With --bundle FILE all that was found goes to a file for those who help: also status, events, ring, versions and
    the configuration without its secrets. Addresses of members stand in it. That is for the operator.

    \b
    Examples:
        chordtwist doctor
        chordtwist doctor -c node.ini
        chordtwist doctor --bundle report.json
    """
)
@click.option(
    "-c", "--config", "path", metavar="FILE", type=click.Path(dir_okay=False), help="A configuration to look at."
)
@click.option("--bundle", metavar="FILE", type=click.Path(dir_okay=False), help="Write all that was found to FILE.")
@talking.asks_a_node
def command(caller: Caller, path: str | None, bundle: str | None) -> None:
    """Run ``chordtwist doctor``."""
    from chordtwist.app import checkup

    report: dict[str, Any] = {}
    checked = None if path is None else _checked(path)
    if not isinstance(checked, ConfigurationError | None) and not talking.is_api_named(click.get_current_context()):
        caller = replace(caller, api=checked.config.api_address)
    of_node = list(_node(caller, report, path))
    of_file = [] if checked is None else list(_file(path, checked, is_running="status" in report))
    findings = [*checkup.machine(), *of_file, *of_node]
    shown = [asdict(finding) for finding in findings]
    if bundle is not None:
        _write(Path(bundle), {"findings": shown, **report, **_for_helpers(caller, "status" in report)})
    if caller.as_json:
        talking.show_json({"findings": shown})
    else:
        _show(findings)
        if bundle is not None:
            talking.show(f"{bundle}: all of it, for those who help; look through it before you send it")
    if any(finding.state == "bad" for finding in findings):
        raise SystemExit(1)


def _checked(path: str) -> Checked | ConfigurationError:
    from chordtwist.app.config_file import check_file

    try:
        return check_file(path)
    except ConfigurationError as error:
        return error


def _file(path: str | None, checked: Checked | ConfigurationError, is_running: bool) -> Iterator[Finding]:
    from chordtwist.app import checkup

    if isinstance(checked, ConfigurationError):
        yield checkup.Finding("configuration", checkup.BAD, str(checked))
        return
    for mistake in checked.mistakes:
        yield checkup.Finding(
            "configuration", checkup.BAD, str(mistake), "chordtwist config explain says what is right"
        )
    if not checked.mistakes:
        yield checkup.Finding("configuration", checkup.GOOD, f"{path}: nothing is wrong with it")
    yield from checkup.configured(checked.config, is_running)


def _node(caller: Caller, report: dict[str, Any], path: str | None) -> Iterator[Finding]:
    from chordtwist.app.checkup import BAD, GOOD, LOOK, Finding

    def conversation(connect: Connect) -> None:
        client = connect()
        report["status"] = client.status()
        if report["status"].get("member"):
            report["ring"] = asking.first(caller, client, {"do": "ring"})
            report["neighbours"] = list(asking.lines(caller, client, {"do": "ping", "times": 3}))

    try:
        caller.talk(conversation)
    except NotReachable as error:
        state = BAD if path is None else LOOK
        start = "start it: chordtwist run" + (f" {path}" if path is not None else "")
        todo = "look into its log" if "status" in report else f"{start}; --api names another"
        yield Finding("node", state, error.format_message(), todo)
        return
    status = report["status"]
    for alarm in status.get("alarms", ()):
        yield Finding(str(alarm["cause"]), BAD, str(alarm["text"]), "chordtwist status, and the operator's page")
    if not status.get("member"):
        yield Finding(
            "ring", BAD, talking.why_in_no_ring(status), "look at bootstrap_node, and whether those nodes run"
        )
        return
    if not status.get("alarms"):
        yield Finding("health", GOOD, str(status.get("health", "well")))
    yield _of_ring(report["ring"])
    yield _of_neighbours(report["neighbours"])


def _of_ring(ring: Mapping[str, Any]) -> Finding:
    from chordtwist.app.checkup import GOOD, LOOK, Finding

    count = len(ring["members"])
    if ring["closes"] and not ring["faults"]:
        return Finding("ring", GOOD, f"{counted(count, 'member')}, and all agree")
    faults = ring["faults"] or ["the walk does not close"]
    more = f", and {len(faults) - FAULTS_NAMED} more such" if len(faults) > FAULTS_NAMED else ""
    todo = "so it is for some seconds when members come or go; look again: chordtwist ring"
    return Finding("ring", LOOK, f"{count} members; {'; '.join(faults[:FAULTS_NAMED])}{more}", todo)


def _of_neighbours(rows: list[dict[str, Any]]) -> Finding:
    from chordtwist.app.checkup import BAD, GOOD, LOOK, Finding

    silent = [row for row in rows if not row["answered"]]
    if not rows:
        return Finding("neighbours", GOOD, "none: it is alone")
    if not silent:
        worst_ms = max(row["worst_ms"] for row in rows)
        return Finding("neighbours", GOOD, f"all {len(rows)} answer, within {showing.milliseconds(worst_ms)}")
    named = ", ".join(f"{row['address']} ({row['reason']})" for row in silent[:FAULTS_NAMED])
    state = BAD if len(silent) * 2 > len(rows) else LOOK
    return Finding(
        "neighbours", state, f"{len(silent)} of {len(rows)} are silent: {named}", "dead ones leave its lists soon"
    )


def _for_helpers(caller: Caller, is_running: bool) -> dict[str, Any]:
    if not is_running:
        return {}
    try:
        return asking.one(caller, {"do": "bundle"})
    except No as error:
        return {"configuration": error.format_message()}


def _write(path: Path, report: Mapping[str, Any]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        if S_ISREG(os.fstat(file.fileno()).st_mode):  # no terminal, no pipe
            path.chmod(0o600)  # also where it was there already
        json.dump(report, file, indent=1)
        file.write("\n")


def _show(findings: list[Finding]) -> None:
    rows = []
    for finding in findings:
        words = finding.found + (f"; {finding.todo}" if finding.todo and finding.state != "good" else "")
        rows.append([showing.text(finding.state, _STYLES[finding.state]), finding.check, words])
    showing.show(showing.table(("", "CHECK", "FOUND"), rows))
