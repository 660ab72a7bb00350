"""The wire: an ASGI application over the use cases, and the server that runs it.

- `wire`: strict JSON in, no-store JSON out, bearer tokens, errors to answers.
- `endpoints`: what each endpoint does, as a list of named steps.
- `application`: one table of routes; `create_app`.
- `proxies`: what trusted proxies say of a request.
- `certificates`: the certificate that a client presents.
- `connection`: uvicorn's connection, bounded where uvicorn waits for ever, and writing our answers whole.
- `server`: uvicorn, its limits, starting and stopping.
"""

from registrar.http.application import create_app

__all__ = ["create_app"]
