"""The pages in a real browser, without JavaScript: on a desk in the light and on a phone in the dark."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from registrar.cli.demonstration import free_port
from tied import tied

PASSWORD = "correct horse battery staple"
CONFIGURATION = """
[server]
port = {port}
database = "sqlite:///registrar.db"
[issuer.main]
url = "http://127.0.0.1:{port}"
[issuer.main.registration]
mode = "open"
"""
SECONDS = 120


class _Callback(BaseHTTPRequestHandler):
    """The application's end: a page that says thank you."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Thank you</title><p>You can close this page.</p>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def callback() -> Iterator[str]:
    """An application that listens on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Callback)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/callback"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[str]:
    """A server in a process of its own, with an account."""
    port = free_port()
    (tmp_path / "registrar.toml").write_text(CONFIGURATION.format(port=port))
    registrar = [sys.executable, "-m", "registrar"]
    add = [*registrar, "user", "add", "alice", "--name", "Alice Liddell", "--password-file", "-"]
    subprocess.run(add, cwd=tmp_path, input=PASSWORD, text=True, check=True, capture_output=True)
    with (tmp_path / "server.log").open("wb") as output:
        process = subprocess.Popen(tied(*registrar, "serve"), cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while not _listens(url):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            threading.Event().wait(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _listens(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.requirement("BASE-28")
def test_a_person_walks_over_the_pages(issuer: str, callback: str, chromium: str, node: str, tmp_path: Path) -> None:
    """Sign-in, consent, back to the application, account, error: nothing is blocked, fetched elsewhere, or too wide."""
    members = {"client_name": "Reader", "redirect_uris": [callback], "token_endpoint_auth_method": "none"}
    registered = httpx2.post(f"{issuer}/register", json=members, trust_env=False).json()
    parameters = {
        "client_id": registered["client_id"],
        "response_type": "code",
        "redirect_uri": callback,
        "scope": "openid",
        "state": "xyz",
        "code_challenge": "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM",
        "code_challenge_method": "S256",
    }
    request = f"{issuer}/authorize?{urlencode(parameters)}"
    script = Path(__file__).parent / "node" / "pages.mjs"
    command = [node, str(script), chromium, issuer, request, "alice", PASSWORD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert [step for _, step, _ in seen["steps"]] == ["sign-in", "consent", "account", "error"] * 2
    assert {name for name, _, _ in seen["steps"]} == {"desktop", "phone"}
    assert seen["elsewhere"] == []
    assert seen["wide"] == []
    # A page of status 4xx is told on the console as well; everything else there would be a policy that blocks a page.
    assert [one for one in seen["complaints"] if "the server responded with a status of 4" not in one] == []
    answer = parse_qs(urlsplit(seen["answer"]).query)
    assert answer["state"] == ["xyz"]
    assert answer["code"]
