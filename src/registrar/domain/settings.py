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
    descriptions: dict[str, str] = _setting(
        {}, "What each scope lets an application do, as people are asked; those of OpenID Connect have one already."
    )


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
class TokenIssuer:
    """`[issuer.NAME.registration.token_issuers.OTHER]`: another server whose access tokens with the scope `dcr` register here."""

    issuer: str = _setting("", "The `iss` of its tokens.")
    jwks_uri: str = _setting("", "Where its keys are published, if its tokens are JWTs (RFC 9068).")
    audience: str = _setting("", "The `aud` of tokens for this server; empty means this issuer's URL.")
    kind: str = _setting(
        "",
        "Whom its tokens stand for: `client`, `user`, or empty: a person, where the subject is another than the client.",
    )
    introspection_endpoint: str = _setting("", "Where tokens that are no JWTs are asked about (RFC 7662).")
    client_id: str = _setting("", "What this server is called there.")
    client_secret_file: str = _setting("", "The file (mode 0600) with its secret there.")


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
    token_issuers: dict[str, TokenIssuer] = _setting({}, "Other servers whose access tokens register here, by a name.")
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


class Format(enum.StrEnum):
    """What an access token is."""

    OPAQUE = "opaque"
    """A random value that means something to this server alone; APIs introspect it (RFC 7662)."""
    JWT = "jwt"
    """A signed statement that APIs can read themselves (RFC 9068); introspection and revocation know it all the same."""


class Clients(enum.StrEnum):
    """Which clients something is for."""

    ALL = "all"
    PUBLIC = "public"
    CONFIDENTIAL = "confidential"


@dataclass(frozen=True, slots=True)
class Resource:
    """`[issuer.NAME.authorization.resources.API]`: an API that access tokens are for (RFC 8707)."""

    uri: str = _setting("", "The resource indicator: an absolute URI without a fragment, the audience of its tokens.")
    scopes: tuple[str, ...] = _setting((), "The scopes that mean something there; empty means every scope.")
    clients: tuple[str, ...] = _setting(
        (), "The client identifiers of the resource servers behind it, which may introspect its tokens."
    )


@dataclass(frozen=True, slots=True)
class Authorization:
    """`[issuer.NAME.authorization]`: what registered clients can get, and for how long."""

    access_token_format: Format = _setting(Format.OPAQUE, "`opaque`, or `jwt` (RFC 9068).")
    access_token_lifetime: int = _setting(3_600, "Seconds that an access token lives.")
    refresh_tokens: Clients = _setting(
        Clients.ALL, "Which clients get refresh tokens, where they registered the grant: `all` or `confidential`."
    )
    refresh_token_lifetime: int = _setting(
        2_592_000, "Seconds that a person's permission lasts where refresh tokens are issued under it."
    )
    refresh_token_rotation: Clients = _setting(
        Clients.PUBLIC, "Whose refresh tokens are replaced at each use: `public`, or `all`."
    )
    refresh_token_grace: int = _setting(
        0,
        "Seconds for which a replaced refresh token still works, for clients that lose answers; after it, its use revokes the grant.",
    )
    code_lifetime: int = _setting(60, "Seconds that an authorization code lives.")
    pushed_request_lifetime: int = _setting(90, "Seconds that a pushed authorization request can be used (RFC 9126).")
    device_code_lifetime: int = _setting(600, "Seconds that a person has to enter a user code (RFC 8628).")
    device_code_interval: int = _setting(5, "Seconds that a device waits between two polls at least.")
    pkce: Clients = _setting(
        Clients.ALL, "Which clients need PKCE: `all`, or `public`; a challenge that is sent counts in any case."
    )
    assertion_for_token_endpoint: bool = _setting(
        False,
        "Whether a client assertion may also name the token endpoint as its audience, or a list; strictly it names the issuer alone.",
    )
    dpop_nonce: bool = _setting(False, "Whether DPoP proofs need a nonce of this server (RFC 9449 §8).")
    resources: dict[str, Resource] = _setting({}, "The APIs that access tokens may be for, by a name.")
    default_resource: str = _setting(
        "", "The audience of tokens that were asked for without a resource; empty means the issuer itself."
    )
    any_resource: bool = _setting(
        False, "Whether a client may ask for any resource, also one that is not configured. For development."
    )
    authorization_details_types: tuple[str, ...] = _setting(
        (), "The types of authorization details that clients may register and ask for (RFC 9396)."
    )


@dataclass(frozen=True, slots=True)
class OpenID:
    """`[issuer.NAME.openid]`: what is signed about people, and about the issuer."""

    id_token_lifetime: int = _setting(
        3_600, "Seconds that an ID token is valid. A signing key that was replaced is published for as long after it."
    )
    signed_metadata: bool = _setting(
        False, "Whether discovery carries `signed_metadata` too, the same document as a JWS (RFC 8414 §2.1)."
    )
    logout_seconds: float = _setting(5.0, "Seconds that a client may take to hear of a sign-out, in each attempt.")
    logout_attempts: int = _setting(
        5,
        "How often a client is told of a sign-out before it is given up: at once, after 5 seconds, 5 minutes, half an hour, and so on as messages to webhooks are.",
    )


@dataclass(frozen=True, slots=True)
class People:
    """`[issuer.NAME.people]`: who signs in, and for how long."""

    local: bool = _setting(True, "Whether accounts that are kept here sign in with their password.")
    sign_up: bool = _setting(False, "Whether anybody may make an account while signing in.")
    password_characters: int = _setting(12, "Characters that a new password has at the least.")
    session_lifetime: int = _setting(43_200, "Seconds after which a person signs in again, however busy.")
    session_idle: int = _setting(7_200, "Seconds without a visit after which a person signs in again.")


@dataclass(frozen=True, slots=True)
class Upstream:
    """`[issuer.NAME.upstream]`: another OpenID provider, which signs people in for this issuer."""

    issuer: str = _setting("", "Its issuer identifier: https, or http on loopback. Empty: there is none.")
    client_id: str = _setting("", "What this issuer is called there.")
    client_secret_file: str = _setting("", "The file (mode 0600) with its secret there; empty where it has none.")
    name: str = _setting("", "What people call it; its host by default.")
    scopes: tuple[str, ...] = _setting(("openid", "profile", "email"), "The scopes that it is asked for.")


@dataclass(frozen=True, slots=True)
class Labels:
    """`[issuer.NAME.labels]`: what clients are labelled with, by their tokens and by operators."""

    names: tuple[str, ...] = _setting(("tenant", "package", "connector", "workflow"), "The labels that there are.")
    most: dict[str, int] = _setting(
        {},
        "Label -> how many living clients there are for each of its values at the most; those not named have no limit.",
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """`[issuer.NAME.audit]`: what is recorded, and whom it names for how long."""

    refusals_per_minute: int = _setting(600, "Refusals that are recorded one by one in a minute; more are counted.")
    personal_days: int = _setting(
        0, "Days after which whom events name, accounts and addresses, is erased; the events stay. 0 keeps it."
    )


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """`[issuer.NAME.limits.clients]`: how many clients may live at once. 0 is any number."""

    owner: int = _setting(0, "Clients of one owner.")
    token: int = _setting(0, "Clients that one initial access token registered.")
    software: int = _setting(0, "Clients of one `software_id`; of one that nobody attested, those from one address.")
    address: int = _setting(
        0, "Clients from one address. Where this is set, a keyed digest of the address stays with each client."
    )
    total: int = _setting(
        0,
        "Clients of the issuer in all. Where they are all in use, only who registers with nothing to show is refused.",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """`[issuer.NAME.limits]`: how fast clients may be registered. A rate is `60/minute`, several are `60/minute;1000/day`, and an empty one is none."""

    address: str = _setting(
        "120/minute;10000/day",
        "The rate of one address that registers without a token. Loopback has none; bad tokens are held to it too.",
    )
    ipv6_prefix: int = _setting(64, "Bits of an IPv6 address that count: a subscriber has all the addresses below.")
    shared_addresses: tuple[str, ...] = _setting(
        (),
        "Networks behind which many callers stand, such as `160.79.104.0/21`; each has the rate `shared` as a whole.",
    )
    shared: str = _setting("3000/minute", "The rate of each of these networks.")
    initial_token: str = _setting("", "The rate of one initial access token, or of one that was earned.")
    software_id: str = _setting(
        "", "The rate of one `software_id`; of one that nobody attested, together with the address that claims it."
    )
    redirect_host: str = _setting(
        "", "The rate of one redirect host, told apart as `software_id` is. Loopback has none, which everybody shares."
    )
    total: str = _setting("", "The rate of all registrations.")
    requests: str = _setting(
        "600/minute",
        "The rate of one address for pushed authorization requests and device authorizations, which are stored before anybody has signed in.",
    )
    near: int = _setting(
        80, "Per cent of a limit from which on an event `limit.near` warns, once in a window; 0: never."
    )
    clients: ClientLimits = _setting(ClientLimits(), "How many clients may live at once.")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """`[server.audit]`: how the audit of all issuers is sealed, and how long it is kept."""

    checkpoint_seconds: int = _setting(
        60, "Seconds between two signed checkpoints of the audit, where something was written; 0: by command alone."
    )
    retention_days: int = _setting(
        0, "Days after which events are taken away, whole batches of them; their links stay. 0 keeps them."
    )


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
    policy_page: str = _setting(
        "", "How what clients tell may be used: published as `op_policy_uri`, and linked from every page."
    )
    terms_page: str = _setting("", "The terms of the service: published as `op_tos_uri`, and linked from every page.")
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
    openid: OpenID = _setting(OpenID(), "What is signed about people.")
    people: People = _setting(People(), "Who signs in.")
    upstream: Upstream = _setting(Upstream(), "Who signs people in for this issuer.")
    authorization: Authorization = _setting(Authorization(), "What registered clients can get.")
    labels: Labels = _setting(Labels(), "What clients are labelled with.")
    audit: Audit = _setting(Audit(), "What is recorded.")
    limits: Limits = _setting(Limits(), "How fast clients may be registered, and how many.")
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


class LogFormat(enum.StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(enum.StrEnum):
    """From where on a record of the log is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Log:
    """`[server.log]`: what is written to standard error. Never a token, a secret, a code, or anybody's address."""

    format: LogFormat = _setting(LogFormat.TEXT, "`text`, or `json`: one object a line.")
    level: LogLevel = _setting(LogLevel.INFO, "`debug`, `info`, `warning` or `error`: what is graver is written too.")
    request_ids: bool = _setting(
        False,
        "Whether each request has a name, in every line that the log has of it and in `X-Request-Id` of its answer. One that a trusted proxy gave it is kept.",
    )
    requests: float = _setting(
        0.0,
        "The share of requests that have a line in the log: 0 for none, 0.01 for every hundredth, 1 for all. Above 0, those answered with 5xx always have one.",
    )


@dataclass(frozen=True, slots=True)
class Metrics:
    """`[server.metrics]`: where Prometheus asks, on a port of its own."""

    port: int = _setting(
        0,
        "The port to answer `/metrics` on, over http; 0 for none, and then nothing is counted. With `--workers`, each worker has its own: this one, the next one, and so on.",
    )
    host: str = _setting(
        "127.0.0.1",
        "The address to listen on for it. What is told there is no secret, but nobody's business: another address than loopback is for a network of your own.",
    )


@dataclass(frozen=True, slots=True)
class Tracing:
    """`[server.tracing]`: where OpenTelemetry's traces go. It needs the extra `traces`."""

    endpoint: str = _setting(
        "",
        "Where traces are sent, by OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`. Empty: there are none. What proves who sends them stands in `OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    share: float = _setting(1.0, "The share of requests that are traced, where a trusted proxy has not decided it.")
    seconds: float = _setting(5.0, "Seconds that sending may take, when the server stops too.")


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """`[server.postgresql]`: the sessions of a process, where the database is PostgreSQL."""

    connections: int = _setting(10, "Sessions for reading at the most; one more writes.")
    connect_seconds: float = _setting(
        5.0,
        "Seconds that connecting may take, which several hosts share, and that a read may wait for a session to become free.",
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
    audit: Checkpoints = _setting(Checkpoints(), "How the audit is sealed, and how long it is kept.")
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
    drain_seconds: int = _setting(
        0,
        "Seconds for which a server that was told to stop (SIGTERM) goes on serving, while `/readyz` answers 503: until whoever spreads requests sends no more. Then it finishes what is under way. 0: it stops at once.",
    )
    limits_database: str = dataclasses.field(
        default="",
        repr=False,  # it may hold a password
        metadata={
            "meaning": "A Redis or Valkey database in which processes count rates and failed attempts to authenticate together: `redis://host:6379/0`, `rediss://…` or `valkey://…`. It needs the extra `redis`. Empty: each process counts by itself."
        },
    )
    clock_rest: int = _setting(
        86_400,
        "Seconds for which nothing that time ends is taken away after the clock went ahead by more than an hour, or after all servers were down for so long; `registrar sweep` ends that. 0: none.",
    )
    queue: int = _setting(4_096, "Writes that may wait for the store; beyond that the answer is 503 with Retry-After.")
    log: Log = _setting(Log(), "What is written to the log.")
    metrics: Metrics = _setting(Metrics(), "Where Prometheus asks.")
    tracing: Tracing = _setting(Tracing(), "Where traces go.")
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
class Webhook:
    """`[webhook.NAME]`: an endpoint that is told of events, signed as Standard Webhooks has it."""

    name: str
    url: str = _setting("", "Where the messages are posted: https, unless `server.fetch.allow` names its origin.")
    secret_file: str = _setting(
        "",
        "The file (mode 0600) with the keys that sign them, one to a line: `whsec_` and base64, or `whsk_` and an Ed25519 private key. All of them sign; it is read anew for every round, so that keys are changed without a restart.",
    )
    events: tuple[str, ...] = _setting(
        ("client.*", "template.*"), "The kinds of events that it is told of, or patterns such as `client.*`."
    )
    issuers: tuple[str, ...] = _setting((), "The issuers whose events it is told of; empty means all.")
    disabled: bool = _setting(False, "Whether it is told nothing, and nothing is kept for it.")
    seconds: float = _setting(15.0, "Seconds that it may take to answer.")
    at_once: int = _setting(8, "Messages under way to it at once.")
    keep_given_up: int = _setting(
        2_592_000, "Seconds for which messages that were given up are kept, to be sent again by hand."
    )
    kinds: frozenset[str] = frozenset()
    """What `events` names."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Policies are parsed where they belong, in `policy`."""

    server: Server = _setting(Server(), "The process.")
    issuer: dict[str, Issuer] = _setting({}, "The issuers by name.")
    statement_issuer: dict[str, StatementIssuer] = _setting({}, "The issuers of software statements by name.")
    webhook: dict[str, Webhook] = _setting({}, "The endpoints that are told of events, by name.")
