"""Strict TOML to settings, and `assemble()`: the one place that names concrete classes.

Nothing is guessed and nothing is ignored: an unknown key, a value of another type, a combination that would be unsafe
or could not work is refused before anything starts, naming the file and the line.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import inspect
import os
import re
import ssl
import stat
import time
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from registrar.domain import uri as grammar
from registrar.domain.access_token import SCOPE, Kind
from registrar.domain.certificate import read as read_certificate
from registrar.domain.certificate import read_pem
from registrar.domain.credentials import KEY_BYTES, KeyEncryptionKeys
from registrar.domain.jwks import judge as judge_keys
from registrar.domain.redirect_uri import LOOPBACK_HOSTS
from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.domain.settings import (
    Clients,
    Mode,
    Registration,
    Server,
    Settings,
    StatementIssuer,
    Template,
    TokenIssuer,
)
from registrar.domain.settings import Issuer as IssuerSettings
from registrar.http.fetch import Fetcher
from registrar.policy import Contradiction, Policy, all_of, classes
from registrar.policy.classes import ClientClass
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.evidence import ManagementProof, Proof
from registrar.policy.loader import Written, form, load_all, shipped
from registrar.policy.rules import RULE_FUNCTIONS, RuleFunction
from registrar.service import templates
from registrar.service.audit import Audit
from registrar.service.key_sets import KeySets
from registrar.service.registry import Issuer, Registry, registrable_scopes
from registrar.storage import ACCEPTED, MEMORY, is_postgresql, open_store, sqlite_path

__all__ = [
    "Configuration",
    "ConfigurationError",
    "assemble",
    "closed",
    "create_key_file",
    "development",
    "parse",
    "read",
    "read_policies",
]

_NAME: Final = re.compile(r"[a-z][a-z0-9_\-]{0,31}")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_ORIGIN: Final = re.compile(r"\*|https?://[^/?#\s]+")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings and policies that have been checked against each other."""

    settings: Settings
    policies: Mapping[str, Policy]
    functions: Mapping[str, RuleFunction] = dataclasses.field(default_factory=lambda: RULE_FUNCTIONS)
    """The rules that a policy may name."""
    classes: Mapping[str, ClientClass] = dataclasses.field(default_factory=classes.shipped)
    """The classes of clients that an issuer may choose."""

    @property
    def loopback(self) -> bool:
        """Whether every issuer lives on this machine, which is what development means here."""
        return all(_is_loopback(issuer.url) for issuer in self.settings.issuer.values())

    @property
    def key_file(self) -> Path | None:
        """The file of the key-encryption keys: as configured, or beside the database."""
        if self.settings.server.key_file:
            return Path(self.settings.server.key_file)
        database = sqlite_path(self.settings.server.database)
        return database.with_name("registrar.key") if database else None


def read(path: Path) -> Configuration:
    """The configuration in a file.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(str(path), 0, f"cannot be read: {problem}") from None
    return parse(Document(str(path), text))


def development(port: int = 8000, database: str = "sqlite:///var/registrar.db") -> Configuration:
    """The configuration of `--dev`: one issuer on loopback, open to everybody on this machine.

    Raises:
        ConfigurationError: the port is 0: the issuer's URL names its port, so it cannot be left to the system.
    """
    text = f"""
        [server]
        port = {port}
        database = "{database}"
        [issuer.main]
        url = "http://127.0.0.1:{port}"
        cors_origins = ["*"]
        [issuer.main.registration]
        mode = "open"
        [issuer.main.authorization]
        any_resource = true
        [issuer.main.people]
        sign_up = true
    """
    return parse(Document("--dev", text))


def closed(port: int = 8000) -> Configuration:
    """The configuration without a configuration: registration is disabled."""
    text = f'[server]\nport = {port}\n[issuer.main]\nurl = "http://127.0.0.1:{port}"'
    return parse(Document("the default configuration", text))


def parse(document: Document) -> Configuration:
    """Settings and policies from a document.

    Raises:
        ConfigurationError: as `read`.
    """
    data = dict(document.data)
    functions = _rules(data.pop("rules", {}), document)
    policies = {**shipped(), **_policies(data.pop("policy", {}), document, functions)}
    if unknown := sorted(set(data) - set(_TABLES)):
        raise document.error(f"unknown table [{unknown[0]}]; known are {', '.join(_TABLES.values())}", unknown[0])
    believed = {
        name: _statement_issuer(name, table, document, _urls(data.get("issuer", {})))
        for name, table in data.get("statement_issuer", {}).items()
    }
    server = _build(Server, data.get("server", {}), document, ("server",))
    tables = data.get("issuer", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise document.error("issuers are tables: [issuer.main]", "issuer")
    issuers = {name: _issuer(name, table, policies, believed, document) for name, table in tables.items()}
    if not issuers:
        raise document.error("there is no issuer; a server needs at least one [issuer.NAME] with a url")
    urls = [issuer.url for issuer in issuers.values()]
    endpoints = [issuer.url + issuer.registration.path for issuer in issuers.values()]
    for name, issuer in issuers.items():
        if urls.count(issuer.url) > 1:
            raise document.error(f"two issuers have the url {issuer.url}", "issuer", name, "url")
        if endpoints.count(issuer.url + issuer.registration.path) > 1:
            raise document.error("two issuers have this registration endpoint", "issuer", name, "registration", "path")
        others = {url for other in issuers.values() if other is not issuer for url in (other.url, other.mutual_tls_url)}
        if issuer.mutual_tls_url and issuer.mutual_tls_url in others:
            raise document.error("is where another issuer is reached", "issuer", name, "mutual_tls_url")
    for issuer in issuers.values():
        _check_authorities(issuer, policies, server, document)
    known = {**classes.shipped(), **_classes(data.get("class", {}), policies, document)}
    for issuer in issuers.values():
        _check_classes(issuer, known, policies, document)
    configuration = Configuration(Settings(server, issuers, believed), policies, functions, known)
    _check_transport(configuration, document)
    _check_fetching(server, document)
    return configuration


def read_policies(path: Path, beside: Configuration) -> dict[str, Policy]:
    """The policies in a file: a policy by itself, named as the file is, or the `[policy.NAME]` of a configuration.

    Args:
        path: the file.
        beside: the configuration whose policies may be extended, and whose rules may be named.

    Raises:
        ConfigurationError: as `read`.
    """
    try:
        document = Document(str(path), path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(str(path), 0, f"cannot be read: {problem}") from None
    if "issuer" in document.data:
        parsed = parse(document)
        return {name: parsed.policies[name] for name in document.data.get("policy", {})}
    if "policy" in document.data:
        return _policies(document.data["policy"], document, beside.functions)
    name = path.stem
    known = {other: one for other, one in beside.policies.items() if other != name}
    return load_all({name: Written(document.data, document)}, known, beside.functions)


def assemble(configuration: Configuration) -> Registry:
    """Open the store, read the keys, bind issuers to policies: everything that the use cases are given.

    Raises:
        ConfigurationError: the key file is missing, unreadable or open to others, or `ca_file` cannot be used.
        StoreUnavailable: the database cannot be opened.
    """
    keys = _keys(configuration)
    server = configuration.settings.server
    fetch = _fetcher(configuration)
    store = open_store(server.database, queue=server.queue, postgresql=server.postgresql)
    believed = configuration.settings.statement_issuer
    issuers = {
        name: Issuer(
            settings,
            configuration.policies,
            [believed[one] for one in settings.registration.statement_issuers],
            _authorities(settings, server),
            [configuration.classes[one] for one in settings.registration.classes],
            _function(settings.registration.attestation) if settings.registration.attestation else None,
        )
        for name, settings in configuration.settings.issuer.items()
    }
    return Registry(
        store,
        _now_ms,
        os.urandom,
        keys,
        issuers,
        Audit(store, _now_ms, os.urandom),
        fetch,
        KeySets(fetch, _now_ms, server.key_sets),
    )


def _fetcher(configuration: Configuration) -> Fetcher:
    settings = configuration.settings.server.fetch
    fetch = Fetcher(settings)
    if (
        settings.ca_file
    ):  # read now, so that a wrong path shows at start; without one, certificates are read when needed
        try:
            _ = fetch.tls
        except (OSError, ssl.SSLError) as problem:
            raise ConfigurationError(settings.ca_file, 0, f"not a file of certificates (PEM): {problem}") from None
    return fetch


def _now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


# --- building settings from tables -----------------------------------------------------------------------------------


_TABLES: Final = {
    "server": "server",
    "issuer": "issuer.NAME",
    "policy": "policy.NAME",
    "statement_issuer": "statement_issuer.NAME",
    "class": "class.NAME",
    "rules": "rules",
}


def _policies(tables: Any, document: Document, functions: Mapping[str, RuleFunction]) -> dict[str, Policy]:
    if not isinstance(tables, dict):
        raise document.error("policies are tables: [policy.NAME]", "policy")
    for name in tables:
        if name in shipped():
            raise document.error(f"{name} is a profile that ships; give yours another name", "policy", name)
        if not _NAME.fullmatch(name):
            raise document.error("a policy's name is 1 to 32 lower-case letters, digits, - and _", "policy", name)
    written = {name: Written(table, document, ("policy", name)) for name, table in tables.items()}
    return load_all(written, shipped(), functions)


def _rules(table: Any, document: Document) -> Mapping[str, RuleFunction]:
    """The rules of the user's own, `name = "package.module:function"`, beside those that ship."""
    functions = dict(RULE_FUNCTIONS)
    if not isinstance(table, dict):
        raise document.error("rules is a table of names and functions", "rules")
    for name, where in table.items():
        if name in RULE_FUNCTIONS:
            raise document.error(f"{name} is a rule that ships; give yours another name", "rules", name)
        try:
            function = _function(where)
        except ValueError as problem:
            raise document.error(f"a rule is {problem}", "rules", name) from None
        if faults := _unfit(function):
            raise document.error(f"{where} {faults}", "rules", name)
        functions[name] = function
    return functions


def _urls(issuers: Any) -> frozenset[str]:
    """Where the issuers of this configuration are; it is not checked yet."""
    tables = issuers.values() if isinstance(issuers, dict) else ()
    return frozenset(str(table.get("url")) for table in tables if isinstance(table, dict))


def _function(where: Any) -> Callable[..., Any]:
    """What `package.module:function` names.

    Raises:
        ValueError: it cannot be had.
    """
    module, _, attribute = where.partition(":") if isinstance(where, str) else ("", "", "")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as problem:
        raise ValueError(f'"package.module:function"; {where} cannot be had: {problem}') from None
    if not callable(found):
        raise ValueError(f'"package.module:function"; {where} is no function')  # noqa: TRY004 (what the configuration says is no value for it)
    return typing.cast("Callable[..., Any]", found)


def _unfit(function: Callable[..., Any]) -> str:
    """Why a function is no rule; what a policy may set has to have types, because they say what is taken."""
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, ValueError) as problem:
        return f"cannot be read as a rule: {problem}"
    places = [one for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(places) != 2 or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):  # noqa: PLR2004
        return "is no rule; a rule is a function of the members and the facts, and its arguments are keywords"
    untyped = [one.name for one in parameters if one not in places and one.name not in hints]
    return f"has no type for {untyped[0]}" if untyped else ""


def _classes(tables: Any, policies: Mapping[str, Policy], document: Document) -> dict[str, ClientClass]:
    """The classes of clients of the user's own."""
    if not isinstance(tables, dict):
        raise document.error("classes are tables: [class.NAME]", "class")
    for name in tables:
        if name in classes.shipped():
            raise document.error(f"{name} is a class that ships; give yours another name", "class", name)
        if not _NAME.fullmatch(name):
            raise document.error("a class's name is 1 to 32 lower-case letters, digits, - and _", "class", name)
    return {name: classes.load(name, table, policies, document) for name, table in tables.items()}


def _check_classes(
    issuer: IssuerSettings, known: Mapping[str, ClientClass], policies: Mapping[str, Policy], document: Document
) -> None:
    """The classes exist, and their policies can be met together with the issuer's."""
    at = ("issuer", issuer.name, "registration")
    for name in issuer.registration.classes:
        if name not in known:
            raise document.error(f"there is no class {name}; these are: {', '.join(known)}", *at, "classes")
        try:
            all_of([policies[one] for one in (issuer.registration.policy, *known[name].policies)])
        except Contradiction as problem:
            raise document.error(
                f"nothing could be registered in the class {name}: {problem}", *at, "classes"
            ) from None
    if issuer.registration.attestation:
        try:
            _function(issuer.registration.attestation)
        except ValueError as problem:
            raise document.error(f"is {problem}", *at, "attestation") from None


def _statement_issuer(name: str, table: Any, document: Document, ours: frozenset[str]) -> StatementIssuer:
    """Whose statements are believed: by their keys, by the address of their keys, or by certificates."""
    at = ("statement_issuer", name)
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise document.error("an issuer of statements is a table with a name of 1 to 32 lower-case letters", *at)
    own = dict(table)
    how = form(own.pop("statement"), document, *at, "statement") if isinstance(own.get("statement"), dict) else None
    for key in ("name", "form", "anchor_certificates", "statement"):
        if key in own:
            raise document.error(f"unknown setting {key}", *at, key)
    found: StatementIssuer = _build(StatementIssuer, own, document, at, name=name, form=how)
    given = [key for key in ("jwks_uri", "jwks", "anchors") if getattr(found, key)]
    if found.issuer in ours:
        if given:
            raise document.error("is an issuer of this configuration, whose keys are at hand", *at, given[0])
    elif len(given) != 1:
        raise document.error("is known by one of jwks_uri, jwks and anchors", *at)
    if bool(found.issuer) == bool(found.anchors):
        raise document.error("issuer is the iss of its statements; with anchors it is that of each certificate", *at)
    if found.jwks and (faults := judge_keys(found.jwks)):
        raise document.error(f"{faults[0].member} {faults[0].reason}", *at, "jwks")
    if found.anchors:
        try:
            return dataclasses.replace(found, anchor_certificates=read_pem(Path(found.anchors).read_bytes()))
        except (OSError, ValueError) as problem:
            raise document.error(f"{found.anchors} cannot be read: {problem}", *at, "anchors") from None
    return found


def _issuer(
    name: str,
    table: dict[str, Any],
    policies: Mapping[str, Policy],
    believed: Mapping[str, StatementIssuer],
    document: Document,
) -> IssuerSettings:
    at = ("issuer", name)
    if not _NAME.fullmatch(name):
        raise document.error("an issuer's name is 1 to 32 lower-case letters, digits, - and _, a letter first", *at)
    if "name" in table:
        raise document.error("the name of an issuer is that of its table", *at, "name")
    own = dict(table)
    written = own.pop("template", {})
    if not isinstance(written, dict) or not all(isinstance(one, dict) for one in written.values()):
        raise document.error(f"templates are tables: [issuer.{name}.template.NAME]", *at, "template")
    made = {
        key: _build(Template, one, document, (*at, "template", key), template_id=key) for key, one in written.items()
    }
    issuer: IssuerSettings = _build(IssuerSettings, own, document, at, name=name, template=made)
    _check_url(issuer.url, document, *at, "url")
    if issuer.mutual_tls_url:
        _check_mutual_tls_url(issuer, document, *at, "mutual_tls_url")
    issuer = _with_udap(issuer, document, *at, "udap")
    if issuer.registration.policy not in policies:
        raise document.error(
            f"there is no policy {issuer.registration.policy}; these are: {', '.join(sorted(policies))}",
            *at,
            "registration",
            "policy",
        )
    _check_path(issuer.registration, document, *at, "registration")
    _check_evidence(issuer, policies[issuer.registration.policy], believed, document, *at, "registration")
    _check_scopes(issuer, document, *at, "scopes")
    _check_people(issuer, document, *at)
    _check_pages(issuer, document, *at)
    _check_templates(issuer, policies, document, *at, "template")
    for origin in issuer.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise document.error(f"{origin} is not an origin such as https://app.example, or *", *at, "cors_origins")
    for section, key in (
        ("client_secret", "lifetime"),
        ("client_secret", "overlap"),
        ("registration_access_token", "overlap"),
    ):
        if getattr(getattr(issuer, section), key) < 0:
            raise document.error(f"{key} is in seconds and not negative", *at, section, key)
    for key in ("id_token_lifetime", "logout_seconds", "logout_attempts"):
        if getattr(issuer.openid, key) <= 0:
            raise document.error("is more than 0", *at, "openid", key)
    _check_authorization(issuer, document, *at, "authorization")
    for other, believed_token in issuer.registration.token_issuers.items():
        _check_token_issuer(believed_token, document, *at, "registration", "token_issuers", other)
    if issuer.audit.refusals_per_minute < 1:
        raise document.error("at least one refusal a minute is recorded", *at, "audit", "refusals_per_minute")
    return issuer


def _build(kind: type[Any], table: Any, document: Document, path: tuple[str, ...], **given: Any) -> Any:
    """A settings dataclass from a table of the same shape."""
    if not isinstance(table, dict):
        raise document.error("needs to be a table", *path)
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - known):
        raise document.error(
            f"unknown setting {unknown[0]}; known are {', '.join(sorted(known - set(given)))}", *path, unknown[0]
        )
    for key, value in table.items():
        given[key] = _value(hints[key], value, document, (*path, key))
    return kind(**given)


def _value(hint: Any, value: Any, document: Document, path: tuple[str, ...]) -> Any:
    if hint is Any:  # judged where it is used
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, document, path)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise document.error("needs to be a table", *path)
        kind = typing.get_args(hint)[1]
        return {name: _value(kind, one, document, (*path, name)) for name, one in value.items()}
    if hint == tuple[Mode, ...]:
        return _modes(value, document, path)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value not in tuple(hint):
            raise document.error(f"is one of {', '.join(hint)}", *path)
        return hint(value)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise document.error("needs a list of strings", *path)
        return tuple(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise document.error(f"needs {_SPOKEN[hint]}", *path)
    return value


_SPOKEN: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _modes(value: Any, document: Document, path: tuple[str, ...]) -> tuple[Mode, ...]:
    if value == "disabled":
        return ()
    if isinstance(value, str) and value in tuple(Mode):
        return (Mode(value),)
    if isinstance(value, list) and value and set(value) <= {Mode.CLIENT, Mode.USER}:
        return tuple(Mode(item) for item in value)
    raise document.error('is "disabled", "open", "client", "user" or ["client", "user"]', *path)


# --- what must hold between settings -----------------------------------------------------------------------------------


def _check_url(url: str, document: Document, *path: str) -> None:
    parts = None if grammar.odd_character(url) else grammar.split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.authority or "@" in parts.authority:
        raise document.error("an issuer needs a url such as https://as.example.com", *path)
    host, port = grammar.host_and_port(parts.authority)
    if not grammar.is_host(host) or (port is not None and not grammar.is_port(port)):
        raise document.error(f"{parts.authority} is not a host", *path)
    if parts.query or "?" in url or parts.fragment is not None or url.endswith("/"):
        raise document.error("an issuer's url has no query, no fragment and no trailing slash (RFC 8414 §2)", *path)
    if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
        raise document.error("an issuer's url is https, except on loopback (RFC 8414 §2)", *path)


def _with_udap(issuer: IssuerSettings, document: Document, *path: str) -> IssuerSettings:
    """The settings with the certificate that signs the metadata for a community."""
    given = issuer.udap
    if given.chain or given.private_key:
        raise document.error("takes certificate and key", *path)
    if bool(given.certificate) != bool(given.key):
        raise document.error("certificate and key go together", *path)
    if not given.certificate:
        return issuer
    try:
        chain, key = read_pem(Path(given.certificate).read_bytes()), Path(given.key).read_bytes()
        named = read_certificate(chain[0]).uri
    except (OSError, ValueError) as problem:
        raise document.error(f"cannot be read: {problem}", *path) from None
    if issuer.url not in named:
        raise document.error(f"its certificate does not name {issuer.url} as a URI", *path, "certificate")
    return dataclasses.replace(issuer, udap=dataclasses.replace(given, chain=chain, private_key=key))


def _check_mutual_tls_url(issuer: IssuerSettings, document: Document, *path: str) -> None:
    _check_url(issuer.mutual_tls_url, document, *path)
    own, main = grammar.split(issuer.mutual_tls_url), grammar.split(issuer.url)
    if own is None or main is None or own.scheme != "https" or own.path != main.path:
        raise document.error("is https and has the path of the issuer's url", *path)


def _check_path(registration: Registration, document: Document, *path: str) -> None:
    if not re.fullmatch(r"(/(?!\.)[A-Za-z0-9_\-.~]+)+", registration.path):
        raise document.error("is a path such as /register", *path, "path")
    taken = (*ENDPOINTS.values(), *PAGES.values(), "/healthz", "/readyz", "/statements")
    if registration.path in taken or registration.path.startswith("/admin"):
        raise document.error(f"{registration.path} is the path of another endpoint", *path, "path")


def _check_evidence(
    issuer: IssuerSettings,
    policy: Policy,
    believed: Mapping[str, StatementIssuer],
    document: Document,
    *path: str,
) -> None:
    """What the policy demands can be had at this issuer at all."""
    registration = issuer.registration
    for name in registration.statement_issuers:
        if name not in believed:
            raise document.error(f"there is no [statement_issuer.{name}]", *path, "statement_issuers")
    if policy.proofs and not registration.statement_issuers and all(Proof.STATEMENT in one for one in policy.proofs):
        raise document.error(
            f"the policy {policy.name} demands a software statement, and nobody's are believed here; set statement_issuers",
            *path,
            "policy",
        )
    if not registration.templates and not registration.full:
        raise document.error("templates and full are both off, so nothing could be registered", *path, "full")


def _authorities(issuer: IssuerSettings, server: Server) -> tuple[bytes, ...]:
    """The authorities whose client certificates count as evidence at an issuer."""
    file = issuer.registration.certificate_authorities or server.mutual_tls.client_ca
    try:
        return read_pem(Path(file).read_bytes()) if file else ()
    except (OSError, ValueError) as problem:
        raise ConfigurationError(file, 0, f"certificate authorities cannot be read: {problem}") from None


def _check_authorities(
    issuer: IssuerSettings, policies: Mapping[str, Policy], server: Server, document: Document
) -> None:
    """A policy that demands client certificates needs authorities."""
    at = ("issuer", issuer.name, "registration")
    file = issuer.registration.certificate_authorities or server.mutual_tls.client_ca
    policy = policies[issuer.registration.policy]
    demanded = policy.proofs and all(Proof.CERTIFICATE in one for one in policy.proofs)
    if not file and (demanded or ManagementProof.CERTIFICATE in policy.management.proofs):
        raise document.error(
            f"the policy {policy.name} demands client certificates; say whose count in certificate_authorities", *at
        )


def _check_scopes(issuer: IssuerSettings, document: Document, *path: str) -> None:
    scopes = issuer.scopes
    for key in ("catalogue", "registrable", "default", "operator"):
        for scope in getattr(scopes, key):
            if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope):
                raise document.error(f"{scope} is not a scope token (RFC 6749 §3.3)", *path, key)
    for scope in scopes.registrable:
        if scope == SCOPE or scope in scopes.operator:
            raise document.error(f"{scope} can never be registered", *path, "registrable")
        if scope not in scopes.catalogue:
            raise document.error(f"{scope} is not in the catalogue", *path, "registrable")
    allowed = registrable_scopes(issuer)
    for scope in scopes.default:
        if scope not in allowed:
            raise document.error(f"{scope} is not registrable, so it cannot be a default", *path, "default")


def _check_pages(issuer: IssuerSettings, document: Document, *path: str) -> None:
    for key in ("documentation", "policy_page", "terms_page"):
        url = getattr(issuer, key)
        parts = None if grammar.odd_character(url) else grammar.split(url)
        if url and (parts is None or parts.scheme not in ("http", "https") or not parts.authority):
            raise document.error("is the URL of a page, such as https://www.example.com/terms", *path, key)


def _check_people(issuer: IssuerSettings, document: Document, *path: str) -> None:
    people, upstream = issuer.people, issuer.upstream
    for key in ("password_characters", "session_lifetime", "session_idle"):
        if getattr(people, key) < 1:
            raise document.error("is more than 0", *path, "people", key)
    if not upstream.issuer:
        return
    at = (*path, "upstream")
    _check_url(upstream.issuer.rstrip("/"), document, *at, "issuer")  # some providers' identifiers end in a slash
    if not upstream.client_id:
        raise document.error("needs the client_id that this issuer has at the other provider", *at, "client_id")
    if "openid" not in upstream.scopes:
        raise document.error("has to name openid, without which nobody is told who signed in", *at, "scopes")
    if upstream.client_secret_file:
        _check_secret_file(upstream.client_secret_file, document, *at, "client_secret_file")


def _check_secret_file(file: str, document: Document, *path: str) -> None:
    try:
        open_to_others = stat.S_IMODE(Path(file).stat().st_mode) & 0o077
    except OSError as problem:
        raise document.error(f"cannot be read: {problem}", *path) from None
    if open_to_others:
        raise document.error("the file can be read by others; chmod 600", *path)


def _check_authorization(issuer: IssuerSettings, document: Document, *path: str) -> None:
    given = issuer.authorization
    for field in dataclasses.fields(given):
        if field.name.endswith(("_lifetime", "_interval")) and getattr(given, field.name) < 1:
            raise document.error(f"{field.name} is in seconds and more than 0", *path, field.name)
    for key, accepted in _ALLOWED.items():
        if getattr(given, key) not in accepted:
            raise document.error(f"is one of {', '.join(accepted)}", *path, key)
    if given.refresh_token_grace < 0:
        raise document.error("refresh_token_grace is in seconds and not negative", *path, "refresh_token_grace")
    for name, resource in given.resources.items():
        if not grammar.is_absolute(resource.uri):
            raise document.error("needs an absolute URI without a fragment (RFC 8707 §2)", *path, "resources", name)
    if given.default_resource and not grammar.is_absolute(given.default_resource):
        raise document.error("is an absolute URI without a fragment (RFC 8707 §2)", *path, "default_resource")


def _check_token_issuer(other: TokenIssuer, document: Document, *path: str) -> None:
    if not _NAME.fullmatch(path[-1]):
        raise document.error("has a name of 1 to 32 lower-case letters, digits, - and _", *path)
    if other.kind not in ("", Kind.CLIENT, Kind.USER):
        raise document.error("is client, user, or empty", *path, "kind")
    if not other.jwks_uri and not other.introspection_endpoint:
        raise document.error("needs issuer and jwks_uri, or introspection_endpoint", *path)
    if bool(other.jwks_uri) != bool(other.issuer):
        raise document.error("issuer and jwks_uri go together", *path, "issuer")
    if other.introspection_endpoint:
        if not other.client_id:
            raise document.error("needs client_id and client_secret_file beside it", *path, "introspection_endpoint")
        _check_secret_file(other.client_secret_file, document, *path, "client_secret_file")


_ALLOWED: Final = {
    "refresh_tokens": (Clients.ALL, Clients.CONFIDENTIAL),
    "refresh_token_rotation": (Clients.ALL, Clients.PUBLIC),
    "pkce": (Clients.ALL, Clients.PUBLIC),
}


def _check_templates(issuer: IssuerSettings, policies: Mapping[str, Policy], document: Document, *path: str) -> None:
    """Each template is judged as a registration is, before anything starts."""
    if not issuer.template:
        return
    if not issuer.registration.templates:
        raise document.error("registration.templates is off, so these templates would have no instances", *path)
    bound = Issuer(issuer, policies)
    for template_id, table in issuer.template.items():
        for fault in templates.judge(bound, template_id, templates.of_configuration(table)):
            accepted = f"; accepted: {fault.accepted}" if fault.accepted else ""
            member = fault.member.partition("[")[0].partition(".")[0]
            own = (
                ()
                if member == "template_id"
                else (member,)
                if member in ("allowed", "policy")
                else ("metadata", member)
            )
            raise document.error(f"{fault.member}: {fault.reason}{accepted}", *path, template_id, *own)


def _check_transport(configuration: Configuration, document: Document) -> None:
    """Registration carries credentials: TLS, except between programs of one machine (RFC 7591 §5)."""
    server = configuration.settings.server
    _check_database(server, document)
    if bool(server.tls_certificate) != bool(server.tls_key):
        raise document.error("tls_certificate and tls_key go together", "server", "tls_certificate")
    if not 0 <= server.port <= 65535:  # noqa: PLR2004 (ports; 0 lets the system choose)
        raise document.error("is a port from 0 to 65535", "server", "port")
    for key, least in (("body_bytes", 1024), ("queue", 1)):
        if getattr(server, key) < least:
            raise document.error(f"is at least {least}", "server", key)
    if server.body_seconds <= 0:
        raise document.error("is more than 0", "server", "body_seconds")
    _check_proxies(server, document)
    _check_mutual_tls(server, document)
    if server.host not in _LOOPBACK and not server.tls_certificate and not server.trusted_proxies:
        raise document.error(
            f"listening on {server.host} without TLS would carry credentials in the clear; set tls_certificate and tls_key, "
            "or trusted_proxies where a proxy ends TLS",
            "server",
            "host",
        )


def _check_database(server: Server, document: Document) -> None:
    if is_postgresql(server.database):
        from registrar.storage.postgres.connection import Address  # the driver is loaded only where it is used

        try:
            Address(server.database, server.postgresql)
        except ValueError as problem:
            raise document.error(str(problem), "server", "database") from None
        if not server.key_file:
            raise document.error(
                "needs key_file with a PostgreSQL database: the keys do not live in it, and every process has to have the same",
                "server",
                "key_file",
            )
    elif server.database != MEMORY and sqlite_path(server.database) is None:
        raise document.error(f"is {ACCEPTED}", "server", "database")
    for field in dataclasses.fields(server.postgresql):
        if getattr(server.postgresql, field.name) <= 0:
            raise document.error("is more than 0", "server", "postgresql", field.name)


def _check_proxies(server: Server, document: Document) -> None:
    for proxy in server.trusted_proxies:
        try:
            everybody = ip_network(proxy).prefixlen == 0
        except ValueError:
            raise document.error(
                f"{proxy} is neither an address nor a network such as 10.0.0.0/24", "server", "trusted_proxies"
            ) from None
        if everybody:
            raise document.error(f"{proxy} is everybody; name your proxies", "server", "trusted_proxies")
    if not re.fullmatch(r"[a-z][a-z0-9\-]*", server.client_certificate_header):
        raise document.error("is the name of a header, in lower case", "server", "client_certificate_header")


def _check_mutual_tls(server: Server, document: Document) -> None:
    settings, at = server.mutual_tls, ("server", "mutual_tls")
    if not 0 <= settings.port <= 65535:  # noqa: PLR2004 (ports)
        raise document.error("is a port from 1 to 65535, or 0 for none", *at, "port")
    if bool(settings.certificate) != bool(settings.key):
        raise document.error("certificate and key go together", *at, "certificate")
    if not settings.port:
        if settings.client_ca or settings.certificate:
            raise document.error("needs a port; without one nothing listens", *at)
        return
    if settings.port == server.port:
        raise document.error("is a port of its own, not server.port", *at, "port")
    if not settings.client_ca:
        raise document.error("needs client_ca, the authorities of clients' certificates", *at)
    if not settings.certificate and not server.tls_certificate:
        raise document.error("needs certificate and key, or server.tls_certificate and server.tls_key", *at)


def _check_fetching(server: Server, document: Document) -> None:
    at = ("server", "fetch")
    for origin in server.fetch.allow:
        parts = None if grammar.odd_character(origin) else grammar.split(origin)
        authority = (parts.authority or "") if parts else ""
        host, port = grammar.host_and_port(authority)
        if (
            parts is None
            or parts.scheme not in ("http", "https")
            or origin != f"{parts.scheme}://{authority}"
            or not grammar.is_host(host)
            or (port is not None and not grammar.is_port(port))
        ):
            raise document.error(f"{origin} is not an origin such as https://keys.internal:8443", *at, "allow")
    if server.fetch.seconds <= 0:
        raise document.error("is more than 0", *at, "seconds")
    for key, least in (("bytes", 1024), ("at_once", 1), ("at_once_per_host", 1)):
        if getattr(server.fetch, key) < least:
            raise document.error(f"is at least {least}", *at, key)
    kept = server.key_sets
    for field in dataclasses.fields(kept):
        if getattr(kept, field.name) < 1:
            raise document.error("is at least 1", "server", "key_sets", field.name)
    if kept.hard_seconds < kept.fresh_seconds_at_most or kept.fresh_seconds_at_most < kept.fresh_seconds:
        raise document.error(
            "fresh_seconds, fresh_seconds_at_most and hard_seconds do not decrease in this order",
            "server",
            "key_sets",
            "hard_seconds",
        )


def _is_loopback(url: str) -> bool:
    return grammar.host_of(url) in LOOPBACK_HOSTS


# --- key-encryption keys -----------------------------------------------------------------------------------------------


def _keys(configuration: Configuration) -> KeyEncryptionKeys:
    path = configuration.key_file
    if path is None:
        return KeyEncryptionKeys((os.urandom(KEY_BYTES),))  # a store that forgets needs no key that lasts
    if not path.exists():
        if not configuration.loopback or configuration.settings.server.key_file:
            raise ConfigurationError(
                str(path),
                0,
                "there is no key file; `registrar init` makes one, and it belongs outside the database's backups",
            )
        create_key_file(path)
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigurationError(str(path), 0, "the key file can be read by others; chmod 600")
    try:
        return KeyEncryptionKeys.read(path.read_text("ascii"))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(str(path), 0, f"not a key file: {problem}") from None


def create_key_file(path: Path) -> None:
    """Write a new key-encryption key, readable by this user alone; an existing file is left as it is.

    The file appears whole or not at all: a program that is killed half-way must not leave an empty one behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(
                "# Key-encryption keys of Registrar, newest first. Whoever has this file and the database has the secrets.\n"
            )
            file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first, and its key is the one
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink(missing_ok=True)
