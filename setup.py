"""The wheel carries the full form of a project, which lies beside the package, inside it; see pyproject.toml."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["secateur*"]), "secateur.flows", "secateur.tasks"],
    package_dir={"secateur.flows": "flows", "secateur.tasks": "tasks"},
)
