"""What a client, a page in a browser or whoever opens connections cannot do to a server."""

import json
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from secateur.cli import cli
from secateur.errors import ConfigError
from secateur.serving.audit import Audit
from secateur.serving.connections import Room, make_room
from secateur.serving.guard import PROBES, Guard, Guarded
from secateur.serving.hosts import Hosts
from secateur.serving.rates import Rates
from secateur.serving.refusals import without_folders
from secateur.serving.tls import Certificates
from secateur.serving.tokens import Tokens, add_token, new_token, read_tokens
from tests.integration.registry_stand import Stand
from tests.tasks.serving.running import Running, running


@pytest.fixture(scope="module")
def server(stand: Stand) -> Iterator[Running]:
    """Four connections, half a second for headers, an audit log, one more name."""
    log = stand.root / "audit.jsonl"
    with running(
        stand.project,
        "models:/tiny/1",
        max_connections=4,
        header_timeout_s=0.5,
        allowed_hosts=("model.internal",),
        audit_log=str(log),
    ) as started:
        yield started


def _connect(server: Running, sent: bytes = b"") -> socket.socket:
    address = urlsplit(server.url)
    made = socket.create_connection((address.hostname or "", address.port or 0), timeout=10)
    made.sendall(sent)
    return made


def _answer(server: Running, sent: bytes) -> bytes:
    with _connect(server, sent) as connection:
        answer = b""
        while part := connection.recv(10_000):
            answer += part
    return answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "evil@localhost", "[evil]"]
)
def test_a_page_that_points_its_name_at_this_server_reads_nothing(server: Running, host: str) -> None:
    for method, path in (("GET", "/model"), ("POST", "/predict"), ("GET", "/docs")):
        refused = server.client.request(method, path, headers={"Host": host}, json={"texts": "a"})
        assert refused.status_code == 421
        assert refused.json()["detail"].startswith(f"this server has no name {host}; `--allow-host` gives it one")


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000", "10.1.2.3", "model.internal"]
)
def test_own_names_and_addresses_are_answered(server: Running, host: str) -> None:
    assert server.client.get("/model", headers={"Host": host}).status_code == 200


def test_allowed_names_are_read_as_those_of_requests() -> None:
    hosts = Hosts(("API.example.org:8443", "dot.example.org.", "::", "[::2]:80"))
    for host in ("api.example.org", "api.example.org:1", "dot.example.org", "dot.example.org.:80", "[::2]"):
        assert hosts.include(host), host
    for host in ("localhost:80:evil", "localhost:evil.example", "localhost:", "[::1", "[::1]evil", ""):
        assert not hosts.include(host), host
    assert Hosts(("*",)).include("any.example")
    for name in ("*.example.org", "https://api.example.org", "api.example.org:port", ""):
        with pytest.raises(ConfigError, match=r"serve\.allowed_hosts.*models\.example\.org"):
            Hosts((name,))


def test_a_page_of_another_origin_can_start_and_read_nothing(server: Running) -> None:
    """What browsers send by themselves is no JSON, and who asks for leave to send JSON is given none."""
    page = {"Origin": "http://evil.example"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        sent = server.client.post("/predict", content=b'{"texts": "a"}', headers={**page, "Content-Type": kind})
        assert sent.status_code == 415
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    leave = server.client.options("/predict", headers={**page, **asked})
    assert leave.status_code == 405
    for answer in (leave, server.client.get("/model", headers=page)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_request_with_two_lengths_is_refused(server: Running) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    smuggled = b"0\r\n\r\nGET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = _answer(server, head + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows is nobody's request"


def test_an_answer_repeats_at_most_a_line(server: Running) -> None:
    long = "x\n\x1b[2J" * 20_000
    answers = [
        server.client.post("/predict", json={"texts": "a", long: 1}),
        server.client.get("/" + "y" * 8000),
        server.client.post("/predict", content=b"{}", headers={"Content-Type": "z" * 8000}),
        server.client.request("W" * 8000, "/predict"),
        server.client.get("/model", headers={"Host": "evil" * 2000}),
    ]
    assert [answer.status_code for answer in answers] == [422, 404, 415, 405, 421]
    for answer in answers:
        said = answer.json()
        assert all(len(line) <= 300 and line.isprintable() for line in said.values()), said


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("cannot open '/home/Jane Doe/x/model.onnx'", "cannot open 'model.onnx'"),
        ('no "/home/Jane O\'Neil/x/a b.onnx" there', 'no "a b.onnx" there'),
        ("'file:///srv/a b/c.db' and '/srv/d e/f'", "'c.db' and 'f'"),
        ("a:/srv/a/b", "a:b"),
        ("path=/srv/a/b, (/srv/a/c)", "path=b, (c)"),
        ("sqlite:////srv/mlflow.db", "mlflow.db"),
        ("https://mlflow.intern:5000/api/2.0 refused", "2.0 refused"),
        ("it's 3/4 and/or 'a/b'", "it's 3/4 and/or 'a/b'"),
    ],
)
def test_the_folders_of_a_server_are_nobodys_business(told: str, shown: str) -> None:
    assert without_folders(told) == shown


def test_head_is_get_without_a_body(server: Running) -> None:
    for path, status in (("/health", 200), ("/model", 200), ("/docs", 200), ("/predict", 405), ("/nothing", 404)):
        head, got = server.client.head(path), server.client.get(path)
        assert (head.status_code, head.content) == (status, b"")
        assert (got.status_code, got.headers["content-length"]) == (status, head.headers["content-length"])


def test_half_a_request_ends_in_time(server: Running) -> None:
    begun = b"GET /model HTTP/1.1\r\nHost: loc"
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for sent in (b"", begun, whole + begun):
        start = time.monotonic()
        with _connect(server, sent) as connection:
            while connection.recv(10_000):
                pass
        assert time.monotonic() - start < 5, sent


def test_whoever_says_nothing_keeps_nobody_out(server: Running) -> None:
    with ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(_connect(server))
            assert httpx.get(f"{server.url}/health").status_code == 200


def test_the_limit_of_files_is_raised_or_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, asked: limits.update(now=asked))
    assert make_room(1000) == Room(1000)
    assert limits["now"][0] > 2000
    limits["now"] = (256, 256)
    room = make_room(1000)
    assert room.connections + room.backlog < 200, "the rest is the server's own"
    assert f"{room.connections} connections at once instead of 1000" in caplog.text


def test_the_audit_log_says_who_when_and_what_and_no_text(server: Running, stand: Stand) -> None:
    server.predict("a secret text")
    server.client.get("/a/secret/path")
    server.client.get("/model", headers={"Host": "evil.example"})
    text = (stand.root / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()][-3:]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/predict", 200), ("GET", "other", 404), ("GET", "other", 421),
    ]  # fmt: skip
    assert {line["client"] for line in lines} == {"127.0.0.1"} and {line["who"] for line in lines} == {None}
    assert "secret" not in text and "evil" not in text
    assert (stand.root / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_audit_log_is_its_owners_alone_after_a_rotation_too(tmp_path: Path) -> None:
    log = tmp_path / "audit"
    audit = Audit(log)
    for _ in range(2):
        audit.write(who=None, client="10.0.0.1", method="GET", route="/model", status=200, seconds=0.1)
        assert log.stat().st_mode & 0o777 == 0o600
        assert len(log.read_text().splitlines()) == 1
        log.replace(tmp_path / "audit.1")


def test_tokens_open_the_server_to_their_owners(stand: Stand, tmp_path: Path) -> None:
    file, log = tmp_path / "tokens", tmp_path / "audit"
    (good, kept), (other, second) = new_token("reporting"), new_token("batch", per_s=0.01)
    add_token(file, kept)
    add_token(file, second)
    assert good not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    with running(stand.project, "models:/tiny/1", tokens=str(file), audit_log=str(log)) as server:
        bearer = {"Authorization": f"Bearer {good}"}
        for wrong in ({}, {"Authorization": f"Basic {good}"}, {"Authorization": f"Bearer {good}x"}):
            for path in ("/model", "/metrics", "/docs", "/openapi.json", "/health", "/nothing", "/health/live/"):
                refused = server.client.get(path, headers=wrong)
                assert (refused.status_code, refused.json()) == (401, {"detail": "a bearer token is needed"})
        assert server.client.get("/health/ready").json() == {"status": "ok"}
        assert server.client.get("/model", headers=bearer).status_code == 200
        assert server.client.post("/predict", json={"texts": "a"}, headers=bearer).status_code == 200
        slow = {"Authorization": f"Bearer {other}"}
        assert server.client.get("/model", headers=slow).status_code == 200
        refused = server.client.get("/model", headers=slow)
        assert (refused.status_code, int(refused.headers["retry-after"])) == (429, 100)
        assert server.guarded.tokens is not None
        file.write_text(f"{second.line}\n")
        server.guarded.tokens.reload()
        assert server.client.get("/model", headers=bearer).status_code == 401, "revoked without a restart"
        file.write_text("reporting nonsense\n")
        server.guarded.tokens.reload()
        assert server.client.get("/model", headers=slow).status_code == 429, "a broken file changes nothing"
        file.write_text("# nobody any more\n")
        server.guarded.tokens.reload()
        assert server.client.get("/model", headers=slow).status_code == 401
    seen = [json.loads(line)["who"] for line in log.read_text().splitlines()]
    assert {"reporting", "batch", None} == set(seen)
    assert good not in log.read_text()


def test_a_client_that_comes_too_often_waits_and_others_do_not(stand: Stand) -> None:
    with running(stand.project, "models:/tiny/1", rate_per_s=5) as server:
        answers = [server.client.get("/model") for _ in range(12)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:5] == [200] * 5 and 429 in statuses
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["detail"] == "5 requests per second are answered; come again later"
        # Behind a proxy on this machine, the address that the proxy saw counts.
        assert server.client.get("/model", headers={"X-Forwarded-For": "10.0.0.7"}).status_code == 200


def _guarded(guarded: Guarded, *, client: str = "10.0.0.1") -> TestClient:
    """Ask a guard in front of what answers everything."""
    app = Guard(PlainTextResponse("ok"), guarded=guarded)
    return TestClient(app, base_url="http://localhost", client=(client, 1))


def test_refused_requests_leave_the_probes_of_their_address_alone(tmp_path: Path) -> None:
    """Or whoever shares an address with a probe gets the container restarted."""
    add_token(tmp_path / "tokens", new_token("a")[1])
    asked = _guarded(Guarded(tokens=Tokens(tmp_path / "tokens"), per_s=1.0))
    assert [asked.get(path).status_code for path in ("/model", "/model", *PROBES, *PROBES)] == [401, 429] + [200] * 4


def test_a_client_is_an_address_whatever_a_proxy_says(tmp_path: Path) -> None:
    """What stands in X-Forwarded-For may be a text, and each text would have a rate of its own."""
    log = tmp_path / "audit"
    guarded = Guarded(per_s=1.0, audit=Audit(log))
    named = ("a secret text", "another " * 9000, "::1%a secret text", "10.0.0.1")
    statuses = [_guarded(guarded, client=name).get("/model").status_code for name in named]
    assert statuses == [200, 429, 200, 200]
    clients = [json.loads(line)["client"] for line in log.read_text().splitlines()]
    assert clients == ["unknown", "unknown", "::1", "10.0.0.1"]


def test_no_rate_is_any_number() -> None:
    """Of a client as of a token; who has no rate is not remembered either."""
    rates = Rates(clock=lambda: 0.0)
    asked = _guarded(Guarded(rates=rates))
    assert {asked.get("/model").status_code for _ in range(20)} == {200}
    assert {rates.wait_s("client 10.0.0.1", per_s=0.0) for _ in range(20)} == {0.0}


def test_files_that_are_no_tokens_are_refused_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_tokens(file)
    line = new_token("a")[1].line
    for content, message in (
        ("", "holds no token: nobody could ask"),
        (f"# one\n{line}\nb deadbeef\n", "line 3 is no token"),
        (f"{line} -1\n", "line 1 is no token"),
        (f"{line} nan\n", "line 1 is no token"),
        (f"{line}\n{line}\n", "names a twice"),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_tokens(file)
    file.write_text(f"{line}\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="others may write to"):
        read_tokens(file)


def test_the_command_makes_a_token_and_shows_it_once(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# those who may ask")
    made = CliRunner().invoke(cli, ["token", "reporting", "--file", str(file), "--rate", "20"])
    assert made.exit_code == 0
    owner = Tokens(file).owner(f"bearer {made.stdout.strip()}")
    assert owner is not None and (owner.name, owner.per_s) == ("reporting", 20.0)
    with pytest.raises(ConfigError, match="has a token named reporting: remove its line first"):
        cli.main(["token", "reporting", "--file", str(file)], standalone_mode=False)
    with pytest.raises(ConfigError, match="a token's name has 1 to 64 letters"):
        cli.main(["token", "two words", "--file", str(file)], standalone_mode=False)


def test_a_token_is_revoked_once_its_file_is_in_order_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An editor may leave a file that others may write to; mending its mode changes neither its time nor its size."""
    file = tmp_path / "tokens"
    (gone, first), (_, second) = new_token("gone"), new_token("stays")
    add_token(file, first)
    add_token(file, second)
    tokens = Tokens(file)
    file.write_text(f"{second.line}\n")
    file.chmod(0o660)
    tokens.reload()
    tokens.reload()
    assert tokens.owner(f"Bearer {gone}") is not None
    assert caplog.text.count("others may write to") == 1, "told once"
    file.chmod(0o600)
    tokens.reload()
    assert tokens.owner(f"Bearer {gone}") is None


@pytest.mark.parametrize("rate", ["nan", "inf", "1e-320"])
def test_a_rate_that_cannot_be_kept_is_refused_before_it_is_written(tmp_path: Path, rate: str) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(ConfigError, match=rf"0\.000001 or more; found {rate[:3]}"):
        cli.main(["token", "reporting", "--file", str(file), "--rate", rate], standalone_mode=False)
    assert not file.exists()
    file.write_text(f"{new_token('a')[1].line} {rate}\n")
    with pytest.raises(ConfigError, match=r"line 1 is no token: .* 0\.000001 or more"):
        read_tokens(file)


@contextmanager
def _certificate(folder: Path, name: str) -> Iterator[tuple[Path, Path]]:
    made = folder / f"{name}.crt", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, *subject, "-keyout", str(made[1]), "-out", str(made[0])], check=True, capture_output=True, timeout=60
    )
    yield made


def test_a_certificate_is_read_again_when_it_changes(stand: Stand, tmp_path: Path) -> None:
    with (
        _certificate(tmp_path, "first") as (certificate, key),
        _certificate(tmp_path, "second") as (new_certificate, new_key),
        running(stand.project, "models:/tiny/1", certificate=str(certificate), private_key=str(key)) as server,
    ):

        def trusted(by: Path) -> bool:
            context = ssl.create_default_context(cafile=str(by))
            try:
                return httpx.get(f"{server.url}/health", verify=context).status_code == 200
            except httpx.ConnectError:
                return False

        before = tmp_path / "before.crt"
        before.write_bytes(certificate.read_bytes())
        assert server.predict("a").status_code == 200
        assert (trusted(before), trusted(new_certificate)) == (True, False)
        new_certificate.replace(certificate)
        assert trusted(before), "a certificate without its key changes nothing"
        new_key.replace(key)
        assert (trusted(before), trusted(certificate)) == (False, True)
        assert server.predict("a").status_code == 200, "open connections stay"


def test_a_certificate_that_cannot_be_shown_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no TLS with .*No such file"):
        Certificates(tmp_path / "none.pem", None).check()
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="no TLS with"):
        Certificates(tmp_path / "text.pem", None).check()


def test_what_is_wrong_with_a_certificate_is_told_in_words(tmp_path: Path) -> None:
    with _certificate(tmp_path, "one") as (certificate, key), _certificate(tmp_path, "two") as (_, other):
        locked = tmp_path / "locked.key"
        command = ["openssl", "pkey", "-in", str(key), "-out", str(locked), "-aes128", "-passout", "pass:words"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        damaged = tmp_path / "damaged.crt"
        damaged.write_bytes(certificate.read_bytes()[:200])
        for files, told in (
            ((certificate, locked), rf"the key has a password.*openssl pkey -in {locked}"),
            ((certificate, other), "the key is not that of the certificate"),
            ((certificate, None), "a private key in the same file, PEM"),
            ((damaged, key), "one of them is damaged or not PEM"),
        ):
            with pytest.raises(ConfigError, match=told):
                Certificates(*files).check()


def test_a_certificate_without_its_key_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        _certificate(tmp_path, "first") as (certificate, key),
        _certificate(tmp_path, "second") as (new_certificate, new_key),
    ):
        context = Certificates(certificate, key)()
        new_certificate.replace(certificate)
        for _ in range(3):
            _begin_handshake(context)
        assert caplog.text.count("the certificate stays as it was") == 1
        new_key.replace(key)
        caplog.set_level("INFO")
        _begin_handshake(context)
        assert "certificate read again" in caplog.text


def _begin_handshake(context: ssl.SSLContext) -> None:
    sent, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.create_default_context().wrap_bio(answered, sent, server_hostname="127.0.0.1")
    for side in (asking, context.wrap_bio(sent, answered, server_side=True)):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
