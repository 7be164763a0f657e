"""Options of build tools, converters and filters by which they run, load or print what their operands do not tell.

As hazards.py, which holds the everyday programs: the answer is a doubt in a few words, '' for none.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.embedded import code_facts
from app.core.shell.form import marks_of
from app.core.shell.loading import LOADERS, both, go, loads_from_outside, runs_from_elsewhere
from app.core.shell.places import classify
from app.core.shell.reading import Frame

Hazard = Callable[[list[str], Frame], str]
_SUBSTITUTION: Final = re.compile(r"(?:s|y|tr)(\W)(?:(?!\1).)*\1(?:(?!\1).)*\1[gixsm]*$")
_PERL_CODE: Final = re.compile(r"[@$]\{|\(\?+\{|`")
_PERL_ELSE: Final = re.compile(r"[(`{;$@]|^(?:s|y|tr|eval|do|require|use|system|exec|unlink|qx)\b")
_OWN: Final = "HOME|USER|PWD|PATH|LANG|TERM|SHELL|CI|EDITOR|TZ|OLDPWD"
_JQ_ENVIRONMENT: Final = re.compile(rf"(?<![.\w])\$?(?:env|ENV)\b(?!\.(?:{_OWN})\b)|\$__prog")
_YQ_READS: Final = re.compile(rf"\b(?:load|strload|load_\w+|envsubst|eval|str?env)\s*\(|\benv\s*\((?!(?:{_OWN})\))")
_AWK_ENVIRONMENT: Final = re.compile(rf"\bENVIRON\b(?!\[\"(?:{_OWN})\"\])")
_RUN_MODULES: Final = frozenset(("timeit", "code", "runpy", "pdb", "bdb", "idlelib", "ptpython", "IPython", "invoke"))
_CONNECT: Final = frozenset(("telnetlib", "ftplib", "smtplib", "poplib", "imaplib", "nntplib"))
_SERVE: Final = frozenset(("http.server", "pydoc"))
_LOCAL_HOST: Final = re.compile(r"localhost|127(?:\.\d+){3}|::1")
_MAGICK: Final = ("msl:", "ephemeral:", "mvg:", "text:@", "caption:@", "label:@", "@", "|")
_SENDING: Final = re.compile(r"(?:tcp|udp|rtmps?|ftp|sftp|https?|srt|rtp|rtsp|icecast|tee):")


def options(*names: str) -> Hazard:
    """Return a hazard that is there where a word begins with one of these."""

    def step(words: list[str], _frame: Frame) -> str:
        return "option-runs-or-writes" if any(word.startswith(names) for word in words[1:]) else ""

    return step


def _rename(words: list[str], _frame: Frame) -> str:
    """Perl's rename runs its first operand as code."""
    given = [word for word in words[1:] if not word.startswith("-")][:1]
    evaluated = any(word.startswith("-e") for word in words[1:])
    return "rename-runs-code" if evaluated or any(_evaluates(word) for word in given) else ""


def _evaluates(word: str) -> bool:
    if _SUBSTITUTION.match(word):
        return _PERL_CODE.search(word) is not None
    return _PERL_ELSE.search(word) is not None


def _jq(words: list[str], _frame: Frame) -> str:
    return "prints-environment" if any(_JQ_ENVIRONMENT.search(word) for word in words[1:3]) else ""


def _yq(words: list[str], _frame: Frame) -> str:
    return "prints-environment" if any(_YQ_READS.search(word) for word in words[1:]) else ""


def awk_environment(words: list[str]) -> str:
    """Return the doubt of an awk program that shows the environment."""
    return "prints-environment" if any(_AWK_ENVIRONMENT.search(word) for word in words[1:]) else ""


def _python(words: list[str], _frame: Frame) -> str:
    rest = words[words.index("-m") + 1 :] if "-m" in words[:6] else []
    if not rest:
        return ""
    if rest[0] in _CONNECT and any(word[:1] != "-" for word in rest[1:]):
        return "module-connects"
    if rest[0] in _SERVE and any(_LOCAL_HOST.fullmatch(host) is None for host in _bound(rest)):
        return "module-serves-to-others"
    if rest[0].partition(".")[0] in _RUN_MODULES and code_facts("\n".join(rest[1:])):
        return "python-module-runs-code"
    return ""


def _bound(rest: list[str]) -> list[str]:
    """Return the addresses that a server is bound to by an option."""
    found = [following for word, following in pairwise([*rest, ""]) if re.fullmatch(r"-b|--b(?:ind?)?|-n", word)]
    return found + [word.partition("=")[2] or word[2:] for word in rest if re.match(r"-[bn][^-]|--b\w*=", word)]


def _reads_code(words: list[str], frame: Frame) -> str:
    """An interpreter without a script runs what comes in."""
    return "runs-its-input" if frame.stdin is not None else ""


def _asked(*verbs: str) -> Hazard:
    """Return a hazard of a program that runs what comes in where one of these words is said."""
    known = frozenset(verbs)

    def step(words: list[str], frame: Frame) -> str:
        return "" if frame.stdin is None or known.isdisjoint(words[1:]) else "runs-its-input"

    return step


def _alone(words: list[str], frame: Frame) -> str:
    """An interpreter that is named no script, or `-`, runs what comes in."""
    plain = [word for word in words[1:] if word[:1] != "-" or word == "-"]
    return "runs-its-input" if frame.stdin is not None and plain[:1] in ([], ["-"]) else ""


def _script(words: list[str], frame: Frame) -> str:
    """`script` records a shell, which reads what comes in; its log may be any file."""
    if any(re.match(r"-[a-zA-Z]*[OBI]|--log", word) for word in words[1:]):
        return "option-runs-or-writes"
    told = any(re.match(r"-[a-zA-Z]*c|--c", word) for word in words[1:])
    return "runs-its-input" if frame.stdin is not None and not told else ""


def _pipes(*options_: str) -> Hazard:
    """Return a hazard of an output file that is a command: behind one of these options, glued or not."""

    def step(words: list[str], _frame: Frame) -> str:
        given = [word[len(option) :].lstrip("=") for word in words for option in options_ if word.startswith(option)]
        given += [following for word, following in pairwise(words) if word in options_]
        return "output-is-a-command" if any(value[:1] in {"|", "!"} for value in given if value) else ""

    return step


def _attaches(words: list[str], _frame: Frame) -> str:
    """A tracer that is put on a process that runs, or sends signals; what it starts has options of its own."""
    for before, word in pairwise(words):
        if word[:1] != "-" and before not in _TRACE_VALUES:
            return ""
        if word.startswith(("-p", "--attach")) or (before in _TRACE_VALUES and word.startswith(("inject", "fault"))):
            return "attaches-to-a-process"
    return ""


def _sox(words: list[str], _frame: Frame) -> str:
    return "file-is-a-command" if any(word[:1] == "|" for word in words[1:]) else ""


def _ghostscript(words: list[str], _frame: Frame) -> str:
    runs = any(word.startswith(("-c", "-dNOSAFER")) or "%pipe%" in word for word in words[1:])
    return "option-runs-or-writes" if runs else ""


def _sbt(words: list[str], frame: Frame) -> str:
    """What sbt is told to set is code."""
    sets = any(word.lstrip().startswith(("set ", "eval ")) for word in words[1:])
    return "runs-code" if sets else _alone(words, frame)


def _run_operand(*verbs: str) -> Hazard:
    """Return a hazard of a program behind one of these words that lies outside the project."""

    def step(words: list[str], frame: Frame) -> str:
        rest = words[1:]
        if verbs:
            rest = words[2:] if words[1:2] and words[1] in verbs else []
        named = [word for word in rest if word[:1] in {"/", "~"} or word.startswith("..")]
        here = frame.scope.cwd, frame.scope.project
        return "runs-from-outside" if any(classify(one, *here)[0] != "project" for one in named[:1]) else ""

    return step


def _plugins(words: list[str], frame: Frame) -> str:
    """Linkers, compilers and their kin load, or run, what an option names by a path."""
    for word, following in pairwise([*words[1:], ""]):
        found = _PLUGIN.match(word)
        value = found[1] or following if found is not None else ""
        named = value.rpartition("=")[2]
        if found is not None and (named[:1] in {"/", "~", "."} or "linker=" in value or "extld" in word):
            return "loads-a-plugin"
    return ""


def _transfer(words: list[str], _frame: Frame) -> str:
    if any(word.startswith(("--proto-default", "--proto-def")) for word in words[1:]):
        return "reads-files-as-pages"
    return "host-as-a-number" if any(_ODD_HOST.match(word) for word in words[1:]) else ""


def _ctags(words: list[str], _frame: Frame) -> str:
    return "option-runs-or-writes" if any(word.startswith(("--options", "--xcmd")) for word in words[1:]) else ""


def _compgen(words: list[str], _frame: Frame) -> str:
    if any(word.startswith(("-C", "-F")) for word in words[1:]):
        return "option-runs-or-writes"
    return "words-are-expanded" if any("$" in word or "`" in word for word in words[1:]) else ""


def _cmake(words: list[str], _frame: Frame) -> str:
    if "--install" in words or any(word.startswith("-P/") for word in words):
        return "cmake-installs"
    if "-P" in words[1:-1] and words[words.index("-P") + 1].startswith(("/", "~", "..")):
        return "cmake-runs-a-script"
    return "cmake-runs-a-program" if "-E" in words and {"env", "time", "chdir"} & set(words) else ""


def _magick(words: list[str], _frame: Frame) -> str:
    return "reads-a-script" if any(word.lower().startswith(_MAGICK) for word in words[1:]) else ""


def _ffmpeg(words: list[str], _frame: Frame) -> str:
    return "sends-elsewhere" if words[1:] and _SENDING.match(words[-1]) else ""


def _gradle(words: list[str], frame: Frame) -> str:
    for word in words[1:]:
        path = re.sub(r"^-I|^--init-?s\w*=", "", word)
        if path.startswith(("/", "~", "..")) and classify(path, frame.scope.cwd, frame.scope.project)[0] != "project":
            return "init-script-from-outside"
    return ""


def _hostname(words: list[str], _frame: Frame) -> str:
    return "changes-the-machine" if any(not word.startswith("-") for word in words[1:]) else ""


def _httpie(words: list[str], _frame: Frame) -> str:
    """Httpie sends what its items say; a request to this machine is nobody's business."""
    if any(_HERE.match(word) for word in words[1:]):
        return ""
    sends = any(
        word in _METHODS or _ITEM.match(word) or word.startswith(("--raw", "--form", "-f")) for word in words[1:]
    )
    return "sends-data" if sends else ""


_METHODS: Final = frozenset(("POST", "PUT", "PATCH", "DELETE", "post", "put", "patch", "delete"))
_ITEM: Final = re.compile(r"[\w.-]+(?::?=|:=@|=@|@)|@")
_HERE: Final = re.compile(r"(?:https?://)?(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/]|$)|:\d")
_COMPILER: Final = options(
    "-wrapper", "-fplugin", "-specs", "--specs", "-Xclang", "-fpass-plugin", "-B/", "-B~", "-B.."
)
_ODD_HOST: Final = re.compile(
    r"(?:[a-z]+://)?(?:[^/@\s]*@)?(?:\d{8,}|0x[0-9a-fA-F.]+x?[0-9a-fA-F.x]*|0\d+\.[\d.x]+|\d+\.\d+(?:\.\d+)?"
    r"|\[::f{4}:[^\]]*\])(?::\d+)?(?:[/?#]|\Z)"
)
"""An address that is written otherwise than in four decimal numbers."""
_CONSOLES: Final = """
irb pry jshell ghci erl ocaml utop sbcl clisp guile racket gst octave R groovysh jython bpython ptpython psysh swipl
maxima gap sage scala kotlin janet
"""
_TRACE_VALUES: Final = frozenset(
    ["-e", "-o", "-s", "-u", "-a", "-S", "-E", "-P", "-I", "-b", "-O", "-U", "-X", "--trace", "--inject", "--fault"]
)
_PLUGIN: Final = re.compile(
    r"-{1,2}(?:plugin|extld|C(?=\s*linker|$)|D\w*(?:COMPILER|LAUNCHER|LINKER)\w*|load)(?:[= ]|(?<=C)(?=linker))?(.*)",
    re.DOTALL,
)
_OPTIONS: Final[dict[str, Hazard]] = {
    "pee": _reads_code,
    "script": _script,
    **dict.fromkeys(("strace", "ltrace"), both(_pipes("-o", "--output"), _attaches)),
    **dict.fromkeys(("sox", "play", "rec", "soxi"), _sox),
    "sbt": _sbt,
    "gnuplot": _alone,
    **dict.fromkeys(("pipenv", "poetry", "hatch", "rye", "pdm"), _asked("shell")),
    "flask": _asked("shell"),
    **dict.fromkeys(("rails", "bin/rails"), _asked("console", "c", "runner", "r", "dbconsole", "db")),
    **dict.fromkeys(("jupyter", "ipython"), _asked("console", "-")),
    "php": both(runs_from_elsewhere, _asked("artisan", "tinker")),
    **dict.fromkeys(("terraform", "tofu"), both(_asked("console"), loads_from_outside)),
    **dict.fromkeys(("clojure", "clj", "lein", "swift", "kotlinc"), _alone),
    **dict.fromkeys(("ld", "nm", "ar", "protoc", "gold", "lld"), _plugins),
    "zig": _run_operand("run", "test", "build-exe"),
    "tox": loads_from_outside,
    **dict.fromkeys(("nox", "gunicorn", "uvicorn", "hypercorn"), loads_from_outside),
    "ctest": options("-S", "--script"),
    "rename": _rename,
    "prename": _rename,
    "jq": _jq,
    "yq": _yq,
    **dict.fromkeys(("http", "https", "httpie", "xh", "curlie"), _httpie),
    "yarn": options("-e", "--eval"),
    **dict.fromkeys(("rpm", "rpmbuild", "rpmspec"), options("--eval", "-E", "--define", "-D", "--pipe", "--load")),
    "python": both(_python, _asked("shell", "shell_plus", "dbshell")),
    "cmake": both(_cmake, _plugins),
    **dict.fromkeys(("curl", "wget", "aria2c", "axel"), _transfer),
    **dict.fromkeys(("complete", "compgen"), _compgen),
    "ctags": _ctags,
    **dict.fromkeys([one for one in _CONSOLES.split() if one != "gnuplot"], _reads_code),
    **dict.fromkeys(("ag", "ack", "bat", "delta", "glow"), options("--pager", "--ackrc", "--config-file")),
    **dict.fromkeys(("npm", "pnpm", "npx"), options("--script-shell", "--node-options", "--editor", "--viewer")),
    **dict.fromkeys(
        ("latex", "pdflatex", "xelatex", "lualatex", "luatex", "tex", "pdftex", "xetex", "latexmk", "tectonic"),
        options("--shell-esc", "-shell-esc", "-enable-write18", "--enable-write18", "-Z", "-pdflatex=", "-e"),
    ),
    "crystal": options("eval"),
    "ghc": options("-e", "-pgmF", "-pgm"),
    "helm": options("--post-renderer"),
    **dict.fromkeys(("npx", "bunx", "pnpx", "uvx", "pipx"), runs_from_elsewhere),
    "kustomize": options("--enable-exec", "--enable-alpha"),
    "fzf": options("--bind", "--listen"),
    "gs": _ghostscript,
    "openssl": options("-engine", "-provider"),
    "exiftool": options("-config", "-execute"),
    "pylint": options("--init-hook", "--load-plugins"),
    **dict.fromkeys(("convert", "magick", "montage", "compare", "identify", "mogrify", "composite"), _magick),
    "ffmpeg": _ffmpeg,
    **dict.fromkeys(("gradle", "./gradlew"), _gradle),
    **dict.fromkeys(("gcc", "g++", "cc", "c++", "clang", "clang++", "gfortran"), _COMPILER),
    **dict.fromkeys(("deno", "bun"), both(runs_from_elsewhere, _asked("-"))),
    "node": runs_from_elsewhere,
    **dict.fromkeys(("ts-node", "tsx"), both(runs_from_elsewhere, _alone)),
    "dotnet": both(loads_from_outside, both(_asked("fsi"), _run_operand())),
    "go": both(
        go,
        _plugins,
        _run_operand("run"),
        options("-exec", "--exec", "-toolexec", "--toolexec", "-vettool", "--vettool"),
    ),
    "cargo": both(options("--config"), _plugins),
    "rustc": both(_plugins, options("-Clinker=", "-Zcodegen-backend")),
    "mvn": options("-Dexec.", "-Dant."),
    "bazel": options("--run_under", "--workspace_status_command", "--bazelrc"),
    "mix": both(options("-e", "--eval", "eval", "cmd"), _asked("-")),
    "elixir": both(options("-e", "--eval", "--rpc-eval", "-r", "--erl"), _alone),
    "iex": both(options("-e", "--eval", "--rpc-eval", "-r", "--erl"), _reads_code),
    **dict.fromkeys(("mapfile", "readarray"), options("-C")),
    "hash": options("-p"),
    "bind": options("-x"),
    "date": options("-s", "--set"),
    "hostname": _hostname,
    "ninja": options("-f/", "-f~"),
    "asciinema": options("-c", "--command"),
    "envsubst": options("${", "$"),
    "pytest": options("-p/", "--rootdir=/", "-c/", "--confcutdir=/"),
}
TOOL_HAZARDS: Final[dict[str, Hazard]] = {
    "find": lambda words, _frame: "option-unknown" if any(word[:1] == "-" and marks_of(word) for word in words) else "",
    "printf": lambda words, _frame: (
        "array-by-index" if any(one == "-v" and "[" in name for one, name in pairwise(words)) else ""
    ),
    "jobs": lambda words, _frame: "runs-a-command" if any(word[:1] == "-" and "x" in word for word in words) else "",
    **dict.fromkeys(LOADERS, loads_from_outside),
    **{name: both(step, loads_from_outside) if name in LOADERS else step for name, step in _OPTIONS.items()},
}
