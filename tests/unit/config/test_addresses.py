"""Addresses hold no secret, and none is shown of one that does."""

import pytest

from secateur.config.addresses import file_name, problem_of, redacted
from secateur.config.part import parse_part
from secateur.errors import ConfigError
from secateur.workflow.params import read_override

SECRET = "hunter2aB"
TOLD = [
    f"https://me:{SECRET}@host/rows.csv",
    f"https://{SECRET}@host/rows.csv",
    f"https://me:{SECRET}/x@host/rows.csv",
    f"sftp://me:{SECRET}@host/rows.csv",
    f"https://host/rows.csv?X-Amz-Signature={SECRET}&v=2",
    f"https://host/rows.csv?token={SECRET}",
    f"https://host/rows.csv?v=2;sig={SECRET}",
    f"https://host/rows.csv#access_token={SECRET}",
    f"https://host/rows.csv?id=0123456789abcdefghij{SECRET}",
]


@pytest.mark.parametrize("address", TOLD)
def test_a_secret_is_refused_and_not_repeated(address: str) -> None:
    problem = problem_of(address)
    assert problem is not None and SECRET not in problem and "${SOURCE_NAME}" in problem
    assert SECRET not in redacted(f"found {address!r}") and "host" in redacted(address)
    for source in (address, f"{{{address},b.csv}}"):
        with pytest.raises(ConfigError, match="in clear") as caught:
            parse_part("classification", {"ingest": {"source": source, "label_column": "label"}})
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://${SOURCE_USER}:${SOURCE_PASSWORD}@host/rows.csv?sig=${SOURCE_SIGNATURE}",
        "https://host:8080/rows.csv?version=2",
        "https://host/@user/rows.csv",
        "hf://datasets/owner/name@0123456789abcdef0123456789abcdef01234567/rows.csv",
        "sftp://me@host/rows.csv",
        "s3://bucket/a b/rows.csv",
    ],
)
def test_what_holds_none_is_shown_as_it_was_written(address: str) -> None:
    assert problem_of(address) is None
    assert redacted(address) == address
    config = parse_part("classification", {"ingest": {"source": address, "label_column": "label"}})
    assert config.ingest.source == address and file_name(address) == "rows.csv"


def test_a_malformed_option_shows_no_secret_either() -> None:
    with pytest.raises(ConfigError) as caught:
        read_override(f"ingest.source: https://me:{SECRET}@host/rows.csv")
    assert SECRET not in str(caught.value)


def test_a_digest_is_that_of_an_address() -> None:
    with pytest.raises(ConfigError, match="sha256 is that of the file at an address"):
        parse_part("classification", {"ingest": {"source": "a.csv", "sha256": "0" * 64, "label_column": "label"}})
