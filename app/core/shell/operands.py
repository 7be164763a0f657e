"""One touch, and the operands of a command line: what every table of touches is made from."""

from typing import Final

from app.core.shell.form import Touch, as_glob
from app.core.shell.places import classify
from app.core.shell.reading import Frame

_VALUES: Final = {
    "mkdir": "-m --mode",
    "touch": "-d -t -r --date --reference",
    "truncate": "-s -r --size",
    "install": "-m -o -g -S --mode --owner --group",
    "cp": "-S --suffix",
    "mv": "-S --suffix",
    "ln": "-S --suffix",
    "tee": "",
    "mknod": "-m",
    "mkfifo": "-m",
    "shred": "-n -s",
    "fallocate": "-l -o",
    "split": "-b -l -n -a",
    "rsync": "-e --rsh --exclude --include --filter",
    "scp": "-P -i -F -o -c -J -l",
    "chmod": "",
    "sed": "-e -f -E",
    "head": "-n -c",
    "tail": "-n -c",
    "cut": "-d -f -c -b",
    "sort": "-k -t -S",
    "cpio": "-C -D -E -F -H -I -M -O -R --block-size --directory --file --format --owner --pattern-file",
    "zip": "-b -i -n -t -tt -x -P",
}


def touch(access: str, path: str, frame: Frame) -> Touch:
    """Return a touch with the classes of its path."""
    path = as_glob(path)
    return Touch(access, path, classify(frame.scope.pointed(path), frame.scope.cwd, frame.scope.project))


def operands_of(program: str, words: list[str]) -> list[str]:
    """Return the words that are neither options nor values of options."""
    values = _VALUES.get(program, "")
    found: list[str] = []
    options, skip = True, False
    for word in words[1:]:
        if skip:
            skip = False
        elif options and word == "--":
            options = False
        elif options and word.startswith("-") and word != "-":
            skip = bool(values) and word in values.split()
        else:
            found.append(word)
    return found
