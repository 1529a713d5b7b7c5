"""Licences of the files inside packages: names, families, and Debian's machine-readable copyright files.

A family is what one chooses by ("CC BY", "GPL"); `FREE` are those that ask for no more than attribution.
Format of the copyright files: Debian's "Machine-readable debian/copyright file" 1.0. Its stanzas name files
of the source tree, so a prefix of the installed path is exchanged for one of the source before they are
matched; as the format says, the last stanza that matches counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

FREE: Final = ("CC0", "Public Domain", "MIT", "BSD", "WTFPL", "CC BY")
SHARE_ALIKE: Final = ("CC BY-SA", "GPL")

_NAMES: Final = (
    (r"cc0.*", "CC0"),
    (r"public[- ]domain|pd", "Public Domain"),
    (r"expat|mit.*", "MIT"),
    (r"wtfpl.*", "WTFPL"),
    (r"bsd.*|freedoom-license", "BSD-3-Clause"),
    (r"cc-by-sa-([\d.]+).*", r"CC BY-SA \1"),
    (r"cc-by-([\d.]+).*", r"CC BY \1"),
    (r"l?gpl.*", None),
)


def licence_name(short: str) -> str:
    """Debian's short name as the manifests write it: "CC-BY-3.0" -> "CC BY 3.0"; unknown ones unchanged."""
    for pattern, name in _NAMES:
        match = re.fullmatch(pattern, short.strip(), re.IGNORECASE)
        if match and name:
            return match.expand(name)
    return short.strip()


def family(licence: str) -> str:
    """What a licence is chosen by; the licence itself where it belongs to no family."""
    if licence.upper().startswith(("GPL", "LGPL")):
        return "GPL"
    for name in sorted((*FREE, *SHARE_ALIKE), key=len, reverse=True):
        if licence == name or licence.startswith((name + " ", name + "-")):
            return name
    return licence


@dataclass(frozen=True)
class Stanza:
    """One "Files" paragraph: glob patterns, who holds the rights, licence, and the comments."""

    patterns: tuple[str, ...]
    holder: str
    licence: str
    comment: str


def parse_copyright(text: str) -> tuple[Stanza, ...]:
    """The "Files" paragraphs of a machine-readable copyright file, in order; empty for any other text."""
    stanzas = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line[:1] in " \t" and name:
                fields[name] += "\n" + line.strip()
            elif ":" in line and not line.startswith("#"):
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "files" in fields and "license" in fields:
            comment = " ".join(fields.get(k, "") for k in ("source", "comment", "origin")).split()
            licence, _, grant = fields["license"].partition("\n")
            if licence.lower().startswith("public"):
                comment += grant.split()[:30]
            stanzas.append(
                Stanza(
                    tuple(fields["files"].replace(",", " ").split()),
                    " ".join(fields.get("copyright", "").split()),
                    licence_name(licence),
                    " ".join(comment),
                )
            )
    return tuple(stanzas)


def stanza_of(stanzas: tuple[Stanza, ...], path: str) -> Stanza | None:
    """The last stanza that covers a path of the source tree."""
    found = None
    for stanza in stanzas:
        for pattern in stanza.patterns:
            if fnmatchcase(path, pattern.removeprefix("./")) or fnmatchcase(path.replace(" ", "?"), pattern):
                found = stanza
    return found
