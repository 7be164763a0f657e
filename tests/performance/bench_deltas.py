"""`make bench-deltas`: what the edits of a repository's history take: whole, as zstd, against the version before, and
as the store keeps them: against the last one that it kept whole.

usage: bench_deltas.py [REPOSITORY]

Every modified file of every commit of the first-parent history (this repository's without an argument) is one edit.
`larger than a chunk` are the edits for which where a chunk ends matters at all: the others are one chunk before and
after. CPU us an edit is that of encoding against another version. Of files larger than a chunk only the first is kept
here. Prints a table; writes $WEIR_HOME/bench/deltas/latest.json.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard
from report import environment, figure, write

from app.core import deltas

ROOT = Path(__file__).resolve().parents[2]
CHUNK_BYTES = 128 * 1024
LEVEL = 3


def edits(repository: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the path, and the object names of its content before and after, of each edit."""
    command = ["git", "-C", str(repository), "log", "--reverse", "--first-parent", "--format=", "--raw", "--no-abbrev"]
    for line in subprocess.run(
        [*command, "--no-renames"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines():
        head, _, path = line.partition("\t")
        fields = head.split()
        if line.startswith(":100") and fields[4] == "M":
            yield path, fields[2], fields[3]


class Objects:
    """Contents by object name, from one git process."""

    def __init__(self, repository: Path) -> None:
        self._git = subprocess.Popen(
            ["git", "-C", str(repository), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def content(self, name: str) -> bytes:
        assert self._git.stdin is not None
        assert self._git.stdout is not None
        self._git.stdin.write(name.encode() + b"\n")
        self._git.stdin.flush()
        size = int(self._git.stdout.readline().split()[2])
        return self._git.stdout.read(size + 1)[:size]

    def close(self) -> None:
        assert self._git.stdin is not None
        self._git.stdin.close()
        self._git.wait()


def against(before: bytes, after: bytes) -> int:
    known = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if before else None
    return len(zstandard.ZstdCompressor(level=LEVEL, dict_data=known).compress(after))


class Kept:
    """What the store keeps of the edits of each path."""

    def __init__(self) -> None:
        self._wholes: dict[str, bytes] = {}
        self._zstd = zstandard.ZstdCompressor(level=1)
        self.bytes = self.wholes = 0
        self.spent_s = 0.0

    def edit(self, path: str, before: bytes, after: bytes) -> None:
        whole, plain = self._wholes.setdefault(path, before[:CHUNK_BYTES]), after[:CHUNK_BYTES]
        alone = self._zstd.compress(plain)
        since_s = time.thread_time()
        packed = deltas.packed(bytes(32), whole, plain, len(alone)) if whole and len(plain) >= deltas.LEAST_BYTES else None
        self.spent_s += time.thread_time() - since_s
        if packed is None:
            self._wholes[path] = plain
            self.wholes += 1
        self.bytes += len(alone if packed is None else packed)


def main() -> int:
    repository = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    if not (repository / ".git").exists():
        raise SystemExit(f"{repository} is no git repository: name the folder of one")
    begun, objects, plain = environment(), Objects(repository), zstandard.ZstdCompressor(level=LEVEL)
    sizes: list[tuple[int, int, int]] = []
    spent_s, kept = 0.0, Kept()
    for path, before_name, after_name in edits(repository):
        before, after = objects.content(before_name), objects.content(after_name)
        since_s = time.thread_time()
        delta = against(before, after)
        spent_s += time.thread_time() - since_s
        sizes.append((len(after), len(plain.compress(after)), delta))
        kept.edit(path, before, after)
    objects.close()
    if not sizes:
        raise SystemExit(f"{repository} has no commit that modifies a file")
    large = [size for size, _, _ in sizes if size > CHUNK_BYTES]
    found = [
        ("edits", "count", len(sizes)),
        ("whole", "bytes", sum(size for size, _, _ in sizes)),
        ("zstd alone", "bytes", sum(alone for _, alone, _ in sizes)),
        ("zstd against the version before", "bytes", sum(delta for _, _, delta in sizes)),
        ("against the version before", "us CPU an edit", spent_s / len(sizes) * 1e6),
        ("as the store keeps them", "bytes", kept.bytes),
        ("of them whole", "count", kept.wholes),
        ("as the store keeps them", "us CPU an edit", kept.spent_s / len(sizes) * 1e6),
        ("larger than a chunk", "count", len(large)),
        ("larger than a chunk, whole", "bytes", sum(large)),
    ]
    print(f"written to {write('deltas', begun, [figure(n, 'weir', v, None, unit, [v]) for n, unit, v in found])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
