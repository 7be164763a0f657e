"""Generated secrets: made once, 0600, by whichever process asks first; imports nothing of ours."""

import contextlib
import os
import secrets
from pathlib import Path


def secret_bytes(path: Path) -> bytes:
    """Return the 32 random bytes kept at `path`, made on first use."""
    return bytes.fromhex(secret_text(path))


def secret_text(path: Path) -> str:
    """Return the 64 random hex digits kept at `path`, made on first use; all processes get the same."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # unlike rename, link never replaces what another process made meanwhile
        fresh.unlink()
    return path.read_text().strip()
