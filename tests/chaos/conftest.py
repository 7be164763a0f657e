"""The outside witnesses: tests are collected by path, so a module beside them comes as a fixture."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def witness():
    """The outside witnesses (tests are collected by path, so modules beside them come as fixtures)."""
    spec = importlib.util.spec_from_file_location("witness", Path(__file__).with_name("witness.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["witness"] = module
    spec.loader.exec_module(module)
    return module
