"""Sub-commands of package tools that run a program by name, and commands that hide in an argument of any program.

`npx eslint` is the tool's own business; where the name is one of the system's programs (`npx rm`), that is followed.
"""

from typing import Final

from app.core.shell.follow import Span, inside
from app.core.shell.names import CODERS, PREFIXES, SHELLS, program_of
from app.core.shell.reading import Frame, Reading
from app.core.shell.touches import CHANGERS, DELETERS, LISTERS, PATTERN_FIRST, QUIET, READERS, WRITERS
from app.core.shell.written import FETCHERS

_VERBS: Final = {
    "npx": ("",),
    "bunx": ("",),
    "pnpx": ("",),
    "uvx": ("",),
    "npm": ("exec", "x"),
    "pnpm": ("exec", "dlx"),
    "yarn": ("exec", "dlx", "run"),
    "bun": ("x",),
    "composer": ("exec",),
    "dune": ("exec",),
    "pipx": ("run",),
    "deno": ("task",),
}
_VALUES: Final = frozenset(("-p", "--package", "-w", "--workspace", "--from", "--with", "--spec", "--python", "--root"))
_SYSTEM: Final = (
    CHANGERS | DELETERS | LISTERS | PATTERN_FIRST | QUIET | READERS | WRITERS | SHELLS | FETCHERS | frozenset(PREFIXES)
    | frozenset(("cp", "mv", "ln", "dd", "find", "xargs", "git", "docker", "kubectl", "env", "sudo", "su", "kill"))
) - {"code", "http", "delta", "aws", "test"}
_ACTORS: Final = (
    SHELLS
    | DELETERS
    | frozenset(CODERS) - {"node", "expect", "julia"}
    | frozenset(
        """dd sudo doas curl wget nc ncat socat ssh scp mkfs chmod chown eval shutdown reboot crontab systemctl xargs
        nohup busybox mv""".split()
    )
)
_TELLS: Final = (
    QUIET
    | PATTERN_FIRST
    | LISTERS
    | SHELLS
    | frozenset(CODERS)
    | frozenset(
        """git gh glab jj hg svn find fd pytest notify-send dunstify logger say spd-say espeak cowsay figlet toilet
        lolcat wall write mail tr cut sort column fold tmux screen apropos man tldr cheat npm yarn pnpm""".split()
    )
)


def runs_package(reading: Reading, words: list[str], frame: Frame, span: Span) -> str | None:
    """Follow `npx rm -rf /`; the launcher itself is kept as a command in any case."""
    index = 1
    verbs = _VERBS[words[0]]
    if verbs != ("",):
        if len(words) < 2 or words[1] not in verbs:
            return None
        index = 2
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in _VALUES else 1
    name = words[index] if index < len(words) else ""
    if " " in name or program_of(name) in _SYSTEM:
        reading.run_words(reading, words[index:], inside(frame, words[0], span), span)
    return None


def smuggles(program: str, words: list[str]) -> bool:
    """Tell whether an argument reads like a command line of a program that acts: `go test -exec 'rm -rf /'`."""
    if program in _TELLS:
        return False
    return any(" " in word and acts(word) for word in words[1:])


def acts(word: str) -> bool:
    """Tell whether a text begins with a program that acts, behind an option's name or not."""
    head = word.split(None, 1)[:1]
    return bool(head) and program_of(head[0].rpartition("=")[2].lstrip("!.\\'\"")) in _ACTORS
