"""Documents that are no plain text: damage, markup, addresses, or nothing that can be read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from itertools import chain

from fenlei.check.findings import FAULT, FINE, LOOK, Finding, Place, graded, listed, share
from fenlei.check.rows import Rows

CONTROL_SHARE = 0.1  # of a text's characters
REPEATED_SHARE = 0.9  # of a text's characters
REPEATED_LEAST = 5  # characters: "hhh" is a word of some chats
BEFORE = 12  # characters shown before what is odd
PROBES = 8  # characters of a text that are tried for the one that fills it
WINDOWS_1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # what its bytes 0x80 to 0x9f stand for

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ue000-\uf8ff]")
_ADDRESS = re.compile(r"(?:(?:https?://|www\.)\S+\s*)+", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(?:a|b|body|br|div|em|font|h[1-6]|html|i|img|li|ol|p|script|span|strong|style|table|td|tr|ul)\b[^<>]{0,500}>"
    r"|&(?:nbsp|amp|lt|gt|quot|#\d{1,6}|#x[0-9a-f]{1,5});",
    re.IGNORECASE,
)
_CONTINUED = f"[\x80-\xbf{WINDOWS_1252}]"
_LATIN = re.compile(f"[\xc2-\xdf]{_CONTINUED}|[\xe0-\xef]{_CONTINUED}{{2}}|[\xf0-\xf4]{_CONTINUED}{{3}}")
_WIDE_RUN = re.compile("[^\x00-\x7f]{3,2000}")
_REPLACED = re.compile("\ufffd")
_LOST = re.compile("锟斤拷|ï»¿|ï¿½")


def is_replaced(text: str) -> bool:
    """Whether a decoder put U+FFFD where it found no character."""
    return bool(_REPLACED.search(text))


def is_mojibake(text: str) -> bool:
    """Whether it is UTF-8 that was read as Windows-1252 or as GBK: most of what is not ASCII turns back into UTF-8."""
    if text.isascii():
        return False
    return bool(_LOST.search(text)) or _was_latin(text) or _was_gbk(text)


def _was_latin(text: str) -> bool:
    runs = [found for found in _LATIN.findall(text) if _turned_back(found, "cp1252")]
    foreign = sum(not char.isascii() for char in text) if runs else 0
    return bool(runs) and (len(runs) > 1 or len(runs[0]) > 2) and 3 * sum(map(len, runs)) >= 2 * foreign


def _was_gbk(text: str) -> bool:
    """Chance makes UTF-8 of a few common characters, but hardly three-byte characters of a whole run."""
    runs = _WIDE_RUN.findall(text)
    back = [found for run in runs if (found := _turned_back(run, "gbk")) and min(found) >= "\u0800"]
    return 3 * sum(map(len, back)) >= sum(map(len, runs)) > 0 and max(map(len, back)) > 1


def _turned_back(run: str, codec: str) -> str:
    """``run`` as its bytes in ``codec`` read in UTF-8, a character that was cut off at the end aside, or nothing."""
    try:
        data = b"".join(bytes([ord(c)]) if "\x80" <= c <= "\x9f" else c.encode(codec) for c in run)
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeError:
        return ""


def is_control(text: str) -> bool:
    """Whether a tenth or more are control characters, marks of direction or of private use."""
    return len(_CONTROL.findall(text)) >= CONTROL_SHARE * len(text)


def is_repeated(text: str) -> bool:
    """Whether one character fills nine tenths of it."""
    bare = "".join(text.split())
    if len(bare) < REPEATED_LEAST:
        return False
    return any(bare.count(char) >= REPEATED_SHARE * len(bare) for char in set(bare[:: max(1, len(bare) // PROBES)]))


def is_address(text: str) -> bool:
    """Whether it is nothing but web addresses."""
    return bool(_ADDRESS.fullmatch(text.strip()))


def is_wordless(text: str) -> bool:
    """Whether it has neither letter nor digit."""
    return not any(map(str.isalnum, text))


def has_markup(text: str) -> bool:
    """Whether HTML was left in it."""
    return bool(_MARKUP.search(text))


# What a document is counted under: the first that holds. Topic -> test, what it is, what to do, whether it is damage.
KINDS: dict[str, tuple[Callable[[str], bool], str, str, bool]] = {
    "replaced": (
        is_replaced,
        "hold U+FFFD, the sign for what could not be decoded",
        "Go back to where the data comes from: what stood there is lost.",
        True,
    ),
    "mojibake": (
        is_mojibake,
        "look like UTF-8 that was read in another encoding before it came here",
        "Decode the original again, as UTF-8.",
        True,
    ),
    "control": (
        is_control,
        "are to a tenth or more control characters",
        "Take them out; are these texts at all?",
        True,
    ),
    "repeated": (is_repeated, "are one character, repeated", "Leave them out if they say nothing.", False),
    "addresses": (is_address, "are web addresses and nothing else", "Leave them out, or fetch what they name.", False),
    "wordless": (
        is_wordless,
        "have neither letter nor digit",
        "Leave them out unless such signs carry meaning.",
        False,
    ),
    "markup": (has_markup, "hold HTML", "Strip tags and entities, in what you predict as well.", False),
}


def excerpt(place: Place, topic: str) -> Place:
    """The place with its text from shortly before what is odd about it."""
    sign = {"replaced": _REPLACED, "mojibake": _LOST, "control": _CONTROL, "markup": _MARKUP}.get(topic)
    found = sign.search(place.text) if sign else None
    if found is None or found.start() <= BEFORE:
        return place
    return place._replace(text="…" + place.text[found.start() - BEFORE :])


def oddities(rows: Rows) -> Iterator[Finding]:
    """A finding for each kind of odd document that there is, or one that there is none."""
    found: dict[str, list[int]] = {topic: [] for topic in KINDS}
    for row, text in enumerate(rows.texts):
        kind = next((topic for topic, (test, *_) in KINDS.items() if test(text)), None)
        if kind:
            found[kind].append(row)
    for topic, (_, what, advice, damage) in KINDS.items():
        if own := found[topic]:
            severity = graded(len(own), len(rows))
            severity = LOOK if severity == FAULT and not damage else severity
            places = listed(excerpt(rows.place(row), topic) for row in own)
            yield Finding(topic, severity, f"{share(len(own), len(rows))} documents {what}.", advice, len(own), places)
    if not any(chain.from_iterable(found.values())):
        yield Finding("odd texts", FINE, "No document is damaged, markup, an address or without words.")
