"""Every setting, once: its name, type, default and meaning. `config` loads them; the reference is made from them."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any

from registrar.domain.software_statement import Form


class Mode(enum.StrEnum):
    """Who may register at an issuer. `disabled` is the default: the endpoint then does not exist."""

    OPEN = "open"
    CLIENT = "client"
    USER = "user"


class Rotate(enum.StrEnum):
    """When a registration access token is replaced."""

    NEVER = "never"
    UPDATE = "update"
    READ = "read"
    """On update and on read."""


def _setting(default: Any, meaning: str) -> Any:
    metadata = {"meaning": meaning}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Scopes:
    """`[issuer.NAME.scopes]`: which scopes exist and which a registration may hold."""

    catalogue: tuple[str, ...] = _setting(
        ("openid", "profile", "email", "address", "phone", "offline_access"), "Every scope that this issuer knows."
    )
    registrable: tuple[str, ...] = _setting(
        (),
        "The scopes that a registration may hold and that discovery publishes; empty means the whole catalogue but for `dcr` and `operator`.",
    )
    default: tuple[str, ...] = _setting((), "The scopes registered where a request names none that are registrable.")
    operator: tuple[str, ...] = _setting((), "Scopes of operators: in the catalogue, never registrable.")


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`[issuer.NAME.client_secret]`: how long client secrets live."""

    lifetime: int = _setting(
        0, "Seconds until a new secret expires; 0 is never. An update near or past the end issues a new one."
    )
    overlap: int = _setting(86_400, "Seconds for which a superseded secret still works after a rotation.")
    rotate_on_update: bool = _setting(False, "Whether every update issues a new secret.")


@dataclass(frozen=True, slots=True)
class RegistrationAccessToken:
    """`[issuer.NAME.registration_access_token]`: when these tokens are replaced."""

    rotate: Rotate = _setting(Rotate.NEVER, "`never`, `update`, or `read` (on update and on read).")
    overlap: int = _setting(
        3_600,
        "Seconds for which the old token still works while the new one has not been used, so that a lost answer locks nobody out.",
    )


@dataclass(frozen=True, slots=True)
class Registration:
    """`[issuer.NAME.registration]`: who may register and how registrations are managed."""

    mode: tuple[Mode, ...] = _setting((), "`disabled`, `open`, `client`, `user`, or a list of the last two.")
    policy: str = _setting(
        "default", "The policy that judges registrations here: a profile's name or a `[policy.NAME]`."
    )
    path: str = _setting("/register", "The path of the registration endpoint under the issuer's URL.")
    statement_issuers: tuple[str, ...] = _setting(
        (),
        "The `[statement_issuer.NAME]` whose software statements are believed here. Without any, statements are ignored.",
    )
    certificate_authorities: str = _setting(
        "",
        "A file of authorities (PEM) whose client certificates count as evidence here; empty: `server.mutual_tls.client_ca`. Certificates of others prove a key and no name.",
    )
    classes: tuple[str, ...] = _setting(
        (),
        "The classes of clients that may register here, shipped ones or a `[class.NAME]`; the first whose facts hold is a client's. Without any, clients are not told apart.",
    )
    attestation: str = _setting(
        "",
        "A function of your own, `package.module:function`, that judges the `OAuth-Client-Attestation` header of a registration; it may be async.",
    )
    templates: bool = _setting(True, "Whether instances of templates may be registered.")
    full: bool = _setting(True, "Whether clients of their own, without a template, may be registered.")
    management: bool = _setting(
        True, "Whether registrations can be read, updated and deleted by their clients (RFC 7592)."
    )
    management_when_disabled: bool = _setting(
        True, "Whether existing clients keep their configuration endpoint while the mode is `disabled`."
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """`[issuer.NAME.audit]`: what is recorded."""

    refusals_per_minute: int = _setting(600, "Refusals that are recorded one by one in a minute; more are counted.")


@dataclass(frozen=True, slots=True)
class Udap:
    """`[issuer.NAME.udap]`: with what the issuer signs its metadata for a community (`/.well-known/udap`)."""

    certificate: str = _setting(
        "",
        "The certificate chain (PEM) of the issuer in the community; its URL stands in it as a URI. Empty: unsigned.",
    )
    key: str = _setting("", "Its private key (PEM).")
    chain: tuple[bytes, ...] = ()
    """What was read from `certificate`."""
    private_key: bytes = dataclasses.field(default=b"", repr=False)
    """What was read from `key`."""


@dataclass(frozen=True, slots=True)
class Template:
    """`[issuer.NAME.template.TEMPLATE_ID]`: a client that instances refer to."""

    template_id: str
    metadata: dict[str, Any] = _setting({}, "Its client metadata, judged as a registration is.")
    allowed: tuple[str, ...] = _setting((), "The members that an instance may choose for itself; none by default.")
    policy: str = _setting("", "The policy that judges it and its instances. Empty: the issuer's.")
    description: str = _setting("", "What it is for, for people.")


@dataclass(frozen=True, slots=True)
class Issuer:
    """`[issuer.NAME]`: one authorization server identity. One process serves several."""

    name: str
    url: str = _setting(
        "",
        "The issuer identifier: https, or http on loopback, without query, fragment or trailing slash. A path makes a second issuer on the same host.",
    )
    acr_values: tuple[str, ...] = _setting(
        (),
        "The authentication contexts that this issuer offers, published as `acr_values_supported`: what `default_acr_values` of a client or a template may hold.",
    )
    admin_api: bool = _setting(
        False,
        "Whether operators may administer this issuer over HTTP, under `/admin/api`, with tokens of the kind `operator`.",
    )
    documentation: str = _setting("", "A page for developers, published as `service_documentation`.")
    cors_origins: tuple[str, ...] = _setting(
        (),
        "Origins whose pages may call discovery, registration and management; `*` for all. Credentials are never allowed.",
    )
    registration: Registration = _setting(Registration(), "Who may register.")
    registration_access_token: RegistrationAccessToken = _setting(
        RegistrationAccessToken(), "When these tokens are replaced."
    )
    client_secret: ClientSecret = _setting(ClientSecret(), "How long secrets live.")
    mutual_tls_url: str = _setting(
        "",
        "Where this issuer is reached with client certificates: https, with the path of `url`. Its endpoints there are published as `mtls_endpoint_aliases` (RFC 8705 §5).",
    )
    udap: Udap = _setting(Udap(), "What a UDAP community finds.")
    scopes: Scopes = _setting(Scopes(), "Which scopes exist.")
    audit: Audit = _setting(Audit(), "What is recorded.")
    template: dict[str, Template] = _setting({}, "The templates by name.")


@dataclass(frozen=True, slots=True)
class MutualTls:
    """`[server.mutual_tls]`: a second port, which demands a certificate of every client."""

    port: int = _setting(0, "The port to listen on, at the same address; 0 for none.")
    client_ca: str = _setting(
        "", "The authorities (PEM) of clients' certificates; each is trusted by itself, an intermediate one too."
    )
    certificate: str = _setting("", "The certificate chain (PEM) to serve with. Empty: `server.tls_certificate`.")
    key: str = _setting("", "Its private key (PEM). Empty: `server.tls_key`.")


@dataclass(frozen=True, slots=True)
class Fetching:
    """`[server.fetch]`: what the server may fetch at a stranger's word, such as the key set at a `jwks_uri`."""

    allow: tuple[str, ...] = _setting(
        (),
        "Origins such as `https://127.0.0.1:9443` or `http://localhost:8080` that are fetched from although their address is not public; http only where the origin here says so.",
    )
    ca_file: str = _setting("", "Certificates (PEM) of authorities that are trusted beside the system's.")
    seconds: float = _setting(5.0, "Seconds that a fetch may take, from waiting for its turn to the last byte.")
    bytes: int = _setting(262_144, "Bytes of a fetched document at the most.")
    at_once: int = _setting(16, "Fetches under way at once; others wait for their turn.")
    at_once_per_host: int = _setting(4, "Of these, to one host.")


@dataclass(frozen=True, slots=True)
class KeySetCaching:
    """`[server.key_sets]`: how long the key sets of others are kept."""

    fresh_seconds: int = _setting(300, "Seconds for which a key set counts as fresh where its answer says nothing.")
    fresh_seconds_at_most: int = _setting(900, "And at the most, whatever its answer says.")
    hard_seconds: int = _setting(
        3_600, "Seconds for which a key set is used while it cannot be fetched anew; after that nothing is verified."
    )
    again_seconds: int = _setting(
        10, "Seconds between two fetches of one key set, however many unknown keys are presented."
    )
    retry_seconds: int = _setting(5, "Seconds after a failed fetch until the next.")
    sets: int = _setting(1_024, "Key sets that are kept; the one used longest ago makes room.")
    bytes: int = _setting(16_777_216, "Bytes of all key sets that are kept.")


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """`[server.postgresql]`: the sessions of a process, where the database is PostgreSQL."""

    connections: int = _setting(10, "Sessions for reading at the most; one more writes.")
    connect_seconds: float = _setting(
        5.0, "Seconds that connecting may take, and that a read may wait for a session to become free."
    )
    statement_seconds: float = _setting(
        10.0, "Seconds after which the database gives a statement up; what waited for it is answered with 503."
    )
    idle_seconds: float = _setting(300.0, "Seconds after which a session that reads nothing is closed.")


@dataclass(frozen=True, slots=True)
class Server:
    """`[server]`: the process."""

    host: str = _setting("127.0.0.1", "The address to listen on.")
    port: int = _setting(8000, "The port to listen on.")
    database: str = dataclasses.field(
        default="sqlite:///var/registrar.db",
        repr=False,  # it may hold a password
        metadata={
            "meaning": "Where everything is remembered: `sqlite:///path` (from the working directory; four slashes for an absolute path), "
            "`postgresql://user@host,host/database`, or `memory:`."
        },
    )
    postgresql: PostgreSQL = _setting(PostgreSQL(), "The sessions, where the database is PostgreSQL.")
    key_file: str = _setting(
        "",
        "The file with the key-encryption keys (mode 0600). Empty: `registrar.key` beside the database, where that is a file; created by itself only where every issuer is on loopback.",
    )
    tls_certificate: str = _setting("", "The certificate chain (PEM) to serve https with.")
    tls_key: str = _setting("", "Its private key (PEM).")
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "Addresses and networks (`10.0.0.0/24`) of proxies that end TLS in front; X-Forwarded-Proto, X-Forwarded-For and client certificates are believed from these alone.",
    )
    client_certificate_header: str = _setting(
        "client-cert",
        "The header in which trusted proxies hand on a client's certificate. `client-cert` is that of RFC 9440; another one holds PEM, percent-encoded, as nginx's `$ssl_client_escaped_cert`.",
    )
    mutual_tls: MutualTls = _setting(MutualTls(), "A port of its own for clients with certificates.")
    body_bytes: int = _setting(65_536, "Bytes of a request body at the most.")
    body_seconds: float = _setting(10.0, "Seconds that the head of a request may take to arrive, and its body.")
    queue: int = _setting(4_096, "Writes that may wait for the store; beyond that the answer is 503 with Retry-After.")
    fetch: Fetching = _setting(Fetching(), "What may be fetched.")
    key_sets: KeySetCaching = _setting(KeySetCaching(), "How long key sets are kept.")


@dataclass(frozen=True, slots=True)
class StatementIssuer:
    """`[statement_issuer.NAME]`: whose software statements are believed, and how its signatures are verified."""

    name: str
    issuer: str = _setting(
        "",
        "The `iss` of its statements. The URL of an issuer of this configuration needs no keys: its own are at hand, and a statement is used up by the registration that comes with it.",
    )
    jwks_uri: str = _setting("", "Where its keys are published; a directory's own address, whatever a statement says.")
    jwks: dict[str, Any] = _setting({}, "Its keys, where they were handed over: `{ keys = [...] }`.")
    anchors: str = _setting(
        "",
        "A file of certificates (PEM) instead of keys: statements are then signed by whoever has a certificate that leads to one of these, and `iss` is a URI of that certificate (UDAP).",
    )
    anchor_certificates: tuple[bytes, ...] = ()
    """What was read from `anchors`."""
    form: Form | None = None
    """`[statement_issuer.NAME.statement]`: how its statements are read; the policy says it where this does not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Policies are parsed where they belong, in `policy`."""

    server: Server = _setting(Server(), "The process.")
    issuer: dict[str, Issuer] = _setting({}, "The issuers by name.")
    statement_issuer: dict[str, StatementIssuer] = _setting({}, "The issuers of software statements by name.")
