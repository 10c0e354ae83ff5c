"""``eiplane completion bash|zsh``: a script that completes commands, options and their values.

The script is made from the parser itself, so that it knows what the command knows, and runs no
Python when a key is pressed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..network import known_activations
from ..results import MEASURES

__all__ = ["add_completion", "bash_script", "zsh_script"]

_USE = """put one of these in your shell's start-up file:
  eval "$(eiplane completion bash)"     # ~/.bashrc
  eval "$(eiplane completion zsh)"      # ~/.zshrc
"""


def add_completion(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command to a parser's subparsers.

    Parameters
    ----------
    commands : argparse's subparsers
        It gets a ``handler`` that takes the parsed options.
    parser : ArgumentParser
        The one that they belong to.
    """
    own = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in your shell",
        description="Print a script that completes commands, options and values.",
        epilog=_USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    scripts = {"bash": bash_script, "zsh": zsh_script}
    own.set_defaults(handler=lambda options: print(scripts[options.shell](commands), end=""))


@dataclass(frozen=True)
class _Option:
    """What can be typed: an option, or an argument without a name.

    Parameters
    ----------
    names : tuple of str
        Empty for an argument.
    help, metavar : str
    takes : bool
        Whether a value follows.
    words : tuple of str
        What the value may be, where that is known.
    listed : bool
        Whether it may be several of them with commas.
    repeated : bool
    """

    names: tuple[str, ...]
    help: str
    metavar: str
    takes: bool
    words: tuple[str, ...]
    listed: bool
    repeated: bool


def _suggested() -> Mapping[str, Sequence[str]]:
    """Return words for values that are more than a choice of one, by the options' names."""
    return {
        "measures": tuple(MEASURES),
        "activation": tuple(name for name in known_activations() if name.isidentifier()),
        "spans": ("layers", "all"),
    }


def _options(parser: argparse.ArgumentParser, formatter: Any) -> list[_Option]:
    found = []
    for action in parser._actions:  # argparse has no other way to them
        suggested = _suggested().get(action.dest, ())
        repeated = isinstance(action, argparse._AppendAction) or action.nargs == "+"
        found.append(
            _Option(
                tuple(action.option_strings),
                formatter(action),
                str(action.metavar or action.dest),
                action.nargs != 0,
                tuple(map(str, action.choices or suggested)),
                bool(suggested) and action.dest != "spans",
                repeated or "repeated" in (action.help or ""),
            )
        )
    return found


def _commands(commands: Any) -> tuple[dict[str, str], dict[str, list[_Option]]]:
    """Return the help, and the options, of every command."""
    said = {action.dest: action.help or "" for action in commands._choices_actions}
    options = {
        name: _options(parser, lambda action: str(action.help or "").replace("%%", "%"))
        for name, parser in commands.choices.items()
    }
    return said, options


def bash_script(commands: Any) -> str:
    """Return the script for bash (from 3.2).

    Parameters
    ----------
    commands : argparse's subparsers

    Returns
    -------
    str
    """
    said, options = _commands(commands)
    cases, values = [], []
    for name, known in options.items():
        words = [option for o in known for option in o.names]
        words += [w for o in known if not o.names for w in o.words]
        cases.append(f'        {name}) words="{" ".join(words)}" ;;')
        for option in known:
            if option.takes and option.names:
                pattern = "|".join(f'"{name} {one}"' for one in option.names)
                some = " ".join(option.words)
                listed = "; listed=1" if option.listed else ""
                values.append(f'        {pattern}) words="{some}"; value=1{listed} ;;')
    return _BASH.format(
        commands=" ".join([*said, "--help", "--version"]),
        cases="\n".join(cases),
        values="\n".join(values),
    )


# Where nothing is suggested readline completes names of files.
_BASH = """# bash completion of eiplane; made by: eiplane completion bash
_eiplane() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}"
    local words="" value="" listed="" prefix=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$cur"))
        return
    fi
    # bash takes --option=value for three words
    if [ "$cur" = "=" ]; then
        cur=""
    elif [ "$prev" = "=" ]; then
        prev="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    case "${{COMP_WORDS[1]}} $prev" in
{values}
    esac
    if [ -n "$listed" ] && [ "$cur" != "${{cur%,*}}" ]; then
        prefix="${{cur%,*}},"
        cur="${{cur##*,}}"
    fi
    case "$value$cur" in
        1*|-*|[a-z]*|"") COMPREPLY=($(compgen -P "$prefix" -W "$words" -- "$cur")) ;;
    esac
}}
complete -o default -F _eiplane eiplane
"""


def zsh_script(commands: Any) -> str:
    """Return the script for zsh.

    Parameters
    ----------
    commands : argparse's subparsers

    Returns
    -------
    str
    """
    said, options = _commands(commands)
    cases = []
    for name, known in options.items():
        lines = [f"            {spec} \\" for option in known for spec in _zsh_specs(option)]
        cases.append(f"        {name}) _arguments \\\n" + "\n".join(lines)[:-2] + " ;;")
    described = "\n".join(
        f"        {_quoted(name + ':' + text.replace(':', chr(92) + ':'))}"
        for name, text in said.items()
    )
    return _ZSH.format(commands=described, cases="\n".join(cases))


def _zsh_specs(option: _Option) -> list[str]:
    """Return what ``_arguments`` is told of an option: a text for each of its names."""
    value = ""
    if option.takes:
        words = " ".join(option.words)
        what = re.sub(r"([:\\])", r"\\\1", option.metavar)
        if option.listed:
            action = f"_sequence compadd - {words}"
        else:
            action = f"({words})" if words else "_files"
        value = f":{what}:{action}"
    if not option.names:
        return [_quoted(f"{'*' if option.repeated else ''}{value}")]
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    first = "*" if option.repeated else f"({' '.join(option.names)})"
    return [
        _quoted(f"{first}{name}{'=' if value and name.startswith('--') else ''}[{text}]{value}")
        for name in option.names
    ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_ZSH = """#compdef eiplane
# zsh completion of eiplane; made by: eiplane completion zsh
_eiplane() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        _arguments '--help[show what there is]' '--version[show the version]'
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}
if [[ $funcstack[1] == _eiplane ]]; then
    _eiplane "$@"
else
    (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
    compdef _eiplane eiplane
fi
"""
