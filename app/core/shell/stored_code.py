"""Stored scripts in other languages: unlike code on a command line they may write, delete and start programs, as any
program of the project may. What they visibly do to places is weighed, texts that they hand to a shell are read, and
code that comes decoded or from the network and is run is not understood.
"""

import re
from typing import Final

from app.core.shell.embedded import LITERAL, STRING, literal_of, literals_of, quoted
from app.core.shell.follow import text_followed
from app.core.shell.form import Command, Touch, marks_of
from app.core.shell.operands import touch
from app.core.shell.reading import STEP_BYTES, Frame, Reading
from app.core.shell.syntax import TEXT_MAX

Span = tuple[int, int]
TEXTS_MAX: Final = 32
OPENS_MAX: Final = 96
"""Of each of these the end is looked for, from its beginning: 4,000 that never end took 250 ms."""
_OPENS: Final = re.compile(r"\\['\"`]|\[\[|%q?\{|\bq[qw]?[{(\[/|]|q[{(\[/|]")
_CALLED: Final = (
    r"system|popen[23]?|exec(?:Sync|File|FileSync|l|le|lp|lpe|v|ve|vp|vpe)|spawn\w*|check_call|check_output|Popen"
    r"|getoutput|getstatusoutput|shell_exec|passthru|proc_open|capture[23]e?|startfile"
)
_COMPILED_CALLED: Final = (
    r"Command::new|exec\.Command(?:Context)?|syscall\.Exec|os\.StartProcess"
    r"|getRuntime\(\)\s*\.\s*exec|ProcessBuilder"
)
_LIST: Final = (
    r"(?:(?:ctx|context\.\w+\(\))\s*+,\s*+|(?:Arrays\.asList|List\.of|listOf|arrayOf)\s*+\("
    r"|new\s+String\s*+\[\]\s*+\{|\[)?\s*+"
)
_NEXT: Final = r"(?:\s*+,\s*+|\s*+\]?+\s*+\)\s*+\.\s*+args?\s*+\(\s*+&?+(?:vec!)?+\s*+\[?+\s*+)"
"""Between two words of a command: `"a", "b"`, and `.arg("b")`, `.args(["b"])` of Rust."""
_SHELL_LIKE: Final = frozenset(("perl", "ruby", "php"))
_HIDES: Final = re.compile(
    r"(?<![.\w])(?:exec|eval|Function|loadstring)\s*\(|\binstance_eval\b|\bmarshal\.|(?<!\.)\beval\b\s*[$\"']"
)
_DECODES: Final = re.compile(
    r"\b(?:b(?:16|32|64|85)decode|a85decode|decode_base64|urlsafe_b64decode|fromhex|unhexlify|atob|fromCharCode|decompress|inflate|unpack1?|marshal)\b|base64['\"]\s*\)|codecs\.decode"
)
_FETCHES: Final = re.compile(
    r"\b(?:urlopen|urlretrieve|requests|httpx|aiohttp|socket|http\.client|fetch\(|axios|Net::HTTP|open-uri|LWP|curl_exec)"
)
_DELETE: Final = (
    r"remove|unlink\w*|rmtree|rmdir\w*|removedirs|rmSync|rm_rf|rm_r|rm|remove_tree|removeSync|delete"
    r"|remove_dir\w*|remove_file|Remove(?:All)?|delete(?:Recursively|IfExists|Directory)"
)
_WRITE: Final = (
    r"rename\w*|chmod\w*|chown\w*|write_text|write_bytes|writeFile\w*|appendFile\w*|createWriteStream|truncate|symlink"
    r"|mkdir|makedirs|copy\w*|move|touch|file_put_contents|replace"
    r"|fs::write|WriteFile|os\.(?:Create|OpenFile|Symlink|Rename|Chmod)|File::create|Files\.\w+|hard_link|set_permissions"
)
_EFFECT: Final = re.compile(rf"\b(?:(?P<delete>{_DELETE})|(?P<write>{_WRITE}))\s*[(\s]")
_OPENED: Final = re.compile(r"""\b(?:open|fopen|File\.open)\s*\(.{0,200}?['"](?:[rwaxbt+]{1,3}|[>+]{1,3})['"]""")
_OPENED_TO_WRITE: Final = re.compile(r"""['"](?:[rbt]{0,2}[wax+>][bt+>]{0,2})['"]""")
_NAMED: Final = re.compile(rf"^[ \t]*(?:const |let |var |my )?[$@]?(\w+)\s*=\s*({STRING})\s*;?[ \t]*$", re.MULTILINE)
_PLACE: Final = re.compile(r"[~/.]|[\w-]+[./]")
_CREDENTIAL: Final = re.compile(
    r"os\.environb?\b(?!\s*(?:\[|\.get\b))|process\.env\b(?!\s*[.\[])|%ENV\b"
    r"|(?:environ|ENV|[gG]etenv|process\.env)\W{1,4}(?:get\W{1,3})?\w{0,40}(?:TOKEN|SECRET|PASSW|KEY|CREDENTIAL)"
)


def weigh_code(reading: Reading, words: list[str], code: str, frame: Frame, span: Span) -> None:
    """Judge the code of a stored script beside the command that runs it."""
    if len(code) > TEXT_MAX:
        return reading.doubt("script-too-long")
    reading.steps += len(code) // STEP_BYTES
    if reading.spent() or len(_OPENS.findall(code)) > OPENS_MAX:
        return reading.doubt("too-complex")
    facts, touches = _facts(code), _touches(code, frame)
    reading.steps += len(touches)
    if facts or touches:
        wrappers = (*frame.wrappers, words[0])
        reading.emit(Command(words[0], tuple(words), wrappers, span, frozenset(facts), tuple(touches)))
    inner = frame._replace(wrappers=(*frame.wrappers, words[0]), base=span, depth=frame.depth + 1, stdin=None)
    for text in _shell_texts(reading, words[0], code):
        text_followed(reading, text, words, inner, span)
    return None


def _facts(code: str) -> list[str]:
    facts = []
    fetches = _FETCHES.search(code) is not None
    if _HIDES.search(code) and (fetches or _DECODES.search(code)):
        facts.append("code-opaque")
    if fetches and _CREDENTIAL.search(code):
        facts.append("code-prints-environment")
    return facts


def _touches(code: str, frame: Frame) -> list[Touch]:
    """Paths that stand in a call with an effect, themselves or by a name that they were given; and secrets anywhere."""
    names = {found[1]: literal_of(found[2]) for found in _NAMED.finditer(code)}
    found: set[tuple[str, str]] = set()
    for line in code.splitlines():
        access = _access(line)
        said = [literal_of(text) for text in literals_of(line)]
        if access != "read":
            said += [names[word] for word in re.findall(r"\w+", line) if word in names]
        found |= {(access, text) for text in said if _is_place(text)}
    touches = [touch(access, path, frame) for access, path in sorted(found)]
    return [one for one in touches if one.access != "read" or "secret" in one.where]


def _access(line: str) -> str:
    effect = _EFFECT.search(line)
    if effect is not None:
        return "delete" if effect["delete"] else "write"
    opened = _OPENED.search(line)
    return "write" if opened is not None and _OPENED_TO_WRITE.search(opened[0]) else "read"


def _is_place(text: str) -> bool:
    return (
        len(text) < 200 and _PLACE.match(text) is not None and not re.search(r"[\s(){};$]", text) and "://" not in text
    )


def _shell_texts(reading: Reading, program: str, code: str) -> list[str]:
    texts: list[str] = []
    for found in _calls(program, code).finditer(code):
        parts = [literal_of(part[0]) for part in LITERAL.finditer(found["text"])]
        texts.append(" ".join([quoted(part) for part in parts]) if len(parts) > 1 else parts[0])
    if len(texts) > TEXTS_MAX:
        reading.doubt("script-too-long")
    return [text for text in texts[:TEXTS_MAX] if text.strip() and not marks_of(text)]


def _calls(program: str, code: str) -> re.Pattern[str]:
    bare = [_CALLED, _COMPILED_CALLED]
    if program in _SHELL_LIKE:
        bare.append("exec|sh")
    if "from subprocess import" in code:
        bare.append("run|call")
    if "child_process" in code:
        bare.append("exec")
    started = (
        rf"(?<![\w\"'])(?:(?:{'|'.join(bare)})|(?:subprocess|sp|child_process|cp|Open3|Kernel)\.(?:run|call|exec|pipeline))\b"
        r"\s*\(?\s*"
    )
    ticks = r"|qx|%x|(?<=[=;(\s])(?=`)" if program in _SHELL_LIKE else ""
    return re.compile(rf"(?:{started}{ticks}){_LIST}(?P<text>{STRING}(?:{_NEXT}{STRING})*)", re.DOTALL)
