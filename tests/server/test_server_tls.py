"""`nxtrack serve` over TLS: the SDK's own command line, nxtrack and curl against it, with nothing in between."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import trustme
from support.users import user_at

from nxtrack.errors import ServerError
from nxtrack.server.options import Limits, ServeOptions, Tls
from nxtrack.server.serve import running

NEXTMV = ("-c", "from nextmv.cli.main import main; main()", "cloud")
SOLVE = """
from nxtrack import track
@track(app_id="by-tls")
def solve(n):
    print("solving")
    return {"solution": n + 1}
solve(1)
"""


@dataclass
class Served:
    """A platform in a process of its own: its address, and its second line."""

    process: subprocess.Popen[str]
    url: str
    said: str

    @property
    def bare(self):
        return self.url.partition("://")[2]


@contextlib.contextmanager
def served(folder, *options):
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "nxtrack", "serve", "--port", "0", "--data", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    ) as process:
        try:
            line = process.stdout.readline()
            found = re.match(r"Local platform on (https://127\.0\.0\.1:\d+) ", line)
            assert found, line + process.stderr.read()
            # Only its own certificate has a second line.
            yield Served(process, found[1], process.stdout.readline() if "--tls" in options else "")
        finally:
            process.terminate()
            rest = process.communicate(timeout=20)
    assert (process.returncode, *rest) == (0, "", "")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A folder with a certificate of somebody's own, its key, and the authority that signed it."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(folder / "certificate.pem"), append=True)
    return folder


def given(certificate):
    return "--certificate", str(certificate / "certificate.pem"), "--certificate-key", str(certificate / "key.pem")


def user_of(platform, folder, **variables):
    """Somebody who uses the SDK with the cloud, and now points it here: without a scheme, or it breaks off."""
    (folder / ".nextmv").mkdir()
    (folder / ".nextmv" / "config.yaml").write_text("apikey: theirs\nendpoint: api.cloud.nextmv.io\n")
    return user_at(platform.bare, folder, **variables)


def nextmv(user, *words, stdin=""):
    return user.run(sys.executable, *NEXTMV, *words, stdin=stdin)


def test_the_sdks_command_line_works_here(tmp_path, certificate):
    """`nextmv cloud app create`, and `run track`, `get`, `list` and `logs`."""
    with served(tmp_path / "data", *given(certificate)) as platform:
        user = user_of(platform, tmp_path, REQUESTS_CA_BUNDLE=str(certificate / "authority.pem"))
        mine = ("--app-id", "by-hand")
        nextmv(user, "app", "create", *mine)
        (tmp_path / "out.json").write_text('{"solution": 2}')
        (tmp_path / "logs.txt").write_text("line one\nline two\n")
        said = nextmv(
            user,
            *("run", "track", *mine, "--output", "out.json", "--logs", "logs.txt"),
            *("--status", "succeeded", "--duration", "5000", "--name", "typed"),
            stdin='{"n": 1}',
        )
        run_id = json.loads(said.stdout)["run_id"]
        commands = (
            ("run", "get", *mine, "--run-id", run_id),
            ("run", "list", *mine),
            ("run", "logs", *mine, "--run-id", run_id),
            ("run", "logs", *mine, "--run-id", run_id, "--tail", "--output", "followed.txt"),
        )
        with ThreadPoolExecutor(2) as pool:
            got, listed, logs, _ = pool.map(lambda words: nextmv(user, *words), commands)
        (tmp_path / "tables").mkdir()
        (tmp_path / "tables" / "a.csv").write_text("a\n1\n")
        said = nextmv(
            user,
            *("run", "track", *mine, "--input", "tables", "--output", "tables", "--content-format", "multi-file"),
            *("--status", "succeeded"),
            stdin=None,
        )
        nextmv(user, "run", "get", *mine, "--run-id", json.loads(said.stdout)["run_id"], "--output", "back")
    assert (tmp_path / "back" / "a.csv").read_text() == "a\n1\n"
    result = json.loads(got.stdout)
    assert result["output"] == {"solution": 2}
    assert (result["name"], result["metadata"]["execution_duration"]) == ("typed", 5000)
    assert [item["id"] for item in json.loads(listed.stdout)] == [run_id]
    assert "line one\nline two\n" in logs.stderr
    assert (tmp_path / "followed.txt").read_text() == "line one\nline two\n"


def test_a_newcomer_needs_no_certificate(tmp_path):
    """What the second line says is enough for nxtrack, curl and the SDK's command line."""
    with served(tmp_path / "data", "--tls") as platform:
        found = re.search(r"REQUESTS_CA_BUNDLE=(\S+) \(curl: CURL_CA_BUNDLE\); .*NEXTMV_ENDPOINT=(\S+),", platform.said)
        assert found, platform.said
        assert found[2] == platform.bare
        user = user_of(platform, tmp_path, REQUESTS_CA_BUNDLE=found[1], CURL_CA_BUNDLE=found[1])
        user.run(sys.executable, "-c", SOLVE)
        user.run(sys.executable, "-m", "nxtrack", "flush")
        (listed,) = json.loads(nextmv(user, "run", "list", "--app-id", "by-tls").stdout)
        got = json.loads(nextmv(user, "run", "get", "--app-id", "by-tls", "--run-id", listed["id"]).stdout)
        assert got["output"] == {"solution": 2}
        if shutil.which("curl"):
            assert user.run("curl", "-sS", f"{platform.url}/healthz").stdout == "ok\n"
        # Without being told, nobody trusts it.
        with pytest.raises(requests.exceptions.SSLError), requests.Session() as session:
            session.get(f"{platform.url}/healthz", timeout=10)
    # The key is its owner's; the authority's is gone.
    kept = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data" / "tls").rglob("*.pem")}
    assert kept.keys() == {"certificate.pem", "authority.pem"}
    assert kept["certificate.pem"] == 0o600
    assert b"PRIVATE KEY" not in Path(found[1]).read_bytes()


def test_its_own_certificate_stays_until_it_is_old(tmp_path):
    def authority(host="127.0.0.1"):
        with running(ServeOptions(host=host, port=0, data=tmp_path, tls=Tls())) as platform:
            for name in ("localhost", "127.0.0.1"):
                url = f"https://{name}:{platform.url.rpartition(':')[2]}/healthz"
                with requests.Session() as session:
                    session.trust_env = False
                    assert session.get(url, timeout=10, verify=str(platform.authority)).text == "ok\n"
            return platform.authority, platform.authority.read_bytes()

    path, first = authority()
    assert authority() == (path, first)
    assert authority("localhost")[0] != path
    long_ago = time.time() - 301 * 24 * 3600
    os.utime(path, (long_ago, long_ago))
    renewed = authority()
    assert renewed[0] == path
    assert renewed[1] != first
    assert authority() == renewed


def test_a_certificate_may_hold_its_key(tmp_path, certificate):
    tls = Tls(certificate=certificate / "both.pem")
    with running(ServeOptions(port=0, data=tmp_path, tls=tls)) as platform, requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificate / "authority.pem")
        headers = {"Authorization": "Bearer any"}
        made = session.post(f"{platform.url}/v1/applications/a/runs/uploadurl", headers=headers, timeout=10).json()
        assert made["upload_url"].startswith(f"{platform.url}/uploads/")
        assert session.put(made["upload_url"], data=b"{}", timeout=10).status_code == 200
        assert platform.authority is None
    assert not (tmp_path / "tls").exists()


def encrypted(folder, certificate):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((certificate / "key.pem").read_bytes(), None)
    made = folder / "encrypted.pem"
    locked = serialization.BestAvailableEncryption(b"secret")
    made.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    return made


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("absent.pem", None), "absent.pem: No such file"),
        (("certificate.pem", "absent.pem"), "absent.pem: No such file"),
        (("certificate.pem", None), "cannot be used"),
        (("authority.pem", "key.pem"), "key values mismatch"),
        (("key.pem", None), "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_before_anything_else(tmp_path, certificate, names, said):
    file, key = (None if name is None else certificate / name for name in names)
    with (
        pytest.raises(ServerError, match=said),
        running(ServeOptions(port=0, data=tmp_path / "d", tls=Tls(certificate=file, key=key))),
    ):
        pass
    assert not (tmp_path / "d").exists()


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path, certificate):
    tls = Tls(certificate=certificate / "certificate.pem", key=encrypted(tmp_path, certificate))
    with pytest.raises(ServerError, match="is encrypted"), running(ServeOptions(port=0, data=tmp_path / "d", tls=tls)):
        pass


def test_a_folder_that_cannot_hold_a_certificate_is_told(tmp_path):
    (tmp_path / "tls").write_text("")
    with pytest.raises(ServerError, match="certificate"), running(ServeOptions(port=0, data=tmp_path, tls=Tls())):
        pass


def test_a_key_alone_is_a_usage_error(tmp_path, certificate):
    command = [
        sys.executable,
        "-m",
        "nxtrack",
        "serve",
        "--port",
        "0",
        "--certificate-key",
        str(certificate / "key.pem"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--certificate" in done.stderr


@pytest.mark.parametrize("busy", [False, True])
def test_clients_that_keep_their_connection_do_not_hold_up_the_stop(tmp_path, certificate, busy):
    with served(tmp_path / "data", *given(certificate)) as platform, requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificate / "authority.pem")
        assert session.get(f"{platform.url}/healthz", timeout=10).text == "ok\n"
        context = ssl.create_default_context(cafile=str(certificate / "authority.pem"))
        host, port = platform.bare.split(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host) as safe,
        ):
            head = b"POST /v1/applications/a/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n"
            if busy:
                safe.sendall(head + b"Content-Length: 2\r\n\r\n{")
                time.sleep(0.2)
            begun = time.monotonic()
            platform.process.terminate()
            if busy:
                time.sleep(0.3)
                safe.sendall(b"}")
                assert safe.recv(12) == b"HTTP/1.1 400"
            platform.process.wait(20)
    assert time.monotonic() - begun < 1.8  # uvicorn waits 2 s for what does not end


def test_who_speaks_no_tls_is_hung_up_on_and_nothing_is_logged(tmp_path, certificate):
    with served(tmp_path / "data", *given(certificate)) as platform:
        host, port = platform.bare.split(":")
        for opening in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b""):
            with socket.create_connection((host, int(port)), timeout=10) as plain:
                plain.sendall(opening)
                plain.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    assert b"HTTP" not in plain.recv(100)
        context = ssl.create_default_context(cafile=str(certificate / "authority.pem"))
        with (
            socket.create_connection((host, int(port)), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host) as safe,
        ):
            # Cut off in the middle of a request, without a word of TLS.
            safe.sendall(b"GET /healthz HTTP/1.1\r\n")
    # `served` has seen that stderr is empty.


@pytest.mark.parametrize("opening", [b"", b"GET /healthz HTTP/1.1\r\nHost: "])
@pytest.mark.parametrize("secured", [False, True])
def test_a_head_that_does_not_end_is_given_up(tmp_path, certificate, opening, secured):
    tls = Tls(certificate=certificate / "both.pem") if secured else None
    limits = Limits(head_seconds=0.3)
    with running(ServeOptions(port=0, data=tmp_path, tls=tls, limits=limits)) as platform:
        host, port = platform.url.partition("://")[2].split(":")
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            if secured:
                context = ssl.create_default_context(cafile=str(certificate / "authority.pem"))
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
            # A request that came whole is answered, and the time after it does not count.
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += connection.recv(1000)
            time.sleep(0.6)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + opening)
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += connection.recv(1000)
            if not opening:
                return
            # Byte by byte it never ends, and every byte is one more.
            with contextlib.suppress(OSError):
                for _ in range(200):
                    connection.sendall(b"x")
                    connection.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1):
                            return
                pytest.fail("a head was waited for without end")
