"""The authorization server around the registry: what a registered client does with its registration.

An endpoint is a short list of named steps in the order of its specification. Nothing of this room reaches into
registration: it reads clients through one door (`clients.find`) and remembers what it issues as items of the store.

- `clients`: finding a client by the identifier of a request.
- `client_authentication`: RFC 6749 §2.3, OpenID Connect Core §9, RFC 8705 §2.
- `request`: an authorization request, read and checked (RFC 6749 §4.1.1, RFC 9101, RFC 9126).
- `grant`: what a person allowed a client, and what was issued under it.
- `tokens`: access and refresh tokens, by their digests; `sender` binds them (RFC 9449, RFC 8705 §3).
- `token_endpoint`, `introspection`, `revocation`, `pushed_requests`, `device`: one module an endpoint.
- `signing`, `id_token`, `userinfo`, `subject`, `logout`: OpenID Connect.
- `people`, `sessions`, `upstream`, `consent`: who signs in, and what they agreed to.
"""
