"""``serve``: the registered model behind HTTP. Not part of any stage: no result depends on it."""

from typing import Annotated

from pydantic import Field

from secateur.config.base import PositiveInt, Section


class ServeSection(Section):
    """Where the server listens, how it batches, and what it refuses. A folder can be served outside a project."""

    host: Annotated[str, Field(min_length=1, description="address to listen on; 127.0.0.1 = this machine only")] = (
        "127.0.0.1"
    )
    allowed_hosts: Annotated[
        tuple[str, ...],
        Field(
            description="names under which clients ask, besides localhost, serve.host and any address; "
            "others get 421, as those of a web page that points its name here do; * = any"
        ),
    ] = ()
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 = a free one")] = 8000
    workers: Annotated[PositiveInt, Field(description="processes that share the port, each with its own model")] = 1
    num_threads: Annotated[PositiveInt, Field(description="threads of the runtime in each process")] = 1
    poll_s: Annotated[float, Field(gt=0.0, description="seconds between two looks at the alias that is followed")] = 5.0
    max_batch: Annotated[PositiveInt, Field(description="texts that are classified together, at most")] = 32
    max_wait_ms: Annotated[float, Field(ge=0.0, description="how long a batch waits for others to join, at most")] = 2.0
    max_queue: Annotated[PositiveInt, Field(description="texts that may wait; a request beyond them gets 503")] = 1024
    max_texts: Annotated[PositiveInt, Field(description="texts in one request, at most; more get 422")] = 256
    max_chars: Annotated[PositiveInt, Field(description="characters in one text, at most; more get 422")] = 10_000
    max_tokens: Annotated[
        PositiveInt, Field(description="generators: tokens that may be asked for per text, at most; more get 422")
    ] = 512
    max_body_bytes: Annotated[int, Field(ge=1024, description="size of a request's body, at most; more gets 413")] = (
        1_000_000
    )
    max_connections: Annotated[
        PositiveInt,
        Field(
            description="connections of a process at once; one more ends the one that has been silent for longest, "
            "or gets 503 where all are at work"
        ),
    ] = 1000
    header_timeout_s: Annotated[
        float, Field(gt=0.0, description="for the headers of a request to arrive; then the connection ends")
    ] = 10.0
    timeout_s: Annotated[float, Field(gt=0.0, description="to read a body (408), and to answer it (504)")] = 10.0
    rate_per_s: Annotated[
        float,
        Field(
            ge=0.0,
            description="requests per second of one client (with tokens: of one token) to one process; more get 429; "
            "0 = any number",
        ),
    ] = 0.0
    tokens: Annotated[
        str | None,
        Field(description="file of the digests of bearer tokens (`secateur token`); who has none of them gets 401"),
    ] = None
    audit_log: Annotated[
        str | None, Field(description="file that gets a line per request: who, when, route, status; no text")
    ] = None
    certificate: Annotated[
        str | None, Field(description="file of a TLS certificate and its chain, PEM, read again when it changes")
    ] = None
    private_key: Annotated[
        str | None, Field(description="file of its key, PEM; none = it is in the file of the certificate")
    ] = None
    live: Annotated[
        bool,
        Field(
            description="compare the traffic with the training rows: figures in /metrics, counts in reports/live.json, no text"
        ),
    ] = False
    live_window: Annotated[int, Field(ge=100, description="texts between two comparisons")] = 1000
    feedback_ids: Annotated[
        PositiveInt,
        Field(
            description="with serve.live: answers that /feedback may still speak of, the newest (about 400 bytes each)"
        ),
    ] = 20_000
    shadow: Annotated[
        str | None,
        Field(
            description="with serve.live: models:/name@challenger, which is asked in a process of its own what the champion answers; promote.shadow judges the disagreements"
        ),
    ] = None
    shadow_queue: Annotated[
        PositiveInt, Field(description="texts that may wait for the shadow; those beyond them are dropped and counted")
    ] = 256
    drain_s: Annotated[PositiveInt, Field(description="how long open requests may take after SIGTERM")] = 30
