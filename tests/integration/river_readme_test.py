"""The README's commands work as written: a newcomer who types them sees no error."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands() -> str:
    """Return the README's shell blocks without the make lines (up, down and test are what runs this)."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("make ")]
    return "\n".join(lines)


@pytest.mark.timeout(200)
def test_the_readme_does_what_it_says(stack, tmp_path: Path) -> None:
    for name in (".venv", "docs"):
        os.symlink(ROOT / name, tmp_path / name)
    os.symlink(stack.mount, tmp_path / "mnt")
    ran = subprocess.run(["bash", "-euxo", "pipefail", "-c", commands()], cwd=tmp_path, env=stack.environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "hello.txt" in ran.stdout
    assert "block" in ran.stdout
    assert re.search(r"^hello river$", ran.stdout, re.MULTILINE), "the second mount shows the first one's file"
    assert (stack.current / "docs" / "protocol.md").read_bytes() == (ROOT / "docs" / "protocol.md").read_bytes()


def test_a_python_program_validates_in_two_lines(stack) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) == 2
    program = f"{block}print(decision.verdict, decision.layer)"
    ran = subprocess.run([ROOT / ".venv/bin/python", "-W", "ignore::ResourceWarning", "-c", program], cwd=ROOT, env=stack.environ, capture_output=True, text=True)
    assert ran.stdout.split()[:1] == ["approve"], ran.stdout + ran.stderr
    assert not ran.stderr


def test_every_page_that_the_readme_names_is_there() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
