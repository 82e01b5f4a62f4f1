"""Files at addresses: fetched once, whole or not at all, told in one line that holds no secret."""

import gzip
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from secateur.config.part import parse_part
from secateur.config.schema import RunConfig
from secateur.data.acquisition import Copies, HubSelection, check_rows, copy_rows
from secateur.errors import DataError
from secateur.files import sha256_file, write_json
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading, reading_of
from secateur.scheduling.source_version import moved_sources
from secateur.sources import fetching, remote
from secateur.sources.fetching import FETCHED, brought, fetch
from secateur.sources.locations import Location, locate
from secateur.workflow.preflight import check_source
from secateur.workflow.project import Project

ROWS = b"text,label\n" + b"".join(b"row %d of many,%s\n" % (i, b"ab"[i % 2 : i % 2 + 1]) for i in range(40))
HUB = HubSelection(None, "train", None)
SECRET = "hunter2aB"


class Files(ThreadingHTTPServer):
    """Answers from a dictionary: path -> body; what is asked for is counted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.bodies: dict[str, bytes] = {"/rows.csv": ROWS}
        self.etag, self.asked = "one", Counter[str]()

    def address(self, path: str = "/rows.csv") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Files

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path, _, query = self.path.partition("?")
        self.server.asked[self.command] += 1
        if path.startswith("/to/"):
            self._head(302, {"Location": {"/to/file": "file:///etc/passwd"}.get(path, "/rows.csv")})
        elif path == "/private.csv" and query != f"token={SECRET}":
            self._head(403, {})
        elif path == "/cut.csv":
            self._head(200, {"Content-Length": str(len(ROWS))})
            if body:
                self.wfile.write(ROWS[:100])
        elif path == "/silent.csv":
            self.server.asked["silent"] += 1
            threading.Event().wait(1.0)
        elif path == "/no-head.csv" and not body:
            self._head(405, {})
        else:
            content = ROWS if path in ("/private.csv", "/no-head.csv") else self.server.bodies.get(path)
            if content is None:
                self._head(404 if path != "/broken.csv" else 500, {})
                return
            marks = {"ETag": self.server.etag} if self.server.etag else {}
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                content, marks = gzip.compress(content), {**marks, "Content-Encoding": "gzip"}
            self._head(200, {"Content-Length": str(len(content)), **marks})
            if body:
                self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as files:
        threading.Thread(target=files.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield files
        files.shutdown()


def at(address: str) -> Location:
    return locate(address, addresses=True)


def test_a_file_is_fetched_once_and_its_size_is_told(server: Files, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        found = fetch(at(server.address()), into=tmp_path)
    assert found.is_new and found.path.read_bytes() == ROWS and found.path.name == "rows.csv"
    assert found.sha256 == sha256_file(found.path)
    assert f"{server.address()} is fetched (0.7 kB)" in caplog.text
    again = fetch(at(server.address()), into=tmp_path)
    assert (again.is_new, again.sha256, server.asked["GET"]) == (False, found.sha256, 1)
    server.bodies["/rows.csv"], server.etag = ROWS + b"one more,a\n", "two"
    other = fetch(at(server.address()), into=tmp_path)
    assert other.is_new and other.sha256 != found.sha256


def test_rows_that_judge_from_an_address_are_counted_before_they_are_here(tmp_path: Path) -> None:
    """Two rows of a label are enough where others judge, wherever those are."""
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"{word},{word[0]}\n" for word in ("a1", "a2", "b1", "b2"))
    )
    reading, source = Reading(Columns("text", "label", None)), str(tmp_path / "a.csv")
    with pytest.raises(DataError, match="so a label needs 3"):
        check_rows(source, reading)
    found = check_rows(source, reading, given={"validation": "https://localhost/b.csv"})
    assert found is not None and found.rows.num_rows == 4


def test_without_marks_every_look_fetches(server: Files, tmp_path: Path) -> None:
    server.etag = ""
    for _ in range(2):
        assert fetch(at(server.address()), into=tmp_path).is_new
    assert fetch(at(server.address("/no-head.csv")), into=tmp_path).path.read_bytes() == ROWS


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gone.csv", "is not there"),
        ("/broken.csv", "the server answers HTTP 500"),
        ("/private.csv", "is not given out (HTTP 403); what it asks for comes from the environment: ${SOURCE_NAME}"),
        ("/cut.csv", "broke off on the way; nothing was kept"),
        ("/to/file", "redirects to something that is no HTTP address; refused"),
        ("/silent.csv", "does not answer"),
    ],
)
def test_what_a_server_does_is_one_line_and_leaves_nothing(
    server: Files, tmp_path: Path, monkeypatch: Any, path: str, said: str
) -> None:
    monkeypatch.setattr(remote, "READ_S", 0.1)
    location = Location("address", server.address(path), None, {}, "ingest.source")
    with pytest.raises(DataError) as caught:
        fetch(location, into=tmp_path)
    assert str(caught.value).startswith(f"ingest.source={server.address(path)} ") and said in str(caught.value)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_redirect_to_another_page_is_followed(server: Files, tmp_path: Path) -> None:
    found = fetch(at(server.address("/to/rows.csv")), into=tmp_path)
    assert found.path.read_bytes() == ROWS


def test_no_network_is_one_line_and_names_the_digest_that_goes_on(server: Files, tmp_path: Path) -> None:
    found = fetch(at(server.address()), into=tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=r"cannot be reached .*is there a network.*; ingest\.sha256=") as caught:
        fetch(at(server.address()), into=tmp_path)
    assert found.sha256 in str(caught.value)
    assert fetch(at(server.address()), into=tmp_path, wanted=found.sha256).path == found.path
    with pytest.raises(DataError, match="cannot be reached"):
        fetch(at("https://rows.example.org/rows.csv"), into=tmp_path)


def test_a_secret_comes_from_the_environment_and_goes_nowhere(
    server: Files, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    address = server.address("/private.csv?token=${SOURCE_TOKEN}")
    with pytest.raises(DataError, match="the environment has no SOURCE_TOKEN"):
        fetch(at(address), into=tmp_path)
    monkeypatch.setenv("SOURCE_TOKEN", "wrong" + SECRET)
    with pytest.raises(DataError, match="HTTP 403") as caught:
        fetch(at(address), into=tmp_path)
    assert SECRET not in str(caught.value) and caught.value.__suppress_context__
    monkeypatch.setenv("SOURCE_TOKEN", SECRET)
    with caplog.at_level(logging.WARNING):
        record = copy_rows(address, reading(), hub=HUB, out=tmp_path / "raw", copies=Copies(tmp_path / "state"))
    assert (record["kind"], record["source"], record["file"]) == ("address", address, "private.csv")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 4 and not any(SECRET.encode() in path.read_bytes() for path in kept)
    assert SECRET not in caplog.text


def test_a_wrong_digest_and_a_damaged_copy_are_refused(server: Files, tmp_path: Path) -> None:
    place = at(server.address())
    with pytest.raises(DataError, match=r"another file than ingest\.sha256 says: its sha256 is [0-9a-f]{64}"):
        fetch(place, into=tmp_path, wanted="0" * 64)
    found = fetch(place, into=tmp_path)
    found.path.write_bytes(ROWS + b"planted,a\n")
    with pytest.raises(DataError, match="is damaged, and was removed; run again"):
        brought({"train": [place]}, into=tmp_path)
    (here,) = brought({"train": [place]}, into=tmp_path)["train"]
    assert here.path is not None and here.path.read_bytes() == ROWS


def test_copies_of_other_addresses_and_of_killed_processes_go(server: Files, tmp_path: Path) -> None:
    server.bodies["/old.csv"] = b"old"
    fetch(at(server.address("/old.csv")), into=tmp_path)
    (tmp_path / ".part-999999999-x").write_bytes(b"half")
    brought({"train": [at(server.address())]}, into=tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file())[-1] == "rows.csv"
    assert len(list(tmp_path.iterdir())) == 2


def test_more_than_there_is_room_for_is_refused_before_it_is_fetched(
    server: Files, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(fetching, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(DataError, match=r"has 0\.7 kB, and 1\.0 MB are free here"):
        fetch(at(server.address()), into=tmp_path)
    assert server.asked["GET"] == 0


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    def missing(_: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for address, package in (("s3://bucket/rows.csv", "s3fs"), ("gs://bucket/rows.csv", "gcsfs")):
        with pytest.raises(DataError, match=f"cannot be opened: .*{package}"):
            fetch(at(address), into=tmp_path)


def test_any_file_system_of_fsspec_is_read(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/rows.csv", ROWS)
    found = fetch(at("memory://shop/rows.csv"), into=tmp_path)
    assert found.path.read_bytes() == ROWS and not fetch(at("memory://shop/rows.csv"), into=tmp_path).is_new
    with pytest.raises(DataError, match="is a folder; name one file in it"):
        fetch(at("memory://at/shop"), into=tmp_path) if memory.pipe("/at/shop/x.csv", ROWS) is None else None
    with pytest.raises(DataError, match="is not there"):
        fetch(at("memory://shop/gone.csv"), into=tmp_path)


def config(source: str, **ingest: Any) -> RunConfig:
    section = {"source": source, "label_column": "label", **ingest}
    return parse_part("classification", {"ingest": section, "baseline": {"model": "scratch:config.json"}})


def reading() -> Any:
    return reading_of(config("-").ingest)


def test_a_change_is_seen_by_watch_and_retrain_and_by_nothing_that_only_runs(server: Files, tmp_path: Path) -> None:
    project, asked = Project(tmp_path), config(server.address(), test_source=server.address("/test.csv"))
    server.bodies["/test.csv"] = ROWS.replace(b"row", b"test")
    raw, copies = tmp_path / "data" / "raw", Copies(project.state / FETCHED)
    check_source(asked.ingest, root=tmp_path)
    assert not server.asked and moved_sources(project, asked) == ()
    copy_rows(asked.ingest.source, reading(), hub=HUB, out=raw, given=asked.ingest.given, copies=copies)
    assert moved_sources(project, asked) == () and server.asked["GET"] == 2
    server.etag = "two"  # the same bytes under another name
    assert moved_sources(project, asked) == ()
    server.bodies["/test.csv"], server.etag = server.bodies["/test.csv"] + b"more,a\n", "three"
    (line,) = moved_sources(project, asked)
    assert line.startswith(f"ingest.test_source={server.address('/test.csv')} has sha256 ")
    server.bodies["/rows.csv"], server.etag = ROWS + b"more,a\n", "four"
    assert len(moved_sources(project, asked)) == 2
    pinned = config(server.address(), sha256=sha256_file(raw / "rows.csv"))
    asked_before = server.asked.total()
    assert moved_sources(project, pinned) == () and server.asked.total() == asked_before


def test_the_same_file_gives_the_same_copy_whatever_its_server_calls_it(server: Files, tmp_path: Path) -> None:
    records = []
    for etag in ("one", "two"):
        server.etag = etag
        copy_rows(server.address(), reading(), hub=HUB, out=tmp_path / etag)
        records.append((tmp_path / etag / "provenance.json").read_bytes())
    assert records[0] == records[1]


def test_archives_pages_and_files_beside_addresses(server: Files, tmp_path: Path, monkeypatch: Any) -> None:
    server.bodies |= {"/rows.csv.gz": gzip.compress(ROWS), "/page.csv": b"<!DOCTYPE html>\n<p>log in"}
    record = copy_rows(server.address("/rows.csv.gz"), reading(), hub=HUB, out=tmp_path / "raw")
    assert record["file"] == "rows.csv.gz"
    with pytest.raises(DataError, match="is a web page"):
        copy_rows(server.address("/page.csv"), reading(), hub=HUB, out=tmp_path / "page")
    write_json(tmp_path / "here.json", [])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="names files here and addresses"):
        copy_rows(f"{{{server.address()},here.json}}", reading(), hub=HUB, out=tmp_path / "mixed")
    two = copy_rows(server.address("/{rows.csv,rows.csv.gz}"), reading(), hub=HUB, out=tmp_path / "two")
    assert [entry["file"] for entry in two["files"]] == ["rows.csv", "rows.csv.gz"]
