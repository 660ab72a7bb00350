"""A person at the live server, for clients in other processes: they send an address and get back where it led.

The pages are driven as a browser without JavaScript would: forms are filled in and buttons pressed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from browser import Form, Page

USERNAME, PASSWORD = "alice", "correct horse battery staple"
_STEPS = 20


def allowed(issuer: str, url: str) -> str:
    """Sign in and allow what an address asks for; where the browser is sent afterwards."""
    with httpx2.Client(trust_env=False) as browser:
        answer = browser.get(url)
        for _ in range(_STEPS):
            if answer.has_redirect_location:
                target = urljoin(str(answer.url), answer.headers["location"])
                if urlsplit(target).netloc != urlsplit(issuer).netloc:
                    return target
                answer = browser.get(target)
                continue
            form, button = _chosen(Page(answer))
            fields = {**form.fields, "username": USERNAME, "password": PASSWORD}
            name, value = form.buttons[button]
            answer = browser.post(form.action, data={**fields, **({name: value} if name else {})})
    raise AssertionError("the pages have no end")


def _chosen(page: Page) -> tuple[Form, str]:
    for form in page.forms:
        for button in ("Sign in", "Allow"):
            if button in form.buttons:
                return form, button
    raise AssertionError(f"{page.status} {page.url}: {' '.join(page.text.split())}")


@contextmanager
def at_hand(issuer: str) -> Iterator[str]:
    """An address of this machine: `?url=` in, the address of the client's callback out.

    Args:
        issuer: the live server.
    """

    class Hand(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                status, said = 200, allowed(issuer, parse_qs(urlsplit(self.path).query)["url"][0])
            except AssertionError as problem:
                status, said = 500, str(problem)
            body = said.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hand)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
