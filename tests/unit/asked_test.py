"""If this fails, `weir status` beside something that hangs prints its answer and then dies of a signal."""

import subprocess
import sys

import pytest

ENDING = """
import atexit, time
from app.services.asked import Asked, leave
asked = Asked(lambda: time.sleep({takes_s}))
print(asked.within(0.05))
atexit.register(print, "whole end")
leave(3)
"""


@pytest.mark.parametrize(("takes_s", "said"), [(30, "None\n"), (0, "None\nwhole end\n")])
def test_a_process_ends_with_its_code_and_words_and_waits_for_nobody(takes_s: int, said: str) -> None:
    code = ENDING.format(takes_s=takes_s)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (3, said), done.stderr
