"""Shell text to its canonical form: the simple commands that would run, with resolved words and what they touch.

Reading is abstract interpretation without I/O: what cannot be known becomes a mark in a word (`form.UNKNOWN`),
never a guess.
A form with doubts, or a command with unresolved words, must not be approved by whoever reads it.
"""

from app.core.shell.form import Command, Form, Touch
from app.core.shell.script import canonical

__all__ = ["Command", "Form", "Touch", "canonical"]
