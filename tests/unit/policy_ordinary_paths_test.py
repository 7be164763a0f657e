"""The short way to a path's classes tells the same as the whole way: a name that means something is never 'just a file'."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.shell.known_paths import AGENT_PARTS, PERSISTENT, SECRET_NAMES, SECRET_PARTS, SECRET_SUFFIXES, SECRETS
from app.core.shell.places import classify, classify_slowly

_ORDINARY = ["src", "app.py", "5", "a-b_c", "README", "x", "tests", "v1.2.3", "x.git", "Makefile", "cafe.env.md"]
_MEANT = sorted(
    {part for path in (*SECRETS, *PERSISTENT, *SECRET_NAMES) for part in path.split("/") if part}
    | set(SECRET_PARTS)
    | set(AGENT_PARTS)
    | {"config", "policies", "flags.toml", "gateway.sock", "mnt", "current", "hooks", ".git", ".weir", "..", ".", "~"}
    | {f"x{suffix}" for suffix in SECRET_SUFFIXES}
    | {"*", "s?crets", "$x", "é", "a b", "", "etc", "tmp", "proc", "self", "environ", "home", "dev"}
)
_PART = st.one_of(st.sampled_from(_ORDINARY), st.sampled_from(_MEANT), st.text("ab.-_*/~9", max_size=5))
_PATH = st.lists(_PART, min_size=1, max_size=4).map("/".join)
_FOLDER = st.one_of(
    st.sampled_from(["", "/", "/srv/project", "/home/dev/project", "/root/p", "~/p", "/etc", "/tmp", "/tmp/x", "/a/b"]),
    st.lists(_PART, max_size=3).map(lambda parts: "/srv/project/" + "/".join(parts)),
    st.lists(_PART, max_size=3).map(lambda parts: "/home/dev/" + "/".join(parts)),
)


@given(_PATH, _FOLDER, st.one_of(st.just(""), _FOLDER))
def test_no_path_is_taken_for_an_ordinary_one_that_the_whole_way_finds_to_be_special(
    path: str, cwd: str, project: str
) -> None:
    assert classify(path, cwd, project) == classify_slowly(path, cwd, project)
