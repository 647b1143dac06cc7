"""Removes secrets and control characters from error texts and log lines.

Rule 1: only error texts and log lines are censored. A model's answer is stored unchanged.
Rule 2: a text is censored before it is cut. If another program has cut it, a secret at the cut is recognised
by its beginning.
Rule 3: a secret is also recognised in the forms in which libraries quote it: percent-encoded, as JSON, as
Python's ``repr``, and in base64.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from actors.core.errors import Failure

HIDDEN = "***"
SHORTEST = 4  # characters of a secret: shorter values occur in ordinary text
_SHORTEST_BEGINNING = 6
_LONGEST_BEGINNING = 512
_LONGEST_IN_PATTERN = 1024  # characters: to compile a regular expression takes 0.1 ms for ten characters
_SHORTEST_BASE64 = 8
_SHORTEST_LINE = 12  # characters: each longer line of a private key or similar value counts as a secret

_PATTERNS = (
    # user:password@ in a URL. The password may contain an unencoded slash; "host:port/" must not match.
    (re.compile(r"(?<=://)[^\s/?#:@]{1,256}:(?!\d{1,5}/)[^\s?#]{0,1024}@"), f"{HIDDEN}@"),
    (re.compile(r"(?<=://)[^\s/?#]{1,1024}@"), f"{HIDDEN}@"),
    # An Authorization header. A digit or dash is required, so that "Bearer authentication" does not match.
    (
        re.compile(r"\b(bearer|basic)\s+(?!\$\{)(?=[^\s\"',;]*[0-9_=-])[^\s\"',;]{8,}", re.IGNORECASE),
        rf"\1 {HIDDEN}",
    ),
    (
        re.compile(
            r"\b((?:(?:api|access)[_-]?key|access[_-]?token|auth[_-]?token|token|secret|client[_-]?secret|password|passwd"
            r"|pwd|signature|sig)=)(?!\$\{|\*\*\*|\u2026)[^\s\"'&,;#]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"), HIDDEN),
)

# Control characters except line feed and tab, lone surrogates, and marks that change the text direction.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_CUT = "\N{HORIZONTAL ELLIPSIS}"


class Censor:
    """Replaces known secrets in a text. Each secret is a pair: its value and its replacement.

    A censor can be pickled. Its `repr` shows no secret.
    """

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self._secrets = tuple(dict(secrets).items())
        self._shown: dict[str, str] = {}
        for value, shown in self._secrets:
            for form in _forms(value):
                self._shown.setdefault(form, shown)
        # One secret may be the beginning of another; the alternation would match the shorter one first.
        longest_first = sorted(self._shown, key=len, reverse=True)
        self._long = [form for form in longest_first if len(form) > _LONGEST_IN_PATTERN]
        short = longest_first[len(self._long) :]
        self._pattern = re.compile("|".join(map(re.escape, short))) if short else None

    def __call__(self, text: str) -> str:
        """Return `text` without secrets."""
        for form in self._long:
            text = text.replace(form, self._shown[form])
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._shown[found[0]], text)
        if self._shown:
            text = _CUT.join(map(self._without_beginning, text.split(_CUT)))
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    def failure(self, failure: Failure) -> Failure:
        """Return `failure` with a message without secrets."""
        message = self(failure.message)
        return failure if message == failure.message else replace(failure, message=message)

    def __or__(self, other: Censor) -> Censor:
        """Return a censor that knows the secrets of both."""
        return Censor((*self._secrets, *other._secrets))

    def __reduce__(self) -> tuple[type[Censor], tuple[tuple[tuple[str, str], ...]]]:
        return Censor, (self._secrets,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Censor) and self._secrets == other._secrets

    def __hash__(self) -> int:
        return hash(self._secrets)

    def __repr__(self) -> str:
        return f"Censor(of {len(self._secrets)} secrets)"

    def _without_beginning(self, piece: str) -> str:
        """Return `piece` with the beginning of a secret at its end replaced."""
        tail = piece[-_LONGEST_BEGINNING:]
        for form, shown in self._shown.items():
            at = tail.find(form[:_SHORTEST_BEGINNING]) if len(form) > _SHORTEST_BEGINNING else -1
            while at >= 0:
                if form.startswith(tail[at:]):
                    return piece[: len(piece) - len(tail) + at] + shown
                at = tail.find(form[:_SHORTEST_BEGINNING], at + 1)
        return piece


NO_SECRETS = Censor()


def printable(text: str, *, indent: str = "  ") -> str:
    """Return `text` with control characters escaped, so that it cannot control a terminal.

    Lines after the first are indented, so that text from outside cannot forge a log line.
    """
    text = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
    return text.replace("\n", f"\n{indent}") if "\n" in text else text


def _forms(value: str) -> list[str]:
    """Return the forms in which `value` may occur in a text, the value itself first."""
    lines = value.split("\n") if "\n" in value else ()
    as_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    forms = [
        value,
        value.strip(),
        " ".join(value.split()),
        _percent_encoded(value, "").lower(),
        *_in_address(value),
        *(form for text in as_json for form in (text, text.replace("/", "\\/"))),
        repr(value)[1:-1],
        *_in_base64(value),
        *(line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE),
    ]
    return [form for form in dict.fromkeys(forms) if len(form) >= SHORTEST]


_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"  # RFC 3986, 2.3
_ENCODED = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")
_SAFE = (  # characters that libraries do not encode, in addition to the unreserved ones
    "",
    "/",  # urllib.parse.quote
    "!'()*",  # encodeURIComponent
    "!$'()*,/:?@",  # yarl, in a query
    "!$&'()*+,/:;=@",  # yarl, in a path
    "!#$&'()*+,/:;=?@",  # encodeURI
    "".join(map(chr, range(0x21, 0x7F))),
)


def _in_address(value: str) -> Iterator[str]:
    """Yield `value` as libraries encode it in paths, queries and forms."""
    for safe in _SAFE:
        encoded = _percent_encoded(value, safe)
        for form in (encoded, _ENCODED.sub(lambda found: found[0].lower(), encoded)):
            yield form
            yield form.replace("%20", "+")


def _in_base64(value: str) -> Iterator[str]:
    """Yield `value` in both base64 alphabets: alone, and the part that is constant within a longer text."""
    data = value.encode("utf-8", "surrogatepass")
    whole = base64.b64encode(data).decode()
    parts = [whole, whole.rstrip("=")]
    for offset in range(3):  # bytes before the secret in its group of three, such as the end of "user:"
        encoded = base64.b64encode(bytes(offset) + data).decode()
        # The first characters also hold bits of the preceding bytes, the last ones bits of those that follow.
        parts.append(encoded[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6])
    for part in parts:
        if len(part) >= _SHORTEST_BASE64:
            yield part
            yield part.translate(_URL_SAFE)


def _percent_encoded(value: str, safe: str) -> str:
    kept = frozenset((_UNRESERVED + safe).encode())
    return "".join(
        chr(byte) if byte in kept else f"%{byte:02X}" for byte in value.encode("utf-8", "surrogatepass")
    )
