"""Takes compiled code where it was built, as the gateway does at its start: to be imported before what it measures."""

from config import compiled

AS_C = compiled.take(part=compiled.JUDGING) and compiled.take(part=compiled.ANSWERING)
