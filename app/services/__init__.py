"""Use cases: the order of I/O, written against app.ports."""
