"""Manual pages of section 1, made of the parsers that read the commands: they cannot tell anything else. Pure.

A page bears no day of its making: the same sources make the same bytes.
"""

import argparse
from dataclasses import dataclass

from shell_help.arguments import arguments, helped, leaves, parts_of, placeholder
from shell_help.roff import bold, escaped, filled, italic, items, paragraphs, quoted


@dataclass(frozen=True, slots=True)
class About:
    """What a page tells beyond its parser; texts are plain, with an empty line between paragraphs.

    ``date`` is that of the texts here, in the form 2026-11-23; ``purposes`` has the one line of each command.
    """

    name: str
    version: str
    date: str
    summary: str
    description: str
    purposes: dict[str, str]
    statuses: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, str], ...]
    see_also: tuple[tuple[str, int], ...]
    documents: str


def page(parser: argparse.ArgumentParser, about: About) -> str:
    """Return the page as man(7) source."""
    top = [action for action in arguments(parser) if action.option_strings]
    version = f"{about.name} {about.version}"
    lines = [
        " ".join([".TH", quoted(about.name.upper()), "1", about.date, quoted(version), quoted("User Commands")]),
        ".SH NAME",
        f"{escaped(about.name)} \\- {escaped(about.summary)}",
        ".SH SYNOPSIS",
        f"{bold(about.name)} {italic('COMMAND')} [{italic('OPTION')} ...]",
        *(line for action in top for line in (".br", f"{bold(about.name)} {bold(action.option_strings[0])}")),
        ".br",
        f"{bold(about.name)} [{italic('COMMAND')}] {bold('--help')}",
        ".SH DESCRIPTION",
        *paragraphs(about.description),
        ".SH COMMANDS",
        *items((bold(name), about.purposes[name] + ".") for name in parts_of(parser)),
        ".SH OPTIONS OF EACH COMMAND",
    ]
    for words, below in leaves(about.name, parser):
        lines += _section(words, below)
    for title, rows in (
        ("EXIT STATUS", about.statuses),
        ("ENVIRONMENT", about.environment),
        ("FILES", about.files),
    ):
        if rows:
            lines += [f".SH {title}", *items((bold(tag), text) for tag, text in rows)]
    if about.examples:
        lines += [".SH EXAMPLES"]
        for text, command in about.examples:
            lines += [escaped(text), ".RS 4", bold(command), ".RE", ".PP"]
        lines.pop()
    also = [f"{bold(name)}({section})" for name, section in about.see_also]
    lines += [".SH SEE ALSO", ", ".join(also), *[".PP", escaped(about.documents)]]
    return "\n".join(row for line in lines if line for row in filled(line)) + "\n"


def _section(words: str, parser: argparse.ArgumentParser) -> list[str]:
    """A command, or a part of it, with what it takes; one that has parts is told by them."""
    taken = arguments(parser)
    synopsis = " ".join(
        [bold(words), *map(_in_synopsis, taken), *([italic("PART") + " ..."] if parts_of(parser) else [])]
    )
    lines = [f".SS {quoted(words)}", synopsis]
    if parser.description:
        lines += [".PP", escaped(parser.description)]
    return [*lines, *items((_tag(action), _sentence(action, helped(parser, action))) for action in taken)]


def _in_synopsis(action: argparse.Action) -> str:
    value = placeholder(action)
    if not action.option_strings:
        return italic(value)
    shown = bold(action.option_strings[0]) + (f" {italic(value)}" if value else "")
    return shown if action.required else f"[{shown}]"


def _tag(action: argparse.Action) -> str:
    value = placeholder(action)
    if not action.option_strings:
        return italic(value)
    return ", ".join(bold(option) for option in action.option_strings) + (f" {italic(value)}" if value else "")


def _sentence(action: argparse.Action, text: str) -> str:
    """A help as a sentence; the words of a choice stay as they are typed."""
    begun = text if action.choices else text[:1].upper() + text[1:]
    return begun + ("" if text.endswith(".") else ".")
