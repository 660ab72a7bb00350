"""Writes the pages of docs/reference from the tables that the program itself reads.

python docs/generate.py           writes them
python docs/generate.py --check   writes nothing; exit status 1 and the names of the pages that would change
"""
# ruff: noqa: INP001  (a script beside the pages that it writes, not a package)

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

import registrar.http.application  # noqa: F401  (with it every room has entered its rules into RULES)
from registrar.cli import main
from registrar.config.environment import variable
from registrar.domain import server_metadata, settings
from registrar.domain.errors import ERRORS
from registrar.domain.events import EVENTS
from registrar.domain.expansion import KINDS
from registrar.domain.findings import RULES, Rule
from registrar.domain.metadata import ECHOED_EMPTY, LIMITS, MEMBERS, Member, Role
from registrar.domain.metrics import METRICS
from registrar.domain.software_statement import Form
from registrar.http import admin, openapi
from registrar.policy import classes
from registrar.policy.classes import When
from registrar.policy.evidence import ManagementProof, Proof
from registrar.policy.loader import FEATURES, PROOFS, shipped
from registrar.policy.policy import Repeat, Request
from registrar.policy.rules import RULE_FUNCTIONS
from registrar.policy.rules.applied import Hosts

FOLDER: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Written by docs/generate.py from the program's own tables. Change those, then run it. -->"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table and the empty line after it."""
    columns = list(headings)
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell(text) for text in row)} |"
    yield ""


def cell(text: str) -> str:
    """Text that cannot break out of its cell."""
    return text.replace("|", "\\|").replace("\n", " ").strip()


def code(text: str) -> str:
    """A name or a value as it is typed."""
    return f"`{text}`" if text else ""


def anchor(heading: str) -> str:
    """The fragment that a heading is reached by."""
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


# --- settings -------------------------------------------------------------------------------------------------------

_TABLES: Final[tuple[tuple[str, type[Any]], ...]] = (
    ("server", settings.Server),
    ("server.postgresql", settings.PostgreSQL),
    ("server.audit", settings.Checkpoints),
    ("server.log", settings.Log),
    ("server.metrics", settings.Metrics),
    ("server.tracing", settings.Tracing),
    ("server.mutual_tls", settings.MutualTls),
    ("server.fetch", settings.Fetching),
    ("server.key_sets", settings.KeySetCaching),
    ("issuer.NAME", settings.Issuer),
    ("issuer.NAME.registration", settings.Registration),
    ("issuer.NAME.registration_access_token", settings.RegistrationAccessToken),
    ("issuer.NAME.client_secret", settings.ClientSecret),
    ("issuer.NAME.udap", settings.Udap),
    ("issuer.NAME.labels", settings.Labels),
    ("issuer.NAME.scopes", settings.Scopes),
    ("issuer.NAME.openid", settings.OpenID),
    ("issuer.NAME.authorization", settings.Authorization),
    ("issuer.NAME.authorization.resources.API", settings.Resource),
    ("issuer.NAME.people", settings.People),
    ("issuer.NAME.upstream", settings.Upstream),
    ("issuer.NAME.audit", settings.Audit),
    ("issuer.NAME.limits", settings.Limits),
    ("issuer.NAME.limits.clients", settings.ClientLimits),
    ("issuer.NAME.metadata_documents", settings.MetadataDocuments),
    ("issuer.NAME.template.ID", settings.Template),
    ("statement_issuer.NAME", settings.StatementIssuer),
    ("webhook.NAME", settings.Webhook),
)
_SPOKEN: Final[Mapping[Any, str]] = {str: "string", int: "whole number", float: "number", bool: "true or false"}


def settings_page() -> Iterator[str]:
    """`settings.md`: every setting, by its table."""
    yield "# Settings"
    yield ""
    yield "The configuration is one TOML file, `registrar.toml` in the working directory or the file that `--config` names."
    yield "It is read strictly: an unknown key, a value of another type, or a combination that could not work keeps the server from starting, and the message names the file and the line."
    yield ""
    yield "Environment variables say the same, and count more than the file; with them, no file is needed."
    yield 'Text stands in a variable as it is, and everything else as in TOML: `true`, `8000`, `["one", "two"]`. Names (`NAME`, `API`, `ID`) are written in upper case and mean lower case.'
    yield "A setting of text may come from a file, as secrets do: `REGISTRAR_SERVER__DATABASE_FILE` names one with the value of `REGISTRAR_SERVER__DATABASE`."
    yield "What `--port` and `--workers` say counts more than either. A variable that names no setting is refused as an unknown key is."
    yield ""
    for name, kind in _TABLES:
        yield f"## `[{name}]`"
        yield ""
        rows = []
        for field in dataclasses.fields(kind):
            hint = typing.get_type_hints(kind)[field.name]
            if "meaning" not in field.metadata or any(map(dataclasses.is_dataclass, typing.get_args(hint))):
                continue  # tables of their own
            if dataclasses.is_dataclass(_default(field)):
                continue
            named = variable(*name.split("."), field.name)
            rows.append(
                (code(field.name), _type(hint), code(_toml(field, hint)), field.metadata["meaning"], code(named))
            )
        yield from table(("setting", "type", "default", "meaning", "variable"), rows)
    yield "## `[policy.NAME]`"
    yield ""
    yield "A policy of your own; [policies](../guide/policies.md) tells how one is written, and [rules](rules.md) lists what it can name."
    yield ""
    yield from table(
        ("setting", "type", "default", "meaning"),
        (
            ("`description`", "string", '`""`', "What it is for, for people."),
            (
                "`extends`",
                "list of strings",
                "`[]`",
                "Policies that it completes and narrows; never wider than any of them.",
            ),
            (
                "`features`",
                "list of strings",
                "`[]`",
                f"Groups of members that are served under it alone: {', '.join(map(code, FEATURES))}.",
            ),
            ("`metadata`", "table", "`{}`", "Member of client metadata -> its operators."),
            (
                "`rules`",
                "list of tables",
                "`[]`",
                'Rules by name, each with its arguments: `{ rule = "localhost", verdict = "refuse" }`.',
            ),
            (
                "`registration.authentication`",
                "list of strings",
                "`[]`",
                f"What a registration has to come with, beside what the mode demands; alternatives, each of these joined by `+`: {', '.join(map(code, PROOFS))}.",
            ),
            (
                "`statement`",
                "table",
                "none",
                f"How software statements are read: {', '.join(map(code, Form.__struct_fields__))}.",
            ),
            ("`request`", "table", "none", f"How requests are written: {_fields(Request)}."),
            (
                "`management.authentication`",
                "list of strings",
                '`["registration_access_token"]`',
                f"What whoever manages a registration has to show, all of it: {', '.join(map(code, ManagementProof))}.",
            ),
            ("`management.scope`", "string", '`""`', "The scope of that access token."),
            ("`management.operations`", "list of strings", '`["read", "update", "delete"]`', "What may be done."),
            (
                "`repeat`",
                "string",
                '`"new"`',
                f"What a registration does of software that is registered already: {', '.join(map(code, Repeat))}.",
            ),
            (
                "`lifetime.client`, `lifetime.secret`",
                "whole number",
                "`0`",
                "Seconds until the client ends, and its secret; 0 is never.",
            ),
            (
                "`rotation.secret_on_update`",
                "true or false",
                "`false`",
                "Whether every update issues a new secret, whatever the issuer's settings say.",
            ),
            (
                "`rotation.overlap`",
                "whole number",
                "`0`",
                "Seconds for which a replaced secret still works; 0 is as long as the issuer's settings say.",
            ),
        ),
    )
    yield "Policies that ship with the program:"
    yield ""
    yield from table(("name", "description"), ((code(name), policy.description) for name, policy in shipped().items()))
    yield "## `[class.NAME]`"
    yield ""
    yield "A class of clients of your own, for issuers that list it under `classes`; [policies](../guide/policies.md#classes-of-clients) explains them."
    yield ""
    yield from table(
        ("setting", "type", "default", "meaning"),
        (
            ("`description`", "string", '`""`', "What it is, for people."),
            (
                "`when`",
                "table",
                "`{}`",
                f"The facts that make a client one of it, all that are listed: {_fields(When)}.",
            ),
            (
                "`admission`",
                "list of strings",
                "needed",
                f"With what it is admitted: `open`, or alternatives of {', '.join(map(code, Proof))}, joined by `+` where several are needed.",
            ),
            ("`policy`", "list of strings", "`[]`", "Policies that judge it beside the issuer's or the token's."),
            ("`software`", "list of strings", "`[]`", "The `software_id`s that are `preregistered`."),
            ("`owners`", "list of strings", "`[]`", "The owners that are."),
        ),
    )
    yield "Classes that ship with the program:"
    yield ""
    yield from table(("name", "description"), ((code(one.name), one.description) for one in classes.shipped().values()))
    yield "## `[rules]`"
    yield ""
    yield 'Rules of your own: `name = "package.module:function"`; [policies](../guide/policies.md#a-rule-of-your-own) has an example.'
    yield ""


def _fields(kind: type[Any]) -> str:
    return ", ".join(code(field.name) for field in dataclasses.fields(kind))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _is_tables(hint: Any) -> bool:
    return typing.get_origin(hint) is dict


def _type(hint: Any) -> str:
    if hint == tuple[settings.Mode, ...]:
        return "string, or list of strings"
    if typing.get_origin(hint) is tuple:
        return "list of strings"
    if typing.get_origin(hint) is dict:
        return "table"
    return _SPOKEN.get(hint, "string")


def _toml(field: dataclasses.Field[Any], hint: Any) -> str:
    value = _default(field)
    if hint == tuple[settings.Mode, ...]:
        return '"disabled"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return _list(value)
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _list(values: Iterable[str]) -> str:
    quoted = [f'"{value}"' for value in values]
    return f"[{', '.join(quoted)}]"


# --- errors and events ------------------------------------------------------------------------------------------------


def errors_page() -> Iterator[str]:
    """`errors.md`: every error that an endpoint answers with."""
    yield "# Errors"
    yield ""
    yield "An error is a JSON object with `error`, the code, and `error_description`, an ASCII sentence for the developer of the client."
    yield "A refused registration or update has `faults` as well: one row for each fault, with `member`, `rule`, `reason` and, where something else would do, `accepted`."
    yield "The rules are those of [rules](rules.md)."
    yield "No answer with an error may be stored by a cache."
    yield ""
    yield from table(
        ("status", "error", "when", "source"),
        ((str(row.status), code(row.code), row.meaning, row.source) for row in ERRORS.values()),
    )
    yield "Where several faults name different codes, the answer carries the gravest: evidence that is missing before a bad software statement, that before a bad redirect URI, and a bad redirect URI before any other member."
    yield ""


def events_page() -> Iterator[str]:
    """`events.md`: every audit event."""
    yield "# Audit events"
    yield ""
    yield "Every change and every refusal leaves an event; a change and its event are stored in one transaction."
    yield "[Auditing](../guide/auditing.md) tells what stands in an event and how to read the table."
    yield ""
    yield from table(("kind", "meaning"), ((code(row.name), row.meaning) for row in EVENTS.values()))


def metrics_page() -> Iterator[str]:
    """`metrics.md`: every metric."""
    yield "# Metrics"
    yield ""
    yield "What Prometheus finds at `/metrics`, where [`[server.metrics]`](settings.md#servermetrics) names a port."
    yield "[Deploying](../guide/deploying.md#metrics-to-watch) tells which of them to watch."
    yield "Beside these stand those of the process, of its garbage collector and of Python, as prometheus-client has them: `process_*`, `python_*`."
    yield ""
    yield "No label holds anything that a caller chose. An issuer, a policy and an endpoint are configured; errors, rules and events are those of [errors](errors.md), [rules](rules.md) and [audit events](events.md)."
    yield ""
    yield from table(
        ("metric", "kind", "labels", "meaning"),
        ((code(row.name), row.kind.value, ", ".join(map(code, row.labels)), row.meaning) for row in METRICS.values()),
    )
    yield "The bounds of the histograms, in the unit that the name ends with:"
    yield ""
    yield from table(
        ("histogram", "bounds"),
        ((code(row.name), ", ".join(f"{bound:g}" for bound in row.buckets)) for row in METRICS.values() if row.buckets),
    )


# --- rules ------------------------------------------------------------------------------------------------------------


def rules_page() -> Iterator[str]:
    """`rules.md`: every rule that a finding can name, and those that a policy may ask for."""
    yield "# Rules"
    yield ""
    yield "A rule gives a finding about a member: it refuses, changes, ignores or warns."
    yield "The name of the rule stands in the `faults` of an error, in audit events, and here."
    yield "Words in braces are filled in when the rule is applied."
    yield ""
    yield "## Rules that a policy may name"
    yield ""
    yield "`[policy.NAME]` lists these under `rules`; their arguments follow the name."
    yield ""
    yield from table(
        ("rule", "arguments", "meaning"),
        (
            (code(name), _arguments(function), _first_line(function))
            for name, function in sorted(RULE_FUNCTIONS.items())
        ),
    )
    yield "## Every rule"
    yield ""
    for group in sorted({name.partition(".")[0] for name in RULES}):
        yield f"### `{group}`"
        yield ""
        rows = [rule for name, rule in sorted(RULES.items()) if name.partition(".")[0] == group]
        yield from table(("rule", "reason", "accepted instead", "error", "source"), map(_rule_row, rows))


def _rule_row(rule: Rule) -> tuple[str, str, str, str, str]:
    return (code(rule.name), rule.reason, rule.accepted, code(rule.error), rule.source)


def _arguments(function: Callable[..., Any]) -> str:
    said = []
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        needed = parameter.default is inspect.Parameter.empty
        default = "needed" if needed else f"{_argument_default(parameter.default)} by default"
        said.append(f"{code(name)}: {_argument_type(name, hints[name])}; {default}")
    return ". ".join(said)


def _argument_type(name: str, hint: Any) -> str:
    """What an argument of a rule takes, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(code(f'"{value}"') for value in arguments)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return "one of " + ", ".join(code(f'"{value}"') for value in hint)
    if hint in _SPOKEN:
        return _SPOKEN[hint]
    if origin is tuple and arguments[0] is not str:
        return "a list, each " + _argument_type(name, arguments[0])
    if hint is Hosts:
        return "a list of hosts"
    return (
        "a pattern"
        if origin is re.Pattern
        else f"a list of {name if name in ('members', 'scopes', 'grants') else 'strings'}"
    )


def _argument_default(value: Any) -> str:
    if value in ((), False) or (isinstance(value, Hosts) and not value):
        return "none"
    if isinstance(value, tuple):
        return code(_list(value))
    return code(f'"{value}"' if isinstance(value, str) else f"{value}")


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


# --- client metadata --------------------------------------------------------------------------------------------------


def expansions_page() -> Iterator[str]:
    """`expansions.md`: the changes that give a client more than it had."""
    yield "# Expansions"
    yield ""
    yield (
        "What gives a client more than it had. `[policy.NAME.changes]` says what each is answered with where a client "
        "updates itself: `allow`, `review` or `refuse`; `default` is for those that are not named, and is `allow` unless it "
        "is said. Each is told in an event `client.expanded` when it comes into force, or `template.expanded` where it is a "
        "template that changes, for all its instances."
    )
    yield ""
    yield from table(
        ("kind", "what it is", "members", "whether people are asked again"),
        ((code(one.name), one.meaning, code(one.member), "yes" if one.consent else "no") for one in KINDS.values()),
    )


def metadata_page() -> Iterator[str]:
    """`metadata.md`: every member of client metadata."""
    yield "# Client metadata"
    yield ""
    yield "Every member that this server knows; it is the table that the parser reads."
    yield "A member that stands nowhere here is ignored, and the audit event says so (RFC 7591 §2)."
    yield f"An array has at most {LIMITS.array_items} entries, a text at most {LIMITS.text_characters} characters."
    yield ""
    rows = list(MEMBERS.values())
    yield "## What a client registers"
    yield ""
    yield "`name#tag` marks members that may also come in other languages, such as `client_name#fr` (RFC 7591 §2.2)."
    yield "*Values from* names the row of the [server metadata](server-metadata.md) that the values must stand in."
    yield ""
    yield from table(
        ("member", "type", "default", "values from", "meaning", "source"),
        (
            (_member(row), row.type, _default_of(row), code(row.offered), row.meaning, row.source)
            for row in rows
            if row.role is Role.CLIENT and not row.feature
        ),
    )
    yield "## What the server derives"
    yield ""
    yield "They stand in answers because widespread servers send them; what a client sends for them changes nothing."
    yield ""
    yield from table(
        ("member", "type", "value", "meaning"),
        ((code(row.name), row.type, code(row.default_text), row.meaning) for row in rows if row.role is Role.DERIVED),
    )
    yield "## What the server issues"
    yield ""
    yield "Without effect in a POST; [developing](../guide/developing.md#managing-a-registration) tells which of them an update must and must not hold."
    yield ""
    yield from table(
        ("member", "type", "meaning", "source"),
        ((code(row.name), row.type, row.meaning, row.source) for row in rows if row.role is Role.SERVER),
    )
    yield "## Known, and not served"
    yield ""
    yield "These belong to something that this server does not do yet. They are ignored, and the audit event says so."
    yield ""
    yield from table(
        ("member", "belongs to", "meaning", "source"),
        ((code(row.name), row.feature, row.meaning, row.source) for row in rows if row.feature),
    )
    yield f"Answers leave out what is unset. Two arrays are written even when they are empty: {' and '.join(code(name) for name in sorted(ECHOED_EMPTY))}."
    yield ""


def _default_of(row: Member) -> str:
    if row.constant is None:
        return row.default_text
    return code(row.constant if isinstance(row.constant, str) else json.dumps(row.constant))


def _member(row: Member) -> str:
    return f"{code(row.name)}, {code(row.name + '#tag')}" if row.localised else code(row.name)


# --- server metadata --------------------------------------------------------------------------------------------------


def server_metadata_page() -> Iterator[str]:
    """`server-metadata.md`: what the discovery documents publish."""
    yield "# Authorization server metadata"
    yield ""
    yield "What an issuer publishes (RFC 8414 §2), before its settings and its policy narrow it."
    yield "Registrations are judged by the same table, so that what is published is what is accepted."
    yield ""
    yield "The document of `https://as.example.com/tenant` is served at"
    yield ""
    for path in server_metadata.well_known_paths("https://as.example.com/tenant"):
        yield f"- `https://as.example.com{path}`"
    yield ""
    yield "and, where it is the only issuer, at the two paths without `/tenant` too."
    yield ""
    yield "## Values"
    yield ""
    yield from table(
        ("member", "values"),
        (
            (code(name), ", ".join(map(code, values)) or _filled(name))
            for name, values in server_metadata.OFFERED.items()
        ),
    )
    yield "`introspection_endpoint_*` and `revocation_endpoint_*` repeat the two `token_endpoint_auth_*` rows."
    yield ""
    yield "## Endpoints"
    yield ""
    yield "Under the issuer's URL. `registration_endpoint` is a setting and is published where registration is enabled."
    yield "`jwks_uri` is served. The others are published because clients' schemas demand them, and answer 503 `temporarily_unavailable` for now."
    yield ""
    yield from table(("member", "path"), ((code(name), code(path)) for name, path in server_metadata.ENDPOINTS.items()))
    yield "## Flags"
    yield ""
    yield "`client_id_metadata_document_supported` is `true` where `[issuer.NAME.metadata_documents]` is enabled, and absent otherwise."
    yield ""
    yield from table(
        ("member", "value"), ((code(name), code(str(value).lower())) for name, value in server_metadata.FLAGS.items())
    )


def _filled(name: str) -> str:
    return "the issuer's registrable scopes" if name == "scopes_supported" else "none; the member is left out"


# --- command line -----------------------------------------------------------------------------------------------------


def cli_page() -> Iterator[str]:
    """`cli.md`: every command."""
    yield "# Command line"
    yield ""
    yield "`registrar COMMAND --help` says the same."
    yield "Exit status: 0 when it was done, 1 when it was refused (one line on standard error tells why), 2 when the command line was not understood."
    yield ""
    commands = list(_commands(main, "registrar"))
    for path, _ in commands:
        yield f"- [`{path}`](#{anchor(path)})"
    yield ""
    for path, command in commands:
        yield f"## `{path}`"
        yield ""
        yield inspect.cleandoc(command.help or "").replace("\b\n", "")
        yield ""
        context = click.Context(command, info_name=path)
        yield f"`{' '.join([path, *command.collect_usage_pieces(context)])}`"
        yield ""
        options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
        rows = [_option(option, context) for option in options if "--help" not in option.opts and not option.hidden]
        if rows:
            yield from table(("option", "default", "meaning"), rows)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from _commands(command.commands[name], f"{path} {name}")


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = ", ".join(option.opts)
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = option.get_default(context) if option.show_default and not option.is_flag else None
    return code(names + value), code("" if default is None else str(default)), option.help or ""


# --- writing ----------------------------------------------------------------------------------------------------------


def threat_model_page() -> Iterator[str]:
    """What can go wrong, what is done about it, and the tests that show it."""
    rows = tomllib.loads((FOLDER.parent / "threats.toml").read_text("utf-8"))["threat"]
    yield "# Threat model"
    yield ""
    yield (
        "What can go wrong with registration, by where it is described; what this server does about it; and the tests that "
        "fail when it no longer does. What is not done is told in the last column."
    )
    yield ""
    sources = dict.fromkeys(_family(row["source"]) for row in rows)
    for source in sources:
        yield f"## {source}"
        yield ""
        yield from table(
            ("where", "threat", "what is done", "shown by", "what is left"),
            (
                (
                    row["source"].removeprefix(source).strip() or row["source"],
                    row["what"],
                    row["done"],
                    ", ".join(_test(name) for name in row["tests"]),
                    row.get("left", ""),
                )
                for row in rows
                if _family(row["source"]) == source
            ),
        )


def _family(source: str) -> str:
    """The heading under which a threat stands: the specification, or that it was found in the field."""
    known = ("RFC 7591", "RFC 9700", "Governance of registration")
    return next((one for one in known if source.startswith(one)), "Known vulnerabilities of registration servers")


def _test(name: str) -> str:
    path, _, function = name.partition("::")
    return f"[{function.removeprefix('test_').replace('_', ' ')}](../../tests/{path})"


def openapi_document() -> Iterator[str]:
    """`openapi.json`: the administration API and the protocol's endpoints, for programs."""
    told = openapi.document("https://as.example.com", admin.PREFIX, "/register", admin.ROUTES)
    yield json.dumps(told, indent=1, ensure_ascii=False)


PAGES: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "rules.md": rules_page,
    "expansions.md": expansions_page,
    "metadata.md": metadata_page,
    "server-metadata.md": server_metadata_page,
    "cli.md": cli_page,
    "threat-model.md": threat_model_page,
    "openapi.json": openapi_document,
}


def text_of(page: Callable[[], Iterator[str]]) -> str:
    """A page as it stands in its file."""
    lines = list(page())
    if page is openapi_document:  # no place for a note in JSON
        return lines[0] + "\n"
    return "\n".join([lines[0], "", NOTE, *lines[1:]]).rstrip("\n") + "\n"


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of the pages that are not what they would be written as."""
    return [
        name
        for name, page in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != text_of(page)
    ]


def run(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    names = stale()
    if "--check" not in arguments:
        FOLDER.mkdir(exist_ok=True)
        for name in names:
            (FOLDER / name).write_text(text_of(PAGES[name]), "utf-8")
    for name in names:
        sys.stdout.write(f"{'would change' if '--check' in arguments else 'wrote'} {FOLDER / name}\n")
    return int("--check" in arguments and bool(names))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
