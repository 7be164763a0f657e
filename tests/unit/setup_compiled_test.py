"""Compiled code is taken only where it was built of the very sources that lie there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from config import compiled

MODULES = (*compiled.JUDGING.modules, *compiled.ANSWERING.modules)


def tree(folder: Path, source: str = "x = 1\n") -> Path:
    (folder / "app" / "core").mkdir(parents=True)
    (folder / "app" / "core" / "a.py").write_text(source)
    (folder / "requirements.lock").write_text("mypy==1\n")
    return folder


def test_a_build_is_found_by_all_that_went_into_it(tmp_path):
    one, same = tree(tmp_path / "one"), tree(tmp_path / "same")
    assert compiled.folder(one) == compiled.folder(same)
    (same / "app" / "core" / "a.py").write_text("x = 2\n")
    changed = compiled.folder(same)
    (same / "requirements.lock").write_text("mypy==2\n")
    assert len({compiled.folder(one), changed, compiled.folder(same)}) == 3


def test_without_a_build_or_with_the_flag_off_the_sources_are_read(tmp_path):
    assert not compiled.take({}, tmp_path / "none")
    assert not compiled.take({"WEIR_FLAGS": "compiled_judging=off"}, tmp_path)
    assert not compiled.taken()


def in_a_process(code: str) -> str:
    begun = "import sys, pathlib; from config import compiled; "
    done = subprocess.run([sys.executable, "-c", begun + code], cwd=compiled.ROOT, capture_output=True, text=True)
    return done.stderr or done.stdout


def test_a_build_that_is_not_whole_ends_the_process_instead_of_mixing_its_code_with_sources(tmp_path):
    code = f"assert compiled.take({{}}, pathlib.Path({str(tmp_path)!r})); import app.core.shell"
    assert "ImportError" in in_a_process(code)


def test_who_has_read_one_of_the_sources_goes_on_with_the_sources(tmp_path):
    code = f"import app.core.shell.form; print(compiled.take({{}}, pathlib.Path({str(tmp_path)!r})))"
    assert in_a_process(code) == "False\n"


def test_a_process_that_maps_no_build_is_told_to_judge_by_the_sources():
    assert not compiled.runs_in(os.getpid())
    assert compiled.standing({"WEIR_FLAGS": "compiled_judging=off"}).startswith("the sources: the flag")


def test_what_is_to_be_compiled_exists_and_what_lets_threads_run_is_not_among_it():
    missing = [name for name in MODULES if not (compiled.ROOT / f"{name.replace('.', '/')}.py").is_file()]
    assert missing == []
    assert "app.core.policy.pace" not in MODULES


def test_what_is_built_in_from_other_modules_counts_as_a_source():
    """A constant of a module that is not compiled stands in the build as it was when it was compiled."""
    for part in (compiled.JUDGING, compiled.ANSWERING):
        folders = [compiled.ROOT / folder for folder in part.sources]
        for name in part.modules:
            source = (compiled.ROOT / f"{name.replace('.', '/')}.py").read_text()
            imported = re.findall(r"^from (app[\w.]*) import", source, re.MULTILINE)
            places = [compiled.ROOT / module.replace(".", "/") for module in imported]
            assert [p for p in places if not any(p.is_relative_to(folder) for folder in folders)] == [], name


def test_no_module_that_is_compiled_defines_what_is_sent_or_decoded():
    """Compiled, a struct keeps neither its class's keywords nor the types of its fields: one that is an array on the
    wire would become a map, and its hash another; its decoder would take anything.
    """
    sources = {
        path.name: path.read_text()
        for path in (compiled.ROOT / f"{name.replace('.', '/')}.py" for name in MODULES)
    }
    assert [name for name, source in sources.items() if "msgspec.Struct" in source] == ["match.py"]
    assert [name for name, source in sources.items() if "array_like" in source or "tag=" in source] == []
