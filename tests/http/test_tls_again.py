"""Certificates that are replaced while the server runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Final

import pytest
from real_server import Program, Start, configuration, reply, request

from registrar.testing.authority import Authority

LAST: Final = request("GET", "/healthz", None, "Connection: close")


def put(authority: Authority, folder: Path) -> bytes:
    """Write a new certificate for this machine where the server reads one; in DER."""
    issued = authority.issue("CN=localhost", dns=["localhost"])
    certificate, key = issued.write(folder, "new")
    certificate.replace(folder / "chain.pem")
    key.replace(folder / "private.pem")
    return issued.der


def shown(port: int) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw) as connection:
        return connection.getpeercert(binary_form=True) or b""


def heard(program: Program, words: str, times: int = 1) -> None:
    """Return once the log says something."""
    until = time.monotonic() + 20
    while len(re.findall(words, program.output)) < times:
        assert time.monotonic() < until, program.output
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_certificate_is_served_without_a_stop(start: Start, tmp_path: Path, workers: int) -> None:
    """SIGHUP reads the files again; a connection that is open goes on, and files that do not fit change nothing."""
    authority = Authority()
    before = put(authority, tmp_path)
    text = configuration('tls_certificate = "chain.pem"\ntls_key = "private.pem"')
    program = start(text, "--workers", str(workers)).listening()
    heard(program, "Application startup complete", workers)
    assert shown(program.port) == before

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", program.port), 10) as raw, context.wrap_socket(raw) as open_since:
        after = put(authority, tmp_path)
        os.kill(program.process.pid, signal.SIGHUP)
        heard(program, "the certificates were read again", workers)
        assert {shown(program.port) for _ in range(8)} == {after}

        (tmp_path / "private.pem").write_bytes(authority.issue("CN=other").key_pem)
        os.kill(program.process.pid, signal.SIGHUP)
        heard(program, "the certificates are served as they were", workers)
        (tmp_path / "chain.pem").write_text("nothing")
        os.kill(program.process.pid, signal.SIGHUP)
        heard(program, "the certificates are served as they were", 2 * workers)
        assert {shown(program.port) for _ in range(8)} == {after}

        open_since.sendall(LAST)
        assert reply(open_since).status == 200
    assert program.stop() == 0


def test_without_a_certificate_a_hang_up_ends_the_server(start: Start) -> None:
    """As a program does whose terminal was closed."""
    program = start(configuration()).listening()
    os.kill(program.process.pid, signal.SIGHUP)
    assert program.wait() == -signal.SIGHUP
