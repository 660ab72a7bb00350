"""What TLS at the listener costs a registration: `bench/tls.py [--runs 5] [--seconds 4]`, plain and TLS in turns.

The certificate is made here (P-256) and holds for 127.0.0.1; connections are kept, so what is measured is the encryption of
requests and answers; the handshakes fall into the second that is not counted. Writes bench/results/tls.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import ssl
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from load import CONNECTIONS, LOAD_CORE, SCRIPT, SERVER_CORE, LoadError, cpu_seconds, install_wrk
from ours import REGISTRAR, configure
from replicas import request
from report import number, table
from results import keep, scratch
from servers import START_SECONDS, STOP_SECONDS, Site, free_port

from tied import tied


def certificate(folder: Path) -> None:
    """A certificate of our own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*pem))


@contextlib.contextmanager
def serving(folder: Path, *, tls: bool, more: str = "") -> Iterator[tuple[int, Site]]:
    """A server, with more in its configuration; gives its process and its port."""
    folder.mkdir()
    site = Site(folder, free_port())
    configure(site, "open", f"sqlite:///{site.database}")
    text = site.config.read_text()
    if tls:
        certificate(folder)
        files = f'tls_certificate = "{folder}/certificate.pem"\ntls_key = "{folder}/key.pem"\n'
        text = text.replace("[server]\n", f"[server]\n{files}").replace("http://", "https://")
    site.config.write_text(text + more)
    site.requests.write_bytes(request(site.port))
    with (folder / "log").open("wb") as log:
        command = ["taskset", "-c", str(SERVER_CORE), *REGISTRAR, "serve", "--config", str(site.config)]
        process = subprocess.Popen(tied(*command, "--port", str(site.port)), stdout=log, stderr=log)
    try:
        began = time.perf_counter()
        while not healthy(site.port, tls=tls):
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise LoadError(f"it did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.02)
        yield process.pid, site
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def healthy(port: int, *, tls: bool) -> bool:
    """Whether it answers."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=unchecked)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    )
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def run(pid: int, site: Site, scheme: str, seconds: int) -> tuple[float, float, float]:
    """Registrations a second, by the second of processor time, and p99 in milliseconds."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(SCRIPT), f"{scheme}://127.0.0.1:{site.port}/", "--", "201", str(site.requests), "0"]
    before = cpu_seconds(pid)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["unexpected"] or seen["socket_errors"]:
        raise LoadError(f"not every answer was 201: {seen}")
    return seen["expected"] / seen["seconds"], seen["expected"] / (cpu_seconds(pid) - before), seen["p99_ms"]


def main() -> None:
    """Both in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    install_wrk()
    runs: dict[str, list[tuple[float, float, float]]] = {"http": [], "https": []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        servers = {one: stack.enter_context(serving(folder / one, tls=one == "https")) for one in runs}
        for turn in range(options.runs + 1):
            for scheme, (pid, site) in servers.items():
                seen = run(pid, site, scheme, options.seconds)
                if turn:
                    runs[scheme].append(seen)
    medians = {one: [statistics.median(column) for column in zip(*seen, strict=True)] for one, seen in runs.items()}
    less = 1 - statistics.median(tls[1] / plain[1] for plain, tls in zip(runs["http"], runs["https"], strict=True))
    keep(
        "tls",
        "TLS at the listener",
        [
            table(
                ["listener", "registrations/s", "a CPU second", "p99 ms"],
                [[one, *map(number, cells)] for one, cells in medians.items()],
            ),
            (
                f"By the CPU second, TLS costs {less:.0%} of the registrations (median of the ratios, turn by turn). SQLite, "
                f"{CONNECTIONS} connections that are kept, server and load on a core each."
            ),
        ],
    )


if __name__ == "__main__":
    main()
