"""The courier tells the store which chunk stood where a new one stands: without it each version is kept whole."""

from app.core.chunks import Extent
from app.core.ids import EMPTY_VERSION
from app.core.operations import Content, FileOperationRequest, Rename, encode_request, kind_of
from app.services.predecessors import ENTRIES_MAX, Predecessors
from app.services.sealing import PlainChunks, Sealer


class Nowhere:
    def get(self, names):
        return {}

    chunks = get


class Sealed:
    def __init__(self):
        self.before, self.sequence = Predecessors(), 0
        self.sealer = Sealer("p", 1, PlainChunks(Nowhere(), Nowhere()), Nowhere(), self.before)

    def seal(self, operation, changes=()):
        self.sequence += 1
        request = FileOperationRequest(self.sequence, 5, kind_of(operation), b"", "a", "s", "t", operation)
        return self.sealer.seal(request, encode_request(request), changes).chunks

    def write(self, inode, base, plain):
        """Return the name of the only chunk, and the version."""
        names = list(self.seal(Content(inode, base, len(plain), 5), [Extent(0, plain)]))
        return names[0], (1, self.sequence)


def test_an_edit_stands_where_the_version_before_stood():
    sealed = Sealed()
    first, version = sealed.write(7, EMPTY_VERSION, b"a" * 600)
    second, version = sealed.write(7, version, b"b" * 600)
    third, _ = sealed.write(7, version, b"c" * 600)
    assert [sealed.before.of(name) for name in (first, second, third)] == [b"", first, second]


def test_a_file_that_is_renamed_over_another_stands_in_its_place():
    """Programs that save a file write a new one and rename it over the old."""
    sealed = Sealed()
    old, _ = sealed.write(7, EMPTY_VERSION, b"a" * 600)
    new, _ = sealed.write(8, EMPTY_VERSION, b"b" * 600)
    assert sealed.before.of(new) == b""
    sealed.seal(Rename(1, b".t", 8, 1, b"f", 7))
    assert sealed.before.of(new) == old


def test_small_chunks_have_none_and_the_oldest_go():
    before = Predecessors()
    before.note({0: (b"old", 9)}, {0: (b"new", 511)})
    before.note({0: (b"", 0)}, {0: (b"new", 600)})
    before.note({0: (b"new", 600)}, {0: (b"new", 600)})
    assert before.of(b"new") == b""
    before.note({i: (b"o%d" % i, 600) for i in range(ENTRIES_MAX + 1)}, {i: (b"n%d" % i, 600) for i in range(ENTRIES_MAX + 1)})
    assert (before.of(b"n0"), before.of(b"n1")) == (b"", b"o1")
