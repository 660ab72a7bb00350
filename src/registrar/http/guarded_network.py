"""The network as the fetcher sees it: only checked addresses can be connected to, and only so many bytes come in."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import httpcore2

from registrar.domain.public_address import is_public
from registrar.service.ports import FetchError

_TRIED: Final = 4
"""Addresses of one host that are tried, one after the other."""
_CONNECT_SECONDS: Final = 2.0
"""For each of them; the fetch as a whole has its own end."""
_NO_ADDRESS: Final = "its host has no public address"


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to hosts by addresses that were checked.

    A name is resolved once and what is connected to is the address, so a name that changes between the check and the
    connection changes nothing. The socket is asked again whom it is connected to, in case something on the way
    translated the address.

    Args:
        resolve: the addresses of a host.
        connect: what connects to an address; sockets where there is none.
        budget: bytes that may be read from a connection.
        exempt: whether any address will do, because the operator named the origin.
    """

    def __init__(
        self,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]],
        connect: httpcore2.AsyncNetworkBackend | None,
        *,
        budget: int,
        exempt: bool,
    ) -> None:
        self._resolve, self._budget, self._exempt = resolve, budget, exempt
        self._plain = connect or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature of the library)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers, if all of them may be connected to.

        Raises:
            FetchError: one of them may not, or there is none. A client is not told which: names of the network that
                the server stands in are none of its business.
        """
        problem: Exception = FetchError(_NO_ADDRESS)
        for address in (await self._addresses(host, port))[:_TRIED]:
            try:
                stream = await self._plain.connect_tcp(
                    address, port, timeout or _CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                problem = failed
                continue
            if not self._exempt and not _is_public_peer(stream):
                await stream.aclose()
                raise FetchError(_NO_ADDRESS)
            return _Bounded(stream, self._budget)
        raise problem

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        if _is_numeric(host):
            addresses: Sequence[str] = [host]
        else:
            try:
                addresses = await self._resolve(host, port)
            except (OSError, UnicodeError):
                addresses = []
        # One address that is not public is enough: a host that has both is either misconfigured or an attack.
        if not addresses or not (self._exempt or all(map(is_public, addresses))):
            raise FetchError(_NO_ADDRESS)
        return addresses


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public_peer(stream: httpcore2.AsyncNetworkStream) -> bool:
    peer = stream.get_extra_info("server_addr")
    return isinstance(peer, tuple) and is_public(str(peer[0]))


class _Bounded(httpcore2.AsyncNetworkStream):
    """A connection that ends when more bytes have come than an answer within the limit can have."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, budget: int) -> None:
        self._stream, self._left = stream, budget

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (as above)
        data = await self._stream.read(min(max_bytes, self._left + 1), timeout)
        self._left -= len(data)
        if self._left < 0:
            raise FetchError("its answer is larger than what is read")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (as above)
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (as above)
    ) -> httpcore2.AsyncNetworkStream:
        secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Bounded(secured, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
