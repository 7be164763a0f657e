"""Flags and positions of a command line: clusters (`-rf`), long names and their beginnings, sub-commands after
global options.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from app.core.policy.verbs import CHANGE, kind_of

_GLOBAL_VALUES: Final = {
    "git": "-C -c --git-dir --work-tree --namespace --exec-path --super-prefix --config-env",
    "docker": "-H --host -c --context --config -l --log-level -f --file -p --project-name --profile --env-file",
    "docker compose": "-f --file -p --project-name --profile --env-file --project-directory",
    "kubectl": "-n --namespace --context --cluster --user --kubeconfig -s --server --token --as --as-group"
    " --cache-dir --certificate-authority --request-timeout",
    "helm": "-n --namespace --kube-context --kubeconfig",
    "aws": "--profile --region --output --endpoint-url --query --ca-bundle",
    "gcloud": "--project --account --configuration --format --zone --region",
    "az": "--subscription -g --resource-group -o --output --query",
    "terraform": "",
    "npm": "--prefix -w --workspace --userconfig --registry -C",
    "pnpm": "-C --dir --filter -F",
    "yarn": "--cwd",
    "gh": "-R --repo",
    "cargo": "--manifest-path --config -Z -C --color",
    "systemctl": "-t --type -H --host -M --machine -n -o",
    "make": "-C -f -j -I --directory --file --makefile",
    "uv": "--project --directory --config-file --cache-dir",
    "pip": "--cache-dir --log --proxy --index-url --python",
    "redis-cli": "-h -p -a -n -u -s",
    "vault": "",
    "heroku": "-a --app",
    "go": "-C",
    "tmux": "-L -S -f",
    "brew": "",
    "apt": "-o -c -t",
    "apt-get": "-o -c -t",
    "weir": "",
}
VALUES: Final = {name: frozenset(text.split()) for name, text in _GLOBAL_VALUES.items()}
_PREFIX_MIN: Final = 3


class Line:
    """The parts of one command line, computed once: `flags` as met, `positions` without options.

    `unsure`: an option of unknown arity stands before the sub-command and a word that changes something behind it:
    `x --name list delete y` may list or delete.
    """

    __slots__ = ("flags", "long", "positions", "unsure")

    def __init__(self, program: str, words: tuple[str, ...]) -> None:
        flags: set[str] = set()
        positions: list[str] = []
        values = VALUES.get(program)
        ended = skip = long = guessed = False
        for word in words[1:]:
            if skip:
                skip = False
            elif ended or not word.startswith("-") or word == "-":
                if positions or not word.startswith("+") or program != "cargo":
                    positions.append(word)
            elif word == "--":
                ended = True
            else:
                flags.update(flags_of(word))
                long = long or word[1] == "-"
                skip = values is not None and not positions and word in values
                guessed = guessed or not (positions or skip or "=" in word)
        self.unsure = guessed and len(positions) > 1 and any(kind_of(word) == CHANGE for word in positions[1:])
        self.flags = flags
        self.long = long
        self.positions = positions

    def _begins(self, name: str) -> bool:
        return any(
            len(given) >= _PREFIX_MIN and given.startswith("--") and name.startswith(given) for given in self.flags
        )

    def has(self, name: str, *, strict: bool) -> bool:
        """Tell whether a flag is given; `strict` also takes an unambiguous beginning of a long name for it."""
        if name in self.flags:
            return True
        return strict and name.startswith("--") and self._begins(name)

    def any_of(self, wanted: Iterable[str], *, strict: bool) -> bool:
        """Tell whether at least one flag is given."""
        if not self.flags:
            return False
        if not self.flags.isdisjoint(wanted):
            return True
        return strict and self.long and any(name.startswith("--") and self._begins(name) for name in wanted)


@lru_cache(maxsize=4096)
def flags_of(word: str) -> tuple[str, ...]:
    """Return the names that one option word gives: `-rf` gives -rf, -r and -f, `--a=b` gives --a and --a=b, and what
    begins with `--list-` or `--help-` also gives `--list-*` or `--help-*`.
    """
    if word.startswith("--"):
        name, sign, _ = word.partition("=")
        given = (name, word) if sign else (word,)
        return (*given, f"{name[:7]}*") if name.startswith(("--list-", "--help-")) else given
    if len(word) == 2 or len(word) > 24:
        return (word[:2], word)
    name, sign, _ = word.partition("=")
    letters = [f"-{letter}" for letter in name[1:] if letter.isalnum()]
    return (word, *letters, name) if sign else (word, *letters)
