"""``secateur init``: from a file of rows to a project that runs; what is refused leaves no trace."""

import json
import shutil
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from secateur.cli import cli
from secateur.scaffolding import new_project
from secateur.scaffolding.copying_out import copy_out
from secateur.statistics.table_size import shortfalls
from secateur.workflow.full_form import KINDS
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.rendering import is_current
from tests.integration.in_process import actions_here, digests, output, refused
from tests.tiny import REPOSITORY, git, secateur, write_bert, write_rows

SMALL = ("-S", "prune.budget.price=macs", "-S", "prune.ffn_multiple=8", "-S", "baseline.min_steps=60")
"""A model so small is too fast to be timed."""
EAGER = ("-S", "baseline.learning_rate=3e-3", "-S", "baseline.train_embeddings=true", "-S", "run.precision=fp32")
"""Its weights are random: what fine-tunes a pretrained one teaches it nothing."""
QUICK = (
    "-S", "prune.recovery.min_steps=10", "-S", "evaluate.latency.repeats=3", "-S", "prune.schedule.tries=1",
    "-S", "evaluate.deployed=torch", "-S", "register.runtime=torch", "-S", "evaluate.latency.runtimes=[torch]",
)  # fmt: skip
"""The project of ``test_pairs`` is deployed in int8, as init has it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows and a tiny model, under no git."""
    folder = tmp_path_factory.mktemp("made")
    write_rows(folder / "tickets.csv", 160)
    write_bert(folder / "tiny-bert")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


def init(root: Path, *arguments: str | Path, model: str = "tiny-bert") -> str:
    return output(root, "init", *arguments, "--model", model)


def params_of(root: Path) -> Any:
    return YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))


def test_rows_at_an_address_are_fetched_once_for_init_and_its_first_run(place: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/init/tickets.csv", (place / "tickets.csv").read_bytes())
    said = init(place, "shop", "--source", "memory://init/tickets.csv", *SMALL)
    root = place / "shop"
    assert "memory://init/tickets.csv: 160 rows" in said and params_of(root)["ingest"]["source"].startswith("memory:")
    (copy,) = (root / ".secateur" / "fetched").glob("*/tickets.csv")
    copied = copy.stat().st_mtime_ns
    assert "ingest" in output(root, "plan")
    output(root, "stage", "ingest")
    assert (root / "data/raw/tickets.csv").read_bytes() == (place / "tickets.csv").read_bytes()
    assert copy.stat().st_mtime_ns == copied
    memory.pipe("/init/judged.csv", write_rows(place / "others.csv", 40, seed=1).read_bytes())
    judged = init(
        place, "judged", "--source", "tickets.csv", "-S", "ingest.test_source=memory://init/judged.csv", *SMALL
    )
    assert judged.count("is fetched") <= 1 and "test_source" in params_of(place / "judged")["ingest"]
    memory.rm("/init/tickets.csv")
    given = "ingest.test_source=memory://init/tickets.csv"
    error = refused(place, "init", "other", "--source", "tickets.csv", "-S", given, "--model", "tiny-bert")
    assert str(error).startswith(given)
    for source in ("memory://init/tickets.csv", "https://me:hunter2aB@host/tickets.csv"):
        error = refused(place, "init", "other", "--source", source, "--model", "tiny-bert")
        assert "ingest.source" in str(error) and "hunter2aB" not in str(error)


def test_a_table_becomes_a_project_that_runs_and_has_nothing_to_do_afterwards(place: Path, prefect_server: str) -> None:
    """In a folder that holds code of somebody else, none of which is imported."""
    root = place / "shop"
    (root / "flows").mkdir(parents=True)
    for name in ("tasks.py", "flows/__init__.py", "sitecustomize.py", "secateur.py"):
        (root / name).write_text("raise SystemExit('imported from the project')\n")
    said = init(place, "shop", "--source", "tickets.csv", *SMALL, *EAGER, *QUICK)
    assert "160 rows" in said and "was copied" in said and "Texts from 'text', labels from 'label'" in said
    assert said.rstrip().endswith('Next:\ncd shop && git add -A && git commit -m "A project" && secateur run')
    chosen = params_of(root)
    assert (chosen["ingest"]["source"], chosen["baseline"]["model"]) == ("tickets.csv", "../tiny-bert")
    assert set(chosen["prune"]["budget"]) == {"max_drop", "price"}
    assert (root / "tickets.csv").read_bytes() == (place / "tickets.csv").read_bytes()
    assert "ingest" in secateur(root, "plan").stdout
    secateur(root, "run")
    report = json.loads((root / "reports/data.json").read_text(encoding="utf-8"))
    assert shortfalls(report, read_config(Project(root))) == ()
    assert {*actions_here(root).values()} == {"cached"}
    assert json.loads((root / "reports/metrics.json").read_text())["baseline"]["macro_f1"] > 0.5
    made = {line[3:] for line in git(root, "status", "--porcelain", "-unormal").splitlines()}
    assert not made & {"data/", "models/", ".secateur/", "mlruns/", "mlflow.db"}
    assert "reports/metrics.json" in git(root, "status", "--porcelain", "-uall")


def test_an_absent_folder_and_the_current_one_are_the_same_project(place: Path) -> None:
    init(place, "new/shop", "--source", "tickets.csv")
    init(place, "--source", "tickets.csv")
    new = place / "new/shop"
    assert (new / "dvc.yaml").read_text() == (place / "dvc.yaml").read_text().replace("./tiny-bert", "../../tiny-bert")
    assert params_of(place)["ingest"]["source"] == "tickets.csv", "it lies there already, and is not copied"
    assert params_of(place)["baseline"]["model"] == "./tiny-bert"
    project = Project(new)
    assert is_current(project, read_config(project))
    assert (new / ".dvc/config").read_text().count("analytics = false") == 1


def test_a_repository_keeps_what_it_has(place: Path) -> None:
    root = place / "repo"
    root.mkdir()
    git(root, "init", "-q")
    (root / ".gitignore").write_bytes(b"# mine\r\n*.log\r\n/data/\nmodels")
    (root / "tables").mkdir()
    shutil.move(place / "tickets.csv", root / "tables/tickets.csv")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "before")
    init(root, "--source", "tables/tickets.csv", model="../tiny-bert")
    ignored = (root / ".gitignore").read_bytes()
    assert ignored.startswith(b"# mine\r\n*.log\r\n/data/\nmodels\n\n# secateur: ")
    assert (ignored.count(b"data"), ignored.count(b"models")) == (1, 1)
    assert ignored.endswith(b"/reports/*\n!/reports/metrics.json\n/.venv/\n")
    assert params_of(root)["ingest"]["source"] == "tables/tickets.csv"
    assert git(root, "log", "--format=%s") == "before\n", "nothing is committed for the user"
    assert git(root, "diff", "--name-only") == ".gitignore\n"


@pytest.mark.parametrize(
    ("before", "arguments", "said"),
    [
        ((), (), "init needs --source FILE"),
        ((), ("--source", "no.csv"), "there is no file 'no.csv'; its folder holds tickets.csv"),
        ((), ("--source", "tiny-bert"), "is a folder"),
        ((), ("tickets.csv", "--source", "tickets.csv"), "tickets.csv is a file"),
        (
            (),
            ("--source", "tickets.csv", "--text-column", "body"),
            "has no column 'body'; its columns are: text, label",
        ),
        ((), ("--source", "tickets.csv", "-S", "clean.min_chars"), "expected section.key=value"),
        ((), ("--source", "tickets.csv", "-S", "clean.min_char=2"), "clean.min_char is not a known parameter; did you"),
        ((), ("--source", "tickets.csv", "-S", "clean.min_chars=900"), "no row is left after cleaning"),
        ((), ("--source", "tickets.csv", "--model", "tickets.csv"), "is a file; it must be a folder"),
        ((), ("--source", "tickets.csv", "--model", "scratch:x.json"), "name a pretrained one"),
        ((), ("--source", "org/rows"), "name --text-column and --label-column"),
        (("params.yaml",), ("--source", "tickets.csv"), "has params.yaml already"),
        (("dvc.yaml", "dvc.lock"), ("--source", "tickets.csv"), "has dvc.yaml and dvc.lock already"),
        (("data/raw",), ("--source", "tickets.csv"), "has data/raw already, which stage ingest would replace"),
        (("shop/tickets.csv",), ("shop", "--source", "tickets.csv"), "tickets.csv is there already and is not"),
        ((".git/HEAD",), ("inner", "--source", "tickets.csv"), "lies inside the git repository"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_no_trace(
    place: Path, before: tuple[str, ...], arguments: tuple[str, ...], said: str
) -> None:
    for name in before:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("mine\n")
    folders = sorted(place.rglob("*"))
    model = () if "--model" in arguments else ("--model", "tiny-bert")
    error = refused(place, "init", *arguments, *model)
    assert said in str(error)
    assert sorted(place.rglob("*")) == folders


def test_a_table_called_txt_is_one_and_what_is_no_text_or_number_is_named(place: Path) -> None:
    lines = [line.replace(",", "\t") for line in (place / "tickets.csv").read_text(encoding="utf-8").splitlines()]
    (place / "tickets.txt").write_text("\n".join(lines), encoding="utf-8")
    init(place, "tabs", "--source", "tickets.txt")
    assert params_of(place / "tabs")["ingest"]["format"] == "csv"
    (place / "bare.txt").write_text("\n".join(lines[1:]), encoding="utf-8")
    asked = ("--text-column", "0", "--label-column", "1", "-S", "ingest.header=false")
    init(place, "bare", "--source", "bare.txt", *asked)
    wrong = ("init", "x", "--source", "bare.txt", "--text-column", "text", "--label-column", "label")
    assert "a table in such a file, with tabs or commas, is read by format csv" in str(refused(place, *wrong))
    texts = [line.split("\t")[0] for line in lines[1:]]
    prices = [(text, "nan" if number % 9 == 0 else f"{number * 0.31:.2f}") for number, text in enumerate(texts)]
    (place / "prices.csv").write_text("text,price\n" + "".join(f"{text},{price}\n" for text, price in prices))
    asked = ("init", "x", "--source", "prices.csv", "--text-column", "text", "--label-column", "price")
    assert "holds numbers, but for 18 rows such as 'nan'; --task regression" in str(refused(place, *asked))
    (place / "digits.csv").write_text("text,label\n" + "".join(f"{n * 7919},{n % 2}\n" for n in range(1, 60)))
    said = str(refused(place, "init", "x", "--source", "digits.csv"))
    assert "hold hardly any letters that are known" in said


def test_columns_that_are_not_plain_are_named(place: Path) -> None:
    (place / "wide.csv").write_text("id,first,second\n1,a b c d e,x\n2,f g h i,y\n")
    assert "--text-column and --label-column" in str(refused(place, "init", "--source", "wide.csv"))


def test_chinese_needs_a_model_that_is_named(place: Path) -> None:
    rows = [f"这家酒店的房间很干净{i},好\n那家餐厅的服务太差了{i},坏\n" for i in range(40)]
    (place / "zh.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    error = refused(place, "init", "shop", "--source", "zh.csv")
    assert "written in Chinese or Japanese letters" in str(error) and "google-bert/bert-base-chinese" in str(error)
    init(place, "shop", "--source", "zh.csv", "-S", "clean.near_duplicate_threshold=1")
    assert params_of(place / "shop")["clean"]["near_duplicate_chars"] == 2


def test_a_failure_half_way_undoes_what_was_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    (place / ".gitignore").write_text("*.log\n")
    monkeypatch.setattr(new_project, "update_pipeline", fails)
    before = digests(place), sorted(path.name for path in place.iterdir())
    for folder in ("shop", "."):
        with chdir(place), pytest.raises(click.Abort):
            arguments = ["init", folder, "--source", "tickets.csv", "--model", "tiny-bert"]
            cli.main(arguments, standalone_mode=False)
        assert (digests(place), sorted(path.name for path in place.iterdir())) == before


def test_what_a_killed_one_left_is_taken_over(place: Path) -> None:
    init(place, "shop", "--source", "tickets.csv")
    complete = digests(place / "shop")
    (place / "shop/params.yaml").unlink()  # it comes last
    init(place, "shop", "--source", "tickets.csv")
    assert digests(place / "shop") == complete


def test_a_column_of_dates_is_suggested_and_not_switched_on(place: Path) -> None:
    lines = (place / "tickets.csv").read_text(encoding="utf-8").splitlines()
    dated = [f"{line},2024-{1 + i % 12:02}-01,{i}" for i, line in enumerate(lines[1:])]
    (place / "dated.csv").write_text("\n".join([f"{lines[0]},created_at,wait_time", *dated]), encoding="utf-8")
    said = json.loads(
        init(place, "shop", "--source", "dated.csv", "--text-column", "text", "--label-column", "label", "--json")
    )
    assert "-S ingest.time_column=created_at the latest rows test" in " ".join(said["remarks"])
    assert "time_column" not in params_of(place / "shop")["ingest"]


def test_labels_that_a_part_goes_without_are_told_or_refused_before_anything_is_written(place: Path) -> None:
    lines = (place / "tickets.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{line},{number % 9}" for number, line in enumerate(lines[1:])]
    alone = [f"a song of {word},rare,9" for word in ("rivers", "stones", "trains", "walks")]
    (place / "grouped.csv").write_text("\n".join([f"{lines[0]},author", *rows, *alone]), encoding="utf-8")
    asked = ("--source", "grouped.csv", "--text-column", "text", "--label-column", "label")
    said = json.loads(init(place, "shop", *asked, "-S", "ingest.group_column=author", "--json"))["remarks"]
    assert "no test row has the label 'rare'" in " ".join(said)
    late = [f"{line},{2000 + number}" for number, line in enumerate([*lines[1:], *(f"{a[:-2]}" for a in alone)])]
    (place / "dated.csv").write_text("\n".join([f"{lines[0]},year", *late]), encoding="utf-8")
    asked = ("init", "later", "--source", "dated.csv", *asked[2:], "--model", "tiny-bert")
    assert "leaves no training row of the label 'rare'" in str(refused(place, *asked, "-S", "ingest.time_column=year"))
    assert not (place / "later").exists()


def test_a_column_of_parts_is_suggested_and_not_switched_on(place: Path) -> None:
    lines = (place / "tickets.csv").read_text(encoding="utf-8").splitlines()
    parts = [f"{line},{'Test' if i % 4 == 0 else 'train'}" for i, line in enumerate(lines[1:])]
    (place / "parts.csv").write_text("\n".join([f"{lines[0]},split", *parts]), encoding="utf-8")
    asked = ("--source", "parts.csv", "--text-column", "text", "--label-column", "label", "--json")
    said = json.loads(init(place, "shop", *asked))["remarks"]
    assert "'split' says which rows train and which judge (40 test), and does not count" in " ".join(said)
    assert "split_column" not in params_of(place / "shop")["ingest"]


def test_names_that_a_file_declares_are_chosen_for_a_new_project_unless_asked(place: Path) -> None:
    lines = (place / "tickets.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.rsplit(",", 1) for line in lines]
    table = pa.table({"text": [text for text, _ in rows], "label": [int(label == "positive") for _, label in rows]})
    feature = {"names": ["negative", "positive"], "_type": "ClassLabel"}
    said = json.dumps({"info": {"features": {"label": feature}}})
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), place / "declared.parquet")
    found = json.loads(init(place, "shop", "--source", "declared.parquet", "--json"))
    assert set(found["seen"]["labels"]) == {"negative", "positive"}
    assert "the names are taken: 0 = negative, 1 = positive" in " ".join(found["remarks"])
    assert params_of(place / "shop")["ingest"]["class_names"] is True
    asked = ("--source", "declared.parquet", "-S", "ingest.class_names=false", "--json")
    assert set(json.loads(init(place, "other", *asked))["seen"]["labels"]) == {"0", "1"}


def test_test_rows_of_ones_own_count_for_the_gate(place: Path) -> None:
    write_rows(place / "held-out.csv", 90, seed=1)
    found = json.loads(
        init(place, "shop", "--source", "tickets.csv", "-S", "ingest.test_source=held-out.csv", "--json")
    )
    assert found["seen"]["given"]["test"] == {"negative": 45, "positive": 45}
    chosen = params_of(place / "shop")
    assert chosen["ingest"]["test_source"] == "held-out.csv" and (place / "shop/held-out.csv").is_file()
    assert chosen["promote"]["min_rows"] == 72 and "min_test_rows" not in chosen["clean"]


def test_texts_that_will_be_cut_are_told(place: Path) -> None:
    found = json.loads(init(place, "shop", "--source", "tickets.csv", "-S", "baseline.max_length=4", "--json"))
    (said,) = [remark for remark in found["remarks"] if "4 tokens" in remark]
    assert said.startswith("more than 5 % of the texts have more than 4 tokens")
    assert said.endswith("head_tail their ends are read, too, with windows all of them")


def test_a_budget_of_size_takes_the_floor_in_place_of_the_promise(place: Path) -> None:
    init(place, "shop", "--source", "tickets.csv", "-S", "prune.budget.macs=0.4", "-S", "prune.rounds.r1.epochs=2")
    chosen = params_of(place / "shop")["prune"]
    assert (chosen["budget"], chosen["max_drop"]) == ({"macs": 0.4}, 0.06)
    assert (list(chosen["rounds"]), chosen["rounds"]["r1"]["epochs"]) == (["r1", "r2", "r3"], 2)


def test_one_more_round_leaves_the_others_as_they_are(place: Path) -> None:
    init(place, "shop", "--source", "tickets.csv")
    said = output(place / "shop", "plan", "-S", "prune.rounds.r4.prev=r3")
    causes = {line.split()[0]: line for line in said.splitlines() if line.startswith("prune@")}
    assert [name for name, line in causes.items() if "do nothing" in line] == ["prune@r1", "prune@r2", "prune@r3"]
    assert "run" in causes["prune@r4"]


def test_the_full_form_is_copied_out_and_is_the_same_code(place: Path) -> None:
    init(place, "lean", "--source", "tickets.csv")
    (place / "full").mkdir()
    init(place, "full", "--source", "tickets.csv", "--full")
    assert (place / "lean/code.lock").read_bytes() == (place / "full/code.lock").read_bytes()
    assert is_current(Project(place / "full"), read_config(Project(place / "full")))
    assert json.loads(output(place / "lean", "init", "--full", "--json"))["written"][:2] == [
        "flows/__init__.py",
        "flows/build.py",
    ]
    for kind in KINDS:
        files = {file.name: file.read_bytes() for file in (REPOSITORY / kind).glob("*.py")}
        assert files and "__init__.py" in files
        for root in ("lean", "full"):
            assert {file.name: file.read_bytes() for file in (place / root / kind).iterdir()} == files
    assert "its own flows/ and tasks/ already" in str(refused(place / "full", "init", "--full"))
    shutil.rmtree(place / "full/flows")
    output(place / "full", "init", "--full")
    assert (place / "full/flows/build.py").is_file(), "what is missing comes back"


def test_the_full_form_replaces_nothing(place: Path) -> None:
    (place / "tasks").mkdir()
    (place / "tasks/__init__.py").write_text("raise SystemExit('imported from the folder')\n")
    asked = ("init", "--source", "tickets.csv", "--model", "tiny-bert")
    assert "tasks is there already and is not ours" in str(refused(place, *asked, "--full"))
    output(place, *asked)
    assert "tasks is there already and is not ours" in str(refused(place, "init", "--full"))
    assert "has params.yaml and dvc.yaml and code.lock already" in str(refused(place, *asked))


def test_init_imports_nothing_of_a_folder_that_holds_a_form(place: Path) -> None:
    copy_out(place)
    (place / "tasks/ingest.py").write_text("raise SystemExit('imported from the folder')\n")
    said = str(refused(place, "init", "--source", "tickets.csv", "--model", "tiny-bert"))
    assert "has flows and tasks already, and nothing is overwritten" in said


def test_a_generator_of_lines(place: Path) -> None:
    from tests.tiny_generators import write_generator

    write_generator(place / "tiny-llama")
    (place / "songs.txt").write_text("".join(f"{text} {i}\n" for i, text in enumerate(["a day", "my river"] * 60)))
    said = init(place, "songs", "--source", "songs.txt", "--task", "generation", model="tiny-llama")
    chosen = params_of(place / "songs")
    assert chosen["ingest"] == {"source": "songs.txt", "format": "lines", "text_column": "text"}
    assert chosen["run"]["task"] == "generation" and "120 rows" in said
    assert chosen["evaluate"]["latency"]["length"] < chosen["baseline"]["max_length"]
    planned = json.loads(output(place / "songs", "plan", "--json"))
    assert {entry["verdict"] for entry in planned} == {"run"}, "run would not refuse it"


def test_on_a_terminal_it_asks_what_it_was_not_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["secateur.cli.init"], "is_terminal", lambda: True)
    (place / "zh.csv").write_text(
        "id,wo,was\n" + "".join(f"{i},干净的房间有{i}号,a\n{i},很差的餐厅在{i}楼,b\n" for i in range(30)),
        encoding="utf-8",
    )
    with chdir(place):
        answers = "zh.csv\nwo\nwas\ntiny-bert\n"
        result = CliRunner().invoke(cli, ["init", "shop"], input=answers, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Column of the texts (id, wo, was)" in result.output
    assert params_of(place / "shop")["ingest"]["label_column"] == "was"
