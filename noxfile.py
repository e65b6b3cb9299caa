"""The checks of the project, each in a fresh environment: ``nox``, or ``nox -s types``."""

import nox

nox.options.sessions = ["tests", "types", "lint", "docs"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("twisted", ["24.10.0", "newest"])
def tests(session: nox.Session, twisted: str) -> None:
    """The tests, against the installed wheel, with the oldest and the newest Twisted."""
    session.install(".[test,dev]")
    if twisted != "newest":
        session.install(f"twisted[tls]=={twisted}")
    session.run("python", "-m", "twisted.trial", *(session.posargs or ["tests"]))


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, with the releases that make installs."""
    session.install("-c", "constraints.txt", "-e", ".[test,dev]")
    session.run("mypy")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and format, with the release that make installs."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def simulate(session: nox.Session) -> None:
    """The simulator's mixed faults with 50 fresh seeds; a failing one is printed with the command that repeats it."""
    session.install(".")
    session.run("bash", ".ci/explore", env={"RUNS": "50", "PYTHON": "python"}, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documents; a warning is an error."""
    session.install("-c", "constraints.txt", "-e", ".[docs]")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")


@nox.session
def audit(session: nox.Session) -> None:
    """Known holes in what we depend on, and suspicious lines of our own."""
    session.install(".", "bandit", "pip-audit")
    session.run("bandit", "--quiet", "-ll", "-r", "chordtwist", "twisted")
    session.run("pip-audit", "--skip-editable")
