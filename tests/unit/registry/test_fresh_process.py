"""What the process that proves a model is given: nothing that opens a door, and no place to import from but ours."""

import json
from pathlib import Path

import pytest

from secateur.registry import fresh_process

_TELLS = """
import json, os, sys
request = json.load(sys.stdin)
seen = {
    "environment": dict(os.environ), "flags": [sys.flags.isolated, sys.flags.dont_write_bytecode],
    "folder": os.listdir("."), "path": request["path"], "here": os.getcwd(),
}
print(json.dumps([{"label": json.dumps(seen), "score": None}]))
"""

SECRETS = (
    "SECATEUR_SIGNING_KEY", "SECATEUR_VERIFY_KEY", "SECATEUR_WEBHOOK_SECRET", "MLFLOW_TRACKING_PASSWORD",
    "PREFECT_API_AUTH_STRING", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "A_KEY_OF_ANYBODY",
)  # fmt: skip


def test_it_is_isolated_and_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "a secret of somebody")
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "MLFLOW_TRACKING_URI", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "a place of somebody")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.syspath_prepend("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fresh_process, "_START", _TELLS)
    [answer] = fresh_process.answers_of_folder(tmp_path, ["a text"], num_threads=1, timeout_s=120)
    seen = json.loads(answer.label)
    assert not [name for name, value in seen["environment"].items() if "of somebody" in value]
    assert seen["environment"]["OMP_NUM_THREADS"] == "3", "what decides how numbers come out stays"
    assert seen["environment"]["HOME"] == seen["environment"]["TMPDIR"] == seen["here"] != str(Path.home())
    assert (seen["flags"], seen["folder"]) == ([1, 1], [])
    assert all(Path(place).is_absolute() and place != str(tmp_path) for place in seen["path"])
