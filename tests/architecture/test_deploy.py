"""The container files name what there is. They are read here, not run: that takes a container engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def test_every_file_that_is_named_is_there() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert ((DEPLOY / service["build"]["context"]).resolve() / service["build"]["dockerfile"]).is_file()
        for mounted in service.get("volumes", ()):
            source = mounted.partition(":")[0]
            assert source.startswith("${") or source in COMPOSE["volumes"] or (DEPLOY / source).is_file(), mounted
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_the_image_is_made_of_what_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(re.findall(r"\.\[([a-z,]+)\]", text)[0].split(","))
    assert extras <= set(project["optional-dependencies"])
    base = re.search(r"^FROM python:(\d+\.\d+)-slim$", text, re.MULTILINE)[1]
    assert base in project["requires-python"]


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_option_exists(name: str) -> None:
    words = SERVICES[name]["command"]
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    plain = [word for word in words if not word.startswith(("--", "${"))]
    command = [str(Path(sys.executable).with_name(plain[0])), *plain[1:], "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout
    assert options and all(re.search(rf"{option}\b", shown) for option in options), (options, shown)


def test_nothing_is_open_to_others_and_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY", variable):
                assert re.fullmatch(r"\$\{[A-Z_]+(:[-?].*)?\}", value), variable


def test_what_serves_is_an_ordinary_user_who_may_write_to_its_project_alone() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER secateur"]
    assert not [line for line in lines[lines.index("USER secateur") :] if line.startswith(("RUN ", "COPY "))]
    serving = SERVICES["serving"]
    assert (serving["read_only"], serving["cap_drop"], serving["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert serving["security_opt"] == ["no-new-privileges:true"]
    assert [mounted.rpartition(":")[2] for mounted in serving["volumes"]] == ["/project"]
    assert "user" not in serving
    assert "privileged" not in serving
