"""A slice of ``python -m tests.fuzz_requests``, and that it would find what it looks for."""

from tests.fuzz_requests import LIMITS, address_of, problem_of, run
from tests.integration.registry_stand import Stand
from tests.tasks.serving.running import running


def test_requests_as_they_should_not_be_are_answered_in_one_line_below_500(stand: Stand) -> None:
    limits = {**LIMITS, "timeout_s": 2.0, "header_timeout_s": 1.0}
    with running(stand.project, "models:/tiny/1", **limits) as server:
        found = run(range(100), address_of(server.url), seed=0, patience_s=15)
    assert found["findings"] == []
    assert found["requests"] == 100
    assert {"200", "400", "422"} <= {*found["statuses"]}


def test_what_is_looked_for_is_found() -> None:
    assert problem_of(b"HTTP/1.1 500 Internal Server Error\r\n\r\nno")[1] is not None
    assert problem_of(b"HTTP/1.1 422 Unprocessable\r\n\r\none\ntwo")[1] is not None
    assert problem_of(b"HTTP/1.1 200 OK\r\n\r\nTraceback (most recent call last)")[1] is not None
    assert problem_of(b"oops")[1] is not None
    assert problem_of(b"HTTP/1.1 422 Unprocessable\r\n\r\none")[1] is None
    one = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno!"
    chunked = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"
    assert problem_of(one + chunked) == ("404", None)
    assert problem_of(one + b"HTTP/1.1 500 Internal Server Error\r\n\r\n")[1] is not None
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
    assert problem_of(head + one, has_body=False) == ("200", None)
