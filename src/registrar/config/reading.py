"""A configuration from a file, or made for development: parsed, and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from registrar.config.configuration import Configuration
from registrar.config.environment import Overlaid, names_issuers
from registrar.config.issuers import check_authorities, check_classes, issuer_settings
from registrar.config.policies import client_classes, own_policies, rule_functions, statement_issuer
from registrar.config.server import check_fetching, check_transport
from registrar.config.tables import built
from registrar.config.webhooks import webhook
from registrar.domain.settings import Server, Settings
from registrar.policy import Policy, classes
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.loader import Written, load_all, shipped

_EMPTY: Final[Mapping[str, str]] = {}


def read(path: Path, environment: Mapping[str, str] = _EMPTY) -> Configuration:
    """The configuration in a file, and over it that of environment variables.

    Args:
        path: the file.
        environment: variables by name.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(str(path), 0, f"cannot be read: {problem}") from None
    return parse(Overlaid(Document(str(path), text), environment))


def development(
    port: int = 8000, database: str = "sqlite:///var/registrar.db", environment: Mapping[str, str] = _EMPTY
) -> Configuration:
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
    return parse(Overlaid(Document("--dev", text), environment))


def closed(port: int = 8000, environment: Mapping[str, str] = _EMPTY) -> Configuration:
    """The configuration without a file: what variables say, and where they name no issuer, one that nobody registers at.

    Raises:
        ConfigurationError: as `read`.
    """
    text = f"[server]\nport = {port}\n"
    if not names_issuers(environment):
        text += f'[issuer.main]\nurl = "http://127.0.0.1:{port}"'
    return parse(Overlaid(Document("the default configuration", text), environment))


def parse(document: Document) -> Configuration:
    """Settings and policies from a document.

    Raises:
        ConfigurationError: as `read`.
    """
    data = dict(document.data)
    functions = rule_functions(data.pop("rules", {}), document)
    policies = {**shipped(), **own_policies(data.pop("policy", {}), document, functions)}
    if unknown := sorted(set(data) - set(_TABLES)):
        raise document.error(f"unknown table [{unknown[0]}]; known are {', '.join(_TABLES.values())}", unknown[0])
    believed = {
        name: statement_issuer(name, table, document, _urls(data.get("issuer", {})))
        for name, table in data.get("statement_issuer", {}).items()
    }
    server = built(Server, data.get("server", {}), document, ("server",))
    tables = data.get("issuer", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise document.error("issuers are tables: [issuer.main]", "issuer")
    issuers = {name: issuer_settings(name, table, policies, believed, document) for name, table in tables.items()}
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
        check_authorities(issuer, policies, server, document)
    known = {**classes.shipped(), **client_classes(data.get("class", {}), policies, document)}
    for issuer in issuers.values():
        check_classes(issuer, known, policies, document)
    told = data.get("webhook", {})
    if not isinstance(told, dict):
        raise document.error("webhooks are tables: [webhook.NAME]", "webhook")
    hooks = {name: webhook(name, table, document, issuers, server) for name, table in told.items()}
    configuration = Configuration(Settings(server, issuers, believed, hooks), policies, functions, known)
    check_transport(configuration, document)
    check_fetching(server, document)
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
        return own_policies(document.data["policy"], document, beside.functions)
    name = path.stem
    known = {other: one for other, one in beside.policies.items() if other != name}
    return load_all({name: Written(document.data, document)}, known, beside.functions)


_TABLES: Final = {
    "server": "server",
    "issuer": "issuer.NAME",
    "policy": "policy.NAME",
    "statement_issuer": "statement_issuer.NAME",
    "class": "class.NAME",
    "webhook": "webhook.NAME",
    "rules": "rules",
}


def _urls(issuers: Any) -> frozenset[str]:
    """Where the issuers of this configuration are; it is not checked yet."""
    tables = issuers.values() if isinstance(issuers, dict) else ()
    return frozenset(str(table.get("url")) for table in tables if isinstance(table, dict))
