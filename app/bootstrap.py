"""The composition root: the only module that names concrete adapters.

One function a process or service; adapters are imported inside it, so that each process loads only what it
needs. Nothing is opened at import: pools and clients are opened by the caller's process, after any fork.
"""
