"""Generates `.env.example`, the settings reference and a part of `docker-compose.yml` from the fields of the
settings sections.

python -m app.dev.settings_reference
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin
from uuid import UUID

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings
from app.settings.aliases import ALIASES, UNUSED, Alias, Combined
from app.settings.section import Section, Unit, Variable

ROOT = Path(__file__).parents[2]
ENV_EXAMPLE = ROOT / ".env.example"
COMPOSE = ROOT / "docker-compose.yml"
COMPOSE_BEGIN, COMPOSE_END = "written by `make settings`.\n", "    # End of what `make settings` writes."
REFERENCE = ROOT / "docs" / "reference" / "settings.md"
COMMENT_CHARS = 106  # columns after the number sign
NO_BREAK_SPACE = "\u00a0"
TYPES: dict[object, str] = {
    UUID: "UUID",
    str: "text",
    SecretStr: "text",
    Path: "file",
    bool: "true or false",
    int: "integer",
    float: "number",
}

# Docker Compose and kong.yml are set up for HS256, and Kong selects the key by the issuer.
COMPOSE_REQUIRES = {"JWT_ALGORITHM": "HS256", "JWT_SECRET": "", "JWT_ISSUER": ""}
COMPOSE_VARIABLES = """\
# Copy to .env and fill in. `docker compose up` and `python run.py` both read it; variables of the shell take
# precedence. Set what is empty and not commented out. What is commented out shows its default; if that is
# empty, the setting is unset. Written by `make settings`; the reference is docs/reference/settings.md.

# --- Docker Compose only -----------------------------------------------------------------------------------
# Password of the Postgres that Compose starts. It is part of a URL, so letters and digits only:
# openssl rand -hex 24
POSTGRES_PASSWORD=
# Password of the Redis that Compose starts, with the same restriction.
REDIS_PASSWORD=
# Password of the RabbitMQ that Compose starts, with the same restriction.
RABBITMQ_PASSWORD=
# Port on this machine where clients reach the gateway.
# GATEWAY_PORT=8000

# Compose itself sets HOST, PORT, PROXIES_COUNT and the URLs of Postgres, Redis, Kafka and RabbitMQ for the
# hub. Unless SMTP_HOST, SMTP_PORT and SMTP_SECURITY are set, mail goes to its mail catcher,
# http://localhost:8025.
"""
INTRODUCTION = """\
# Settings

<!-- Written by `make settings` from the fields in app/settings/. -->

The hub reads its settings from environment variables, and from a file `.env`: that of the working directory,
or where there is none that beside `run.py`. `alembic` reads the same. A variable of the environment takes
precedence over the file. An empty variable counts as unset.

The hub checks all settings at start. If some are missing or invalid, it exits with status 1 and prints one
line for each, without the values of secrets. [.env.example](../../.env.example) is a template with the same
descriptions.

Lists are separated by commas. A number of seconds can have a fraction, such as `0.5`.
"""


ALIASES_INTRODUCTION = """
## Names of other programs

The hub accepts these names, too, in the environment and in `.env`. At start it logs a warning that says which
setting to use instead. Our own name always wins; of several names, the first that is set. Names that are
joined by + give the value together, and special characters in their values need no encoding.

| Name | Sets |
|---|---|
"""


class SectionText(NamedTuple):
    """A section with the variables that are described in it, required ones first."""

    title: str
    summary: str
    variables: list[Variable]
    shared: list[Variable]
    """Those that the section reads, too, and an earlier one describes."""


def sections() -> list[SectionText]:
    """All sections, in the order of `Settings`, but those with required variables first."""
    described: set[str] = set()
    found = []
    for section, info in Settings.model_fields.items():
        kind = info.annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        read = [variable for variable in Settings.variables() if variable.section == section]
        own = [variable for variable in read if variable.name not in described]
        inherited = kind.model_fields.keys() - kind.__annotations__.keys()
        own.sort(key=lambda variable: (not variable.info.is_required(), variable.field in inherited))
        described.update(variable.name for variable in own)
        summary = " ".join((kind.__doc__ or "").split())
        found.append(SectionText(kind.title, summary, own, [each for each in read if each not in own]))
    return sorted(found, key=lambda each: not any(own.info.is_required() for own in each.variables))


def env_example() -> str:
    """The content of `.env.example`."""
    return COMPOSE_VARIABLES + "".join(_env_section(each) for each in sections())


def _env_section(section: SectionText) -> str:
    heading = f"# --- {section.title} ".ljust(COMMENT_CHARS + 2, "-")
    lines = ["", heading]
    for variable in section.variables:
        kind = _kind(variable.info).replace(" ", NO_BREAK_SPACE)
        text = f"{variable.info.description} [{kind}]"
        wrapped = wrap(text, COMMENT_CHARS, break_long_words=False, break_on_hyphens=False)
        lines += [f"# {line}".replace(NO_BREAK_SPACE, " ") for line in wrapped]
        lines.append(_env_line(variable))
    return "\n".join(lines) + "\n"


def _env_line(variable: Variable) -> str:
    if variable.name in COMPOSE_REQUIRES:
        return f"{variable.name}={COMPOSE_REQUIRES[variable.name]}"
    if variable.info.is_required():
        return f"{variable.name}="
    return f"# {variable.name}={_default(variable.info)}"


def compose() -> str:
    """The content of `docker-compose.yml`: it hands each setting on that it doesn't set itself."""
    before, _, rest = COMPOSE.read_text("utf-8").partition(COMPOSE_BEGIN)
    _, end, after = rest.partition(COMPOSE_END)
    fixed = re.findall(r"^    ([A-Z_]+):", before, re.MULTILINE)
    names = [variable.name for section in sections() for variable in section.variables]
    handed_on = "".join(f"    {name}:\n" for name in names if name not in fixed)
    return "".join((before, COMPOSE_BEGIN, handed_on, end, after))


def reference() -> str:
    """The content of `docs/reference/settings.md`."""
    names = "|".join(sorted({each.name for each in Settings.variables()}, key=len, reverse=True))
    code = re.compile(rf"`[^`]+`|\b(?:{names})\b|\b[a-z]+://(?:[^\s()]*[^\s,.()])?")
    text = "".join(_reference_section(each, code) for each in sections())
    return INTRODUCTION + text + ALIASES_INTRODUCTION + "".join(_alias_lines())


def _reference_section(section: SectionText, code: re.Pattern[str]) -> str:
    lines = ["", f"## {section.title}", "", _marked(section.summary, code), ""]
    lines += ["| Variable | Type | Default | Description |", "|---|---|---|---|"]
    for variable in section.variables:
        info = variable.info
        default = (
            "**required**" if info.is_required() else f"`{_default(info)}`" if _default(info) else "unset"
        )
        description = _marked(info.description or "", code)
        lines.append(f"| `{variable.name}` | {_kind(info)} | {default} | {description} |")
    if section.shared:
        lines += ["", f"Also used here: {', '.join(f'`{each.name}`' for each in section.shared)}."]
    return "\n".join(lines) + "\n"


def _alias_lines() -> Iterator[str]:
    for alias in ALIASES:
        yield f"| {_alias_names(alias)} | `{alias.ours}` |\n"
    for name in UNUSED:
        yield f"| `{name}` | nothing, as the hub doesn't need it |\n"


def _alias_names(alias: Alias) -> str:
    if not isinstance(alias, Combined):
        return ", ".join(f"`{name}`" for name in alias.foreign)
    return " + ".join(" or ".join(f"`{name}`" for name in names) for names in alias.parts.values())


def _marked(text: str, code: re.Pattern[str]) -> str:
    """The text with names and URLs marked as code."""
    return code.sub(lambda found: f"`{found[0].strip('`')}`", text)


def _default(info: FieldInfo) -> str:
    """As it would be written in the environment."""
    value = info.default
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(info: FieldInfo) -> str:
    """The type, or the unit of a number; its bounds; whether it is a secret."""
    types = [each for each in _types(info.annotation) if each is not NoneType]
    literals = [repr(each)[1:-1] for each in types if isinstance(each, str)]
    units = [each.name for each in info.metadata if isinstance(each, Unit)]
    kind = units[0] if units else f"one of {', '.join(literals)}" if literals else TYPES[types[0]]
    if get_origin(info.annotation) is tuple:
        kind = "list"
    bounds = _bounds(info.metadata)
    secret = "secret" if SecretStr in types else ""
    return ", ".join(part for part in (kind, bounds, secret) if part)


def _types(annotation: Any) -> Iterator[Any]:
    """The leaves of a type: of a union or tuple its members, of a literal its values."""
    arguments = [each for each in get_args(annotation) if each is not Ellipsis]
    if not arguments:
        yield annotation
    for each in arguments:
        if get_origin(annotation) is Literal:
            yield each
        else:
            yield from _types(each)


def _bounds(metadata: list[Any]) -> str:
    at_least = [
        f"{each.ge:g}" if isinstance(each.ge, float) else str(each.ge)
        for each in metadata
        if isinstance(each, Ge)
    ]
    above = [str(each.gt) for each in metadata if isinstance(each, Gt)]
    at_most = [str(each.le) for each in metadata if isinstance(each, Le)]
    if at_least and at_most:
        return f"{at_least[0]} to {at_most[0]}"
    lower = f"at least {at_least[0]}" if at_least else f"more than {above[0]}" if above else ""
    upper = f"at most {at_most[0]}" if at_most else ""
    return ", ".join(part for part in (lower, upper) if part)


def main() -> None:
    """Write the files."""
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((ENV_EXAMPLE, env_example()), (REFERENCE, reference()), (COMPOSE, compose())):
        path.write_text(text, "utf-8")
        print(f"Written: {path.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
