"""`[issuer.NAME]`: the settings of an issuer, and what must hold between them."""

from __future__ import annotations

import dataclasses
import re
import stat
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from registrar.config.policies import named_function
from registrar.config.tables import NAME, built
from registrar.domain import rates
from registrar.domain import uri as grammar
from registrar.domain.access_token import SCOPE, Kind
from registrar.domain.certificate import read as read_certificate
from registrar.domain.certificate import read_pem
from registrar.domain.redirect_uri import LOOPBACK_HOSTS
from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.domain.settings import (
    Clients,
    Limits,
    MetadataDocuments,
    Registration,
    Server,
    StatementIssuer,
    Template,
    TokenIssuer,
)
from registrar.domain.settings import Issuer as IssuerSettings
from registrar.policy import Contradiction, Policy, all_of
from registrar.policy.classes import ClientClass
from registrar.policy.document import Document
from registrar.policy.evidence import ManagementProof, Proof
from registrar.policy.rules.applied import Hosts
from registrar.service import templates
from registrar.service.registry import Issuer, registrable_scopes

_ORIGIN: Final = re.compile(r"\*|https?://[^/?#\s]+")


def check_classes(
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
            named_function(issuer.registration.attestation)
        except ValueError as problem:
            raise document.error(f"is {problem}", *at, "attestation") from None


def issuer_settings(
    name: str,
    table: dict[str, Any],
    policies: Mapping[str, Policy],
    believed: Mapping[str, StatementIssuer],
    document: Document,
) -> IssuerSettings:
    """The settings of an issuer.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    at = ("issuer", name)
    if not NAME.fullmatch(name):
        raise document.error("an issuer's name is 1 to 32 lower-case letters, digits, - and _, a letter first", *at)
    if "name" in table:
        raise document.error("the name of an issuer is that of its table", *at, "name")
    own = dict(table)
    written = own.pop("template", {})
    if not isinstance(written, dict) or not all(isinstance(one, dict) for one in written.values()):
        raise document.error(f"templates are tables: [issuer.{name}.template.NAME]", *at, "template")
    made = {
        key: built(Template, one, document, (*at, "template", key), template_id=key) for key, one in written.items()
    }
    issuer: IssuerSettings = built(IssuerSettings, own, document, at, name=name, template=made)
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
    _check_limits(issuer.limits, document, *at, "limits")
    _check_metadata_documents(issuer.metadata_documents, policies, document, *at, "metadata_documents")
    if issuer.audit.refusals_per_minute < 1:
        raise document.error("at least one refusal a minute is recorded", *at, "audit", "refusals_per_minute")
    if issuer.audit.personal_days < 0:
        raise document.error("is not negative", *at, "audit", "personal_days")
    return issuer


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


def check_authorities(
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
        check_secret_file(upstream.client_secret_file, document, *at, "client_secret_file")


def check_secret_file(file: str, document: Document, *path: str) -> None:
    """A file with a secret is there, and closed to others."""
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


def _check_limits(limits: Limits, document: Document, *path: str) -> None:
    for key in ("address", "shared", "initial_token", "software_id", "redirect_host", "total", "requests"):
        try:
            rates.read(getattr(limits, key))
        except ValueError as problem:
            raise document.error(str(problem), *path, key) from None
    for network in limits.shared_addresses:
        try:
            ip_network(network)
        except ValueError:
            raise document.error(
                f"{network} is no network such as 160.79.104.0/21", *path, "shared_addresses"
            ) from None
    if not 1 <= limits.ipv6_prefix <= 128:  # noqa: PLR2004 (the bits of an address)
        raise document.error("is from 1 to 128", *path, "ipv6_prefix")
    if not 0 <= limits.near <= 100:  # noqa: PLR2004 (per cent)
        raise document.error("is from 0 to 100", *path, "near")
    for field in dataclasses.fields(limits.clients):
        if getattr(limits.clients, field.name) < 0:
            raise document.error("is not negative; 0 is any number", *path, "clients", field.name)


def _check_metadata_documents(
    given: MetadataDocuments, policies: Mapping[str, Policy], document: Document, *path: str
) -> None:
    if given.policy not in policies:
        known = ", ".join(sorted(policies))
        raise document.error(f"there is no policy {given.policy}; these are: {known}", *path, "policy")
    if given.enabled and policies[given.policy].proofs:
        raise document.error(
            f"the policy {given.policy} demands evidence of whoever registers, and nobody registers here",
            *path,
            "policy",
        )
    try:
        Hosts.from_words(given.hosts)
    except ValueError as problem:
        raise document.error(str(problem), *path, "hosts") from None
    for key in ("address", "host"):
        try:
            rates.read(getattr(given, key))
        except ValueError as problem:
            raise document.error(str(problem), *path, key) from None
    for key in ("bytes", "fresh_seconds_at_least", "retry_seconds", "most"):
        if getattr(given, key) < 1:
            raise document.error("is more than 0", *path, key)
    if not given.fresh_seconds_at_least <= given.fresh_seconds <= given.fresh_seconds_at_most <= given.hard_seconds:
        raise document.error(
            "fresh_seconds_at_least, fresh_seconds, fresh_seconds_at_most and hard_seconds do not get smaller in this order",
            *path,
        )


def _check_token_issuer(other: TokenIssuer, document: Document, *path: str) -> None:
    if not NAME.fullmatch(path[-1]):
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
        check_secret_file(other.client_secret_file, document, *path, "client_secret_file")


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
