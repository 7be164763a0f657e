"""Journals of mounts and imports, and the gateway's spool: framed, append-only files (docs/protocol.md, section 2)."""
