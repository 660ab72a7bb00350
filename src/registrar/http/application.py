"""The ASGI application: one table of routes, made from the settings at start."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from registrar.authorization import backchannel
from registrar.domain.credentials import Unreadable
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.server_metadata import ENDPOINTS, well_known_paths
from registrar.domain.settings import Server
from registrar.http import admin, endpoints, oauth, openid, wire
from registrar.http.endpoints import Endpoint, Exchange
from registrar.http.logs import REQUEST_ID
from registrar.http.observation import Observation, Observer, observer
from registrar.http.proxies import Proxies
from registrar.http.wire import Answer, Receive, Scope, Send
from registrar.service import bulk, caps, checkpoints, delivery, keys, lifecycle, retention, sweep, templates, udap
from registrar.service.operators import Refused
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Issuer, Registry
from registrar.web import pages

log = logging.getLogger("registrar")

_PREFLIGHT_HEADERS: Final = b"authorization, content-type, dpop, mcp-protocol-version"
_METADATA: Final = {"GET": endpoints.metadata, "HEAD": endpoints.metadata}
_OAUTH: Final[Mapping[str, Mapping[str, Endpoint]]] = {
    "token_endpoint": {"POST": oauth.token},
    "userinfo_endpoint": {"GET": openid.userinfo_endpoint, "POST": openid.userinfo_endpoint},
    "introspection_endpoint": {"POST": oauth.introspect},
    "revocation_endpoint": {"POST": oauth.revoke},
    "pushed_authorization_request_endpoint": {"POST": oauth.push},
    "device_authorization_endpoint": {"POST": oauth.authorize_device},
}
"""Endpoint -> its methods: those that clients call, from the pages of other origins too."""
_HEALTH: Final = "health"
_COMMUNITY: Final = {"GET": endpoints.udap, "HEAD": endpoints.udap}
_KEYS: Final = {"GET": endpoints.jwks, "HEAD": endpoints.jwks}
_CONFIGURATION: Final = {"GET": endpoints.read, "PUT": endpoints.update, "DELETE": endpoints.delete}


@dataclass(frozen=True, slots=True)
class Route:
    """A path at an issuer: the endpoint of each method, and whether pages of other origins may call it."""

    issuer: Issuer
    endpoint: str
    """What it is called: a member of the server metadata, or a word of our own."""
    methods: Mapping[str, Endpoint]
    shared: bool = True


def routes(issuer: Issuer) -> dict[str, Route]:
    """Every path of an issuer but those of its clients, which `<registration path>/` begins."""
    base = urlsplit(issuer.url).path
    table = {path: Route(issuer, "metadata", _METADATA) for path in well_known_paths(issuer.url)}
    for member, path in ENDPOINTS.items():
        if (methods := _KEYS if member == "jwks_uri" else _OAUTH.get(member)) is not None:
            table[base + path] = Route(issuer, member, methods)
    for path, methods in pages.ROUTES.items():
        table[base + path] = Route(issuer, path.strip("/"), methods, shared=False)
    if issuer.settings.admin_api:
        table[base + admin.PREFIX] = Route(issuer, "admin", dict.fromkeys(admin.METHODS, admin.serve), shared=False)
    # The statements that the issuer issued: the last segment is the jti.
    table[f"{base}/statements/"] = Route(
        issuer, "statements", {"GET": endpoints.statement, "HEAD": endpoints.statement}
    )
    table[f"{base}/.well-known/registrar-audit"] = Route(
        issuer, "audit", {"GET": endpoints.audit, "HEAD": endpoints.audit}
    )
    if issuer.managed:
        # The receipts of all clients at once: the last segment is the client_id.
        table[f"{base}/receipts/"] = Route(issuer, "receipts", {"GET": endpoints.receipt})
    if udap.serves(issuer):
        table[f"{base}/.well-known/udap"] = Route(issuer, "udap", _COMMUNITY)
    if issuer.enabled:
        table[base + issuer.settings.registration.path] = Route(
            issuer, "registration_endpoint", {"POST": endpoints.register}
        )
    if issuer.managed:
        # The configuration endpoint of all clients at once: the last segment is the client_id.
        table[f"{base}{issuer.settings.registration.path}/"] = Route(issuer, "registration_client_uri", _CONFIGURATION)
    return table


class Application:
    """The ASGI application over a registry.

    Issuers are told apart by the path of their URL, and where they are on several hosts, by its host too. The host of a
    request chooses among configured issuers and is used for nothing else (RFC 7592 App. B).
    """

    def __init__(self, registry: Registry, limits: Server) -> None:
        self._registry, self._limits = registry, limits
        self.draining = False
        """Whether it is going to stop, and everybody who asks for something new had better go elsewhere."""
        self._proxies = Proxies(limits) if limits.trusted_proxies else None
        self._observer = observer(registry, limits.log)
        self._paths: dict[str, list[Route]] = {}
        # With issuers on several hosts, a path that one of them does not serve must not reach its neighbour's.
        self._by_host = len({_host(issuer.url) for issuer in registry.issuers.values()}) > 1
        for issuer in registry.issuers.values():
            for path, route in routes(issuer).items():
                self._paths.setdefault(path, []).append(route)
        # RFC 8414 §3 leaves the root free where a single issuer has a path; older clients look there first.
        only = next(iter(registry.issuers.values())) if len(registry.issuers) == 1 else None
        for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
            if only is not None:
                self._paths.setdefault(path, [Route(only, "metadata", _METADATA)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await wire.send_answer(send, await self.answer(scope, receive), head=scope["method"] == "HEAD")
        else:  # a websocket: there is nothing for it here, and refusing is closing
            await send({"type": "websocket.close", "code": 1000})

    async def answer(self, scope: Scope, receive: Receive, seen: Observation | None = None) -> Answer:
        """The answer to an HTTP request; whatever happens, there is one.

        Args:
            scope: of ASGI.
            receive: of ASGI.
            seen: what is to be known of the request, where it is observed already.
        """
        if seen is None:
            if self._proxies is not None:
                scope = self._proxies.resolved(scope)
            if self._observer is not None:
                return await self._observed(self._observer, scope, receive)
        route, error = None, ""
        try:
            route, client_id = self._route(scope)
            if route is None:
                given = await self._beside(scope)
            else:
                given = await self._answer(route, client_id, scope, receive)
        except ProtocolError as refusal:
            given, error = wire.refusal(refusal), refusal.kind.name
        except StoreUnavailable as problem:
            if not problem.overloaded:
                log.error("the store is unavailable: %s", problem)  # noqa: TRY400 (the reason is known; a traceback a request would flood the log)
            error = "temporarily_unavailable"
            given = wire.refusal(ProtocolError(error))
        except Exception:
            # Whatever it is, it is ours; the client learns an identifier and nothing else.
            incident = REQUEST_ID.get() or secrets.token_hex(8)
            log.exception("incident %s", incident)
            error = "server_error"
            given = wire.refusal(ProtocolError(error, f"Something unexpected happened; the log has it as {incident}."))
        if seen is not None:
            seen.error = error
            seen.endpoint = route.endpoint if route else "" if error else _HEALTH
            seen.issuer = route.issuer.name if route else ""
        if route is not None and route.shared and route.issuer.settings.cors_origins:
            return _shared(route, given, scope)
        return given

    async def _observed(self, observer: Observer, scope: Scope, receive: Receive) -> Answer:
        seen = observer.begin(scope)
        try:
            given = await self.answer(scope, receive, seen)
        except BaseException:
            observer.give_up(scope, seen)
            raise
        return observer.end(scope, seen, given)

    async def _beside(self, scope: Scope) -> Answer:
        """`/healthz` and `/readyz`, about the process and not about any issuer; nothing else lies beside the routes."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in ("/healthz", "/readyz"):
            raise ProtocolError("not_found")
        if scope["method"] not in ("GET", "HEAD"):
            raise ProtocolError("method_not_allowed", headers=[(b"allow", b"GET, HEAD")])
        if path == "/healthz":
            return wire.answer(200, {"status": "alive"})
        if self.draining:
            return wire.answer(503, {"status": "draining"})
        try:
            await self._registry.store.ready()
        except StoreUnavailable:
            return wire.answer(503, {"status": "the store does not answer"})
        waiting, limit, *_ = self._registry.store.load()
        if limit and waiting >= limit:  # the next registration would be answered 503 as well
            return wire.answer(503, {"status": "as many writes wait for the store as may"})
        return wire.answer(200, {"status": "ready"})

    async def _answer(self, route: Route, client_id: str, scope: Scope, receive: Receive) -> Answer:
        method = scope["method"]
        endpoint = route.methods.get(method)
        if endpoint is None:
            allowed = ", ".join([*route.methods, "OPTIONS"]).encode()
            if method == "OPTIONS":
                return Answer(204, [(b"allow", allowed)])
            raise ProtocolError("method_not_allowed", headers=[(b"allow", allowed)])
        if route.issuer.url.startswith("https:") and scope.get("scheme") != "https":
            raise ProtocolError("invalid_request", "This issuer is served over TLS only (RFC 7591 section 5).")
        return await endpoint(Exchange(self._registry, route.issuer, self._limits, scope, receive, client_id))

    def _route(self, scope: Scope) -> tuple[Route | None, str]:
        path: str = scope["path"]
        found, client_id = self._find(path)
        if not found and (mounted := scope.get("root_path")):
            # The path of an ASGI request holds that of the mount. Where a proxy takes the mount away again, the issuer's
            # URL does not have it.
            found, client_id = self._find(path.removeprefix(mounted))
        if self._by_host:
            hosts = [value.decode("ascii", "replace").lower() for name, value in scope["headers"] if name == b"host"]
            if len(hosts) > 1:
                raise ProtocolError("invalid_request", "The header host is repeated.")
            found = [route for route in found if not _hosts(route.issuer).isdisjoint(hosts)]
        return (found[0] if found else None), client_id

    def _find(self, path: str) -> tuple[list[Route], str]:
        if found := self._paths.get(path):
            return found, ""
        above, administers, below = path.partition(admin.PREFIX)
        if administers and (found := self._paths.get(above + administers)):
            return found, below
        folder, _, client_id = path.rpartition("/")
        # A client identifier is one segment, and an empty one names no client.
        return self._paths.get(f"{folder}/", []) if client_id else [], client_id

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    for issuer in self._registry.issuers.values():
                        await keys.ensure(self._registry, issuer)
                        await templates.synchronise(self._registry, issuer)
                        await caps.synchronise(self._registry, issuer)
                except (StoreUnavailable, Refused, RegistrationError) as problem:
                    await send({"type": "lifespan.startup.failed", "message": str(problem)})
                    return
                rest = self._limits.clock_rest
                self._registry.errands.start(lifecycle.keep_clean(self._registry, rest), "the clean-up")
                self._registry.errands.start(sweep.keep_sweeping(self._registry, rest), "the sweep")
                if seconds := self._limits.audit.checkpoint_seconds:
                    self._registry.errands.start(checkpoints.keep(self._registry, seconds), "the checkpoints")
                if retention.needed(self._registry, days := self._limits.audit.retention_days):
                    self._registry.errands.start(
                        retention.keep(self._registry, days, rest), "the retention of the audit"
                    )
                if self._observer is not None and self._observer.log is not None:
                    self._registry.errands.start(self._observer.log.keep_writing(), "the log of requests")
                if self._registry.metrics is not None:
                    self._registry.errands.start(self._registry.metrics.watch_loop(), "the watch over the loop")
                self._registry.errands.start(bulk.keep_working(self._registry), "what goes on with jobs")
                self._registry.errands.start(backchannel.keep_telling(self._registry), "what tells of sign-outs")
                for line in self._registry.webhooks.lines:
                    self._registry.errands.start(
                        delivery.keep_delivering(self._registry, *line), f"what delivers to the webhook {line[1]}"
                    )
                await send({"type": "lifespan.startup.complete"})
            else:
                try:
                    await self._registry.audit.flush()
                except StoreUnavailable as problem:
                    log.warning("refusals that were only counted could not be told: %s", problem)
                await self._registry.errands.close()
                await self._seal()
                await self._registry.fetch.close()
                if (to_documents := self._registry.fetch_documents) is not None:
                    await to_documents.close()
                if (way_out := self._registry.webhooks.fetch) is not None:
                    await way_out.close()
                await self._registry.windows.close()
                await self._registry.store.close()
                if self._registry.tracer is not None:
                    await asyncio.to_thread(self._registry.tracer.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _seal(self) -> None:
        """A last checkpoint, so that what this process wrote cannot be cut off after it has gone."""
        if not self._limits.audit.checkpoint_seconds:
            return
        try:
            await checkpoints.make(self._registry)
        except (StoreUnavailable, Unreadable) as problem:
            log.warning("the end of the audit is not sealed: %s", problem)


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


def _hosts(issuer: Issuer) -> set[str]:
    """Where an issuer is reached, with client certificates and without."""
    return {_host(url) for url in (issuer.url, issuer.settings.mutual_tls_url) if url}


def _shared(route: Route, given: Answer, scope: Scope) -> Answer:
    """CORS (Fetch standard): for the configured origins, without credentials ever."""
    origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
    allowed = route.issuer.settings.cors_origins
    headers = [*given.headers, (b"vary", b"origin")]  # for every answer, or a cache would give one origin another's
    if origin is None or ("*" not in allowed and origin.decode("ascii", "replace") not in allowed):
        return Answer(given.status, headers, given.body)
    headers.append((b"access-control-allow-origin", b"*" if "*" in allowed else origin))
    if scope["method"] == "OPTIONS":
        methods = ", ".join(route.methods).encode()
        headers += [
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", _PREFLIGHT_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
    else:
        headers.append((b"access-control-expose-headers", b"www-authenticate, retry-after, dpop-nonce"))
    return Answer(given.status, headers, given.body)


def create_app(registry: Registry, limits: Server | None = None) -> Application:
    """The application, to be served or mounted in another.

    Args:
        registry: what the use cases are given; the application closes its store and its fetcher at the end of the lifespan.
        limits: the `[server]` settings of which the size and time limits count here.
    """
    return Application(registry, limits or Server())
