"""``chordtwist completion``: what a shell needs to complete commands and options, as a script that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator

import click

from chordtwist.app.cli import talking


@click.command(
    help="""Write a script for the shell, which then completes commands, words behind them, and options.

    It is a list, and starts no program when Tab is pressed.

    \b
    Examples:
        chordtwist completion bash > ~/.local/share/bash-completion/completions/chordtwist
        chordtwist completion zsh > ~/.zfunc/_chordtwist
        chordtwist completion fish > ~/.config/fish/completions/chordtwist.fish
    """
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Run ``chordtwist completion``."""
    from chordtwist.app.cli.commands import main

    lines = _fish(main, context) if shell == "fish" else _bash(main, context, shell == "zsh")
    for line in lines:
        talking.show(line)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is not None:
            yield name, found


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    """List the long options of a command, each with its help."""
    return [
        (spelling, (option.help or "").split(". ")[0].rstrip("."))
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden
        for spelling in option.opts
        if spelling.startswith("--")
    ]


def _bash(main: click.Group, context: click.Context, is_zsh: bool) -> Iterator[str]:
    if is_zsh:
        yield "#compdef chordtwist"
        yield "autoload -U +X bashcompinit && bashcompinit"
    yield "_chordtwist() {"
    yield "    local words"
    yield '    case "$COMP_CWORD ${COMP_WORDS[1]} ${COMP_WORDS[2]}" in'
    names = list(_commands(main, context))
    yield f'        "1 "*) words="{" ".join(name for name, _ in names)} --help --version" ;;'
    for name, one in names:
        if isinstance(one, click.Group):
            inner = list(_commands(one, context))
            yield f'        "2 {name} "*) words="{" ".join(word for word, _ in inner)} --help" ;;'
            for word, deeper in inner:
                yield f'        *" {name} {word}") words="{_spellings(deeper, context)}" ;;'
        else:
            yield f'        *" {name} "*) words="{_spellings(one, context)}" ;;'
    yield '        *) words="--help" ;;'
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))'
    yield "}"
    yield "complete -o default -F _chordtwist chordtwist"


def _spellings(command: click.Command, context: click.Context) -> str:
    return " ".join(spelling for spelling, _ in _options(command, context))


def _fish(main: click.Group, context: click.Context) -> Iterator[str]:
    yield "complete -c chordtwist -f -n __fish_use_subcommand -l version -d 'Show the version'"
    for name, one in _commands(main, context):
        yield f"complete -c chordtwist -f -n __fish_use_subcommand -a {name} -d {_quoted(one.get_short_help_str(60))}"
        seen = f"'__fish_seen_subcommand_from {name}'"
        if isinstance(one, click.Group):
            for word, deeper in _commands(one, context):
                yield f"complete -c chordtwist -f -n {seen} -a {word} -d {_quoted(deeper.get_short_help_str(60))}"
            continue
        for spelling, help_ in _options(one, context):
            yield f"complete -c chordtwist -n {seen} -l {spelling[2:]} -d {_quoted(help_)}"


def _quoted(words: str) -> str:
    return "'" + words.replace("\\", "").replace("'", "\\'").replace("\n", " ") + "'"
