"""Tells which values of a configuration are secret, and removes them from what is stored and shown.

Rule 1: a value from the environment is stored as its reference, ``${NAME}``. Names, paths of local files,
numbers and booleans are stored as they are, since people and programs read them.
Rule 2: a literal value is a secret by its whole path (``headers.Authorization``, ``options.password``). In
any text, the user, the password and the query of a URL are secret. In a command that prints a token, so are
values after telling names and words that are no names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from actors.core.censor import HIDDEN, Censor
from actors.core.messages.values import Json
from cluster.config.paths import KeyPath, leaves, mapped
from cluster.config.yaml import ParsedYaml

# Errors do not show the values of these keys, and no job receives the variables in them.
SECRET_KEYS = frozenset({"api_key", "headers", "url", "base_url", "password", "token", "options"})
REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]{0,4096}))?\}|\$\{")
MASK = "**********"  # as pydantic writes a secret

_SHORTEST_LITERAL = 6  # people write "none" or "test" if no key is needed
_WHOLE = frozenset({"api_key", "headers", "cookies", "password", "passwd", "secret", "token"})
_BY_NAME = frozenset(
    {"options", "query", "params"}
)  # mappings in which the name of an entry tells whether it is secret
_ADDRESSES = frozenset({"url", "base_url", "dsn", "proxy"})
_PLAIN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_PATHS = frozenset({("tasks", "path"), ("output", "directory"), ("store", "path")})
_SHOWN = frozenset({"name", "field", "kind"})
_WORDS = frozenset(
    {
        *("auth", "authorization", "bearer", "cert", "certificate", "cookie", "cookies", "cred", "creds"),
        *("credential", "credentials", "dsn", "jwt", "login", "otp", "pass", "passphrase", "pem", "pin"),
        *("pw", "sas", "session", "sig", "signature", "user", "username"),
    }
)
_ENDINGS = ("key", "keys", "token", "tokens", "password", "passwd", "pwd", "secret", "secrets")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*", re.DOTALL)
_USER = re.compile(r"(?<=://)([^\s/?#:@]*:(?!\d{1,5}/)[^\s?#]*|[^\s/?#]+)@")
# A masked text keeps its references (replaced by NUL, number, NUL) and the scheme of a header.
_HELD = re.compile(r"(\0\d+\0|\b(?:Bearer|Basic|Token|ApiKey|Digest)(?=\s))", re.IGNORECASE)
_HELD_IN_QUERY = re.compile(r"(\0\d+\0|\{[A-Za-z_][A-Za-z0-9_-]*\})")
# The name before a value in a word of a command: --token, token=, "X-Api-Key: ".
_ARGUMENT = re.compile(
    r"""(?<![\w.-])(?:--?(?P<flag>[A-Za-z][\w-]*)(?:\s+|=)|(?P<name>[A-Za-z][\w.-]*)["']?\s*[=:]\s*)["']?"""
)
_ARGUMENT_VALUE = re.compile(r"""(?:(?:Bearer|Basic|Token|ApiKey)\s+)?[^\s"'&;|$)]+""", re.IGNORECASE)
_PIECE = re.compile(r"""[^\s"'`;|&()<>$=\0*]+""")
# A file, or a name with a number such as us-east-1.
_NAME = re.compile(
    r"[.~]?/[\w./~-]*|[\w.-]+\.(py|sh|js|rb|exe|json|ya?ml|pem|txt)|[a-z]{2,}([-.][a-z]+)*[-.]\d{1,2}"
)
_SHORTEST_PIECE = 12  # of a script in one word
# A placeholder or a reference in place of the value is no secret.
_PARAMETER = re.compile(r"(?<=[?&])([^=&#\s]{1,64})=(?!\$?\{)[^&#\s]+")
_PLAIN_VALUE = re.compile(r"[0-9.]{0,8}|true|false|.{0,3}", re.IGNORECASE)


@dataclass(slots=True)
class Masked:
    """A text without secrets. `literals` are the secrets that it had, `held` its references."""

    text: str = ""
    literals: list[str] = field(default_factory=list)
    is_masked: bool = False
    held: list[str] = field(default_factory=list)


def is_secret(path: KeyPath) -> bool:
    """Return whether the whole text at `path` is a secret."""
    steps = [str(step) for step in path]
    if steps[:1] == ["tasks"]:
        return False  # tasks are stored, and prompts show them
    for place, step in enumerate(steps):
        if step == "headers" and steps[place + 1 :]:
            return steps[place + 1].lower() not in _PLAIN_HEADERS
        if step in _WHOLE:
            return True
        if step in _BY_NAME:
            return any(_is_telling(name) for name in steps[place + 1 :])
    return False


def is_shown(path: KeyPath, text: str) -> bool:
    """Return whether `text` at `path` is a name or a local path, which results and messages show."""
    if not path or is_secret(path) or any(step in _BY_NAME for step in path):
        return False
    if path in _PATHS and "://" in text:
        return False  # a URL may have a password
    return (
        path[-1] in _SHOWN
        or path[0] in ("tasks", "output", "cluster")
        or path[:2] in (("store", "path"), ("llm", "simulator"))
    )


def masked(path: KeyPath, written: str) -> Masked:
    """Return the text at `path`, which the file has as `written`, without its secrets."""
    made = Masked()

    def hold(match: re.Match[str]) -> str:
        made.held.append(match[0])
        if match["default"] and masked(path, match["default"]).is_masked:
            _drop_default(made, len(made.held) - 1)
        return f"\0{len(made.held) - 1}\0"

    text = REFERENCE.sub(hold, written.replace("\0", ""))
    is_address = bool(path) and path[-1] in _ADDRESSES and path[0] != "tasks"
    if is_secret(path) or (is_address and "://" not in text and not text.startswith("\0")):
        text = _hidden(text, _HELD, made, is_telling=path[-1:] != () and path[-1] not in _ADDRESSES)
    else:
        text = _USER.sub(lambda match: f"{_user_hidden(match[1], made)}@", text)
        if path[-3:-1] == ("credentials", "command") and path[-1] != 0:
            text = _argument_hidden(text, made)
        if _URL.fullmatch(text) and "?" in text:
            start, _, query = text.partition("?")
            text = f"{start}?{'&'.join(_parameter_hidden(each, made) for each in query.split('&'))}"
    made.text = re.sub(r"\0(\d+)\0", lambda match: made.held[int(match[1])], text)
    return made


def _hidden(text: str, kept: re.Pattern[str], made: Masked, *, is_telling: bool) -> str:
    parts = kept.split(text)
    for place, part in enumerate(parts):
        literal = part.strip()
        if place % 2:  # this part is kept, without the default of a reference
            if part.startswith("\0"):
                _drop_default(made, int(part.strip("\0")))
        elif literal and literal != MASK:
            made.is_masked = True
            parts[place] = part.replace(literal, MASK)
            if is_telling and len(literal) >= _SHORTEST_LITERAL:
                made.literals.append(literal)
    return "".join(parts)


def _drop_default(made: Masked, index: int) -> None:
    name, found, default = made.held[index].partition(":-")
    if found:
        made.held[index] = f"{name}}}"
        if len(default) > _SHORTEST_LITERAL:
            made.is_masked = True
            made.literals.append(default.removesuffix("}"))


def _user_hidden(user: str, made: Masked) -> str:
    name, colon, password = user.partition(":")
    name = _hidden(name, _HELD, made, is_telling=not colon)
    return name + colon + _hidden(password, _HELD, made, is_telling=True)


def _argument_hidden(text: str, made: Masked) -> str:
    """Hide the secrets in a word of a command, which may be a whole script."""
    parts, end = [], 0
    for match in _ARGUMENT.finditer(text):
        value = _ARGUMENT_VALUE.match(text, match.end())
        if value and match.start() >= end and _is_telling(match["flag"] or match["name"]):
            parts += [text[end : match.end()], _hidden(value[0], _HELD, made, is_telling=True)]
            end = value.end()
    text = "".join((*parts, text[end:]))
    shortest = _SHORTEST_PIECE if len(text.split()) > 1 else _SHORTEST_LITERAL

    def hide(match: re.Match[str]) -> str:
        return _hidden(match[0], _HELD, made, is_telling=True) if _is_opaque(match[0], shortest) else match[0]

    return _PIECE.sub(hide, text)


def _is_opaque(piece: str, shortest: int) -> bool:
    """Return whether a piece of a command looks like a secret: no word, file or address."""
    has_both = any(map(str.isdigit, piece)) and any(map(str.isalpha, piece))
    is_address = "://" in piece or piece.startswith("@")  # "@": the user before it is hidden
    return has_both and len(piece) >= shortest and not is_address and _NAME.fullmatch(piece) is None


def _parameter_hidden(parameter: str, made: Masked) -> str:
    name, equals, value = parameter.partition("=")
    is_telling = _is_telling(name)
    if _PLAIN_VALUE.fullmatch(value) and not is_telling:
        return parameter
    return name + equals + _hidden(value, _HELD_IN_QUERY, made, is_telling=is_telling)


def shown_url(text: str) -> str:
    """Return a text without the users, the passwords and the telling parameters of the URLs in it."""
    shown = Censor()(text)
    return _PARAMETER.sub(_shown_parameter, shown) if "://" in shown else shown


def _shown_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if _is_telling(match[1]) else match[0]


def _is_telling(name: str) -> bool:
    """Return whether a name such as ``aws_secret_access_key`` says that its value is a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in words)


# ---- a whole configuration -------------------------------------------------------------------------------


def stored(values: Json, written: Mapping[KeyPath, str], censor: Censor) -> Json:
    """Return `values`, a configuration as JSON, without secrets.

    `written` has the values with a reference as the file has them. If a validator has moved such a value,
    `censor` finds it in the values beside.
    """
    known = {path for path, _ in leaves(values)}
    moved = [path[:-1] for path in written if path[0] in values and path not in known]

    def plain(path: KeyPath, value: Json) -> Json:
        if isinstance(value, str) and not is_shown(path, value):
            text = masked(path, written.get(path, value)).text
            return censor(text) if any(path[: len(each)] == each for each in moved) else text
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Masked, a changed `params.max_output_tokens` of a step would be no change, and be paid for again.
        is_parameter = path[0] == "evaluate" and "params" in path
        return MASK if is_number and is_secret(path) and not is_parameter else value

    return mapped(values, plain)


def literals(values: Any, written: Mapping[KeyPath, str]) -> Iterator[tuple[str, str]]:
    """Yield the secrets written out in the Python values of a configuration, each with its substitute."""
    for path, value in leaves(values):
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and not is_shown(path, text):
            for literal in masked(path, written.get(path, text)).literals:
                yield literal, HIDDEN


def without_literals(document: Json) -> Json | None:
    """Return a document without the secrets written out in it, None if it has none."""
    if any(masked(path, text).is_masked for path, text in leaves(document)):
        return mapped(document, lambda path, text: masked(path, text).text)
    return None


def parts_of(written: str, name: str, value: str) -> list[str]:
    """Return the parts of `value`, which the variable `name` has, that an error may quote alone.

    One is the password of a URL. Another comes from a user or password in a URL that is not percent-encoded:
    a library takes its text before a slash for the host, and reports that the host does not exist.
    """
    found = masked((), value).literals
    if any(match["name"] == name for part in _USER.findall(written) for match in REFERENCE.finditer(part)):
        found.append(value)
    pieces = [piece for each in found for piece in re.split(r"[/:@?#]", each)]
    return [piece for piece in (*found, *pieces) if len(piece) >= _SHORTEST_LITERAL]


# ---- overrides and references ----------------------------------------------------------------------------


def without_secrets(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides that may be stored, and the keys of the others, which hold a secret.

    A reference to the environment, ``${NAME}``, is no secret.
    """
    kept: list[str] = []
    withheld: list[str] = []
    for assignment in overrides:
        key, _, text = assignment.partition("=")
        values = leaves(ParsedYaml(text, key, numbered=False).value or "", tuple(key.split(".")))
        if any(not is_shown(path, value) and masked(path, value).is_masked for path, value in values):
            withheld.append(key)
        else:
            kept.append(assignment)
    return kept, withheld


@dataclass(frozen=True, slots=True)
class Reference:
    """How a document uses an environment variable: in a secret place; without a default."""

    is_secret: bool
    is_required: bool


def references(document: Json) -> dict[str, Reference]:
    """Return the environment variables that a document names, by name."""
    found: dict[str, Reference] = {}
    for path, text in leaves(document):
        in_url = {match[0] for part in _secret_parts(text) for match in REFERENCE.finditer(part)}
        is_hidden = not SECRET_KEYS.isdisjoint(path) or is_secret(path)
        for match in REFERENCE.finditer(text):
            name = match["name"]
            if name:
                known = found.get(name, Reference(is_secret=False, is_required=False))
                found[name] = Reference(
                    known.is_secret or is_hidden or match[0] in in_url,
                    known.is_required or match["default"] is None,
                )
    return found


def _secret_parts(text: str) -> list[str]:
    return [*_USER.findall(text), text.partition("?")[2] if _URL.fullmatch(text) else ""]
