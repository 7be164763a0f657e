"""Environment variables by which programs run, load or believe something else.

Names are endless, so a name counts by how it ends, and then its value must look harmless: a word, digits, a path of the
project, options that are known. Any other name may hold what it likes, but not a command line.
"""

import re
from typing import Final

from app.core.shell.form import Command, marks_of
from app.core.shell.places import classify
from app.core.shell.reading import Frame, Reading
from app.core.shell.runners import acts

_NEVER_TEXT: Final = """
LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH LESSOPEN LESSCLOSE LESSKEY LESSKEYIN LESSKEY_CONTENT LUA_INIT VIMINIT EXINIT
BASH_ENV PROMPT_COMMAND PERL5OPT PERL5DB PERL5LIB PERLLIB RUBYOPT RUBYLIB PYTHONSTARTUP PYTHONHOME SHELLOPTS BASHOPTS
GCONV_PATH TAPE TAR_OPTIONS RSYNC_RSH GCC_EXEC_PREFIX COMPILER_PATH MAKEFILES GIT_SSH GIT_EXTERNAL_DIFF
GIT_PROXY_COMMAND GIT_EXEC_PATH GIT_ASKPASS GIT_DIR GIT_COMMON_DIR GIT_TEMPLATE_DIR SSH_ASKPASS SUDO_ASKPASS
KUBECTL_EXTERNAL_DIFF
CDPATH OLDPWD DOTNET_STARTUP_HOOKS OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES NPM_CONFIG_REGISTRY PIP_INDEX_URL
PIP_EXTRA_INDEX_URL UV_INDEX_URL UV_DEFAULT_INDEX HOME BROWSER R_PROFILE R_PROFILE_USER R_ENVIRON PHPRC
PHP_INI_SCAN_DIR HGRCPATH RIPGREP_CONFIG_PATH AWS_CONFIG_FILE OPENER LESSEDIT
XDG_CONFIG_HOME XDG_CONFIG_DIRS SUNPRO_DEPENDENCIES DEPENDENCIES_OUTPUT FFREPORT UNZIP ZIPOPT ZIP
PIP_BREAK_SYSTEM_PACKAGES CYPRESS_INSTALL_BINARY DOCKER_HOST DOCKER_CONTEXT
"""
_NEVER: Final = frozenset(_NEVER_TEXT.split())
_NEVER_BEGINNINGS: Final = ("DYLD_", "GIT_CONFIG", "WEIR_", "BASH_FUNC_", "LD_", "LUA_INIT")
_NPM: Final = re.compile(
    r"npm_config_(?:script_shell|shell|global|prefix|node_options|registry|userconfig|globalconfig|git|editor|viewer)",
    re.IGNORECASE,
)
_OTHERS_PROXY: Final = re.compile(r"(?:https?|all|ftp|npm_config_(?:https?_)?)_?proxy", re.IGNORECASE)
_PAGERS: Final = re.compile(r"(?:(?:cat|less|more|most|bat|true|:)(?: -[FRXSKMiqe]+)*)?")
_EDITORS: Final = re.compile(r"(?:(?:true|:|cat|vi|vim|nvim|nano|emacs|code|ed|pico|micro|hx)(?: --?w(?:ait)?)?)?")
_VALUES: Final = {
    **dict.fromkeys(("PAGER", "GIT_PAGER", "MANPAGER", "SYSTEMD_PAGER", "AWS_PAGER", "GH_PAGER", "BAT_PAGER"), _PAGERS),
    **dict.fromkeys(("EDITOR", "VISUAL", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "KUBE_EDITOR"), _EDITORS),
    "LESS": re.compile(r"-?[FRXSKMiqe]*"),
    "ENV": re.compile(r"[a-z_-]*"),
    "PS4": re.compile(r"(?!.*\$\()[^`]*", re.DOTALL),
    "GIT_SSH_COMMAND": re.compile(
        r"ssh(?: -v+)*(?: -o (?:StrictHostKeyChecking|BatchMode|ConnectTimeout|IdentitiesOnly)=\w+)*"
    ),
    "GOPROXY": re.compile(r"direct|off"),
    "HISTFILE": re.compile(r"(?:/dev/null)?"),
    "PYTHONBREAKPOINT": re.compile(r"0?"),
}
"""What these may hold."""
_TELLS: Final = re.compile(
    r"(?:OPTS?|OPTIONS|FLAGS|ARGS|ADDOPTS|LIB|PATH|INIT|RC|RCFILE|EDITOR|PAGER|CONFIG|CONFIG_FILE|CONF|HOME|SHELL|COMMAND"
    r"|CMD|HOOKS?|PLUGINS?|PRELOAD|WRAPPER|LAUNCHER|RUNNER|ASKPASS|RSH|SSH|BROWSER|DIFF|LINKER|COMPILER|PROGRAM|EXEC"
    r"|MODULES?|STARTUP|REQUIRE|AGENT|PROXY|REGISTRY|INDEX|INDEX_URL|FIND_LINKS|OPEN|PROFILER?|EXECUTABLE|BIN|INTERPRETER|LOADER"
    r"|LIBRARY|TOOLCHAIN|TOOLCHAIN_FILE|BREAKPOINT|PREFIX|USERBASE|DIFFTOOL|MERGETOOL|HELPER|FSMONITOR|TUNABLES|SCRIPT)\Z"
    r"|^(?:CC|CXX|CPP|LD|AR|AS|FC|F77|RUSTC|RUSTDOC|RUSTC_\w+|HOSTCC|MAKE|GIT_(?!AUTHOR_|COMMITTER_)\w+|NPM_CONFIG_\w+"
    r"|(?:TF_CLI|CORECLR|COR|ANSIBLE|PIP|UV|BUNDLE|COMPOSER|CARGO_(?:BUILD|TARGET|PROFILE))_\w+)\Z",
    re.IGNORECASE,
)
"""Names that say that a program takes code, options, or the place of either from them."""
_ANYWHERE: Final = frozenset(("PATH", "PYTHONPATH", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", *_VALUES))
"""Besides the `_NEVER`: what is in the environment already, so that an assignment alone changes it for programs."""
_WORD: Final = re.compile(r"[\w.,:@%+=*-]+(?:/[\w.,:@%+=*-]+)*/?")
_OPTION: Final = re.compile(
    r"-X(?:ms|mx|ss)\d+\w?|-XX:[+-]\w+|-XX:\w+=\d+\w?|-ea|-Dfile\.encoding=[\w-]+|-Djava\.awt\.headless=\w+"
    r"|-O\w?|-g\d?|-W(?![lap],)[\w=+-]+|-w|-D\w+(?:=\w[\w.]*)?|-std=[\w+]+|-m(?:arch|tune)=[\w-]+|-m(?:32|64)|-fPIC|-fPIE"
    r"|-f(?:sanitize|no|stack|omit|strict|visibility|exceptions|diagnostics)[\w=,-]*|-pthread|-static|-s|-j\d*|-k|-v+|-q+"
    r"|--max[_-]old[_-]space[_-]size=\d+|--no-[\w-]+|--trace-[\w-]+|--openssl-legacy-provider|--enable-source-maps|-C"
    r"|--experimental-(?!loader)[\w-]+|target-(?:cpu|feature)=[\w+-]+|opt-level=\w|debuginfo=\d|link-dead-code|-p\d|-race"
    r"|-count=\d+|-mod=(?:mod|vendor|readonly)|-tags=[\w,]+|--color=\w+|--tb=\w+|-x|-[DAW]|warnings|\d+|auto|-l\w+"
)
"""Options that run and load nothing."""
_COMPILER: Final = re.compile(
    r"(?:s?ccache |distcc )?(?:[\w.]+-)*(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|gfortran|ld|ar|as|cpp|tcc"
    r"|rustc|emcc|lld|mold|s?ccache)(?:-\d+(?:\.\d+)*)?(?: -m(?:32|64))?"
)
_PROMPTS: Final = frozenset(("PS1", "PS2", "RPROMPT", "PROMPT"))
_EXPANDS: Final = re.compile(r"\$[({]|`")
_LOCAL: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/].*)?")


def note_environment(reading: Reading, span: tuple[int, int], frame: Frame, name: str, value: str) -> None:
    """Note an assignment that changes for later programs what they load: the variable is in the environment already."""
    if (name in _NEVER or name in _ANYWHERE or name.startswith(_NEVER_BEGINNINGS)) and _carries(name, value, frame):
        _note(reading, span, frame, name, value)


def note_given(reading: Reading, span: tuple[int, int], frame: Frame, name: str, value: str) -> None:
    """Note a variable that is put into the environment and makes a program run or load something else."""
    if not value and name != "PATH":
        return
    if _carries(name, value, frame):
        _note(reading, span, frame, name, value)
    elif (_EXPANDS.search(value) is not None and name not in _PROMPTS) or (" " in value and acts(value)):
        reading.doubt("argument-is-a-command")


def _note(reading: Reading, span: tuple[int, int], frame: Frame, name: str, value: str) -> None:
    words = ("export", f"{name}={value}")
    reading.emit(Command("export", words, frame.wrappers, span, frozenset(("loader-environment",))))


def _carries(name: str, value: str, frame: Frame) -> bool:
    if name in _NEVER or name.startswith(_NEVER_BEGINNINGS):
        return bool(value) and not (name == "BROWSER" and value in {"none", "true", ":"})
    if _NPM.fullmatch(name) is not None:
        return bool(value)
    if _OTHERS_PROXY.fullmatch(name) is not None:
        return bool(value) and _LOCAL.fullmatch(value if "://" in value else f"http://{value}") is None
    if name == "PATH":
        return True  # nothing too is another place to find `ls` in
    accepted = _VALUES.get(name)
    if accepted is not None:
        return accepted.fullmatch(value) is None
    return _TELLS.search(name) is not None and not _harmless(value, frame)


def _harmless(value: str, frame: Frame) -> bool:
    """Digits, a word, compilers, known options, folders and files of the project."""
    if _COMPILER.fullmatch(value) is not None or _LOCAL.fullmatch(value) is not None:
        return True
    if marks_of(value) or acts(value):
        return False
    return all(_is_tame(part, frame) for part in value.split())


def _is_tame(part: str, frame: Frame) -> bool:
    if part.startswith("-"):
        return _OPTION.fullmatch(part) is not None
    scope = frame.scope
    if scope.contents(part):
        return False
    named = part.rpartition("=")[2]  # `linker=/tmp/x`
    if named != part and (named[:1] in {"/", "~"} or ".." in named or "linker" in part):
        return "linker" not in part and classify(named, scope.cwd, scope.project)[0] == "project"
    if part.startswith("/") or ".." in part:
        return all(classify(one, scope.cwd, scope.project)[0] == "project" for one in part.split(":") if one)
    return _WORD.fullmatch(part) is not None and "://" not in part
