"""From bytes to text: one encoding for a data set, voted once, then held strictly file by file."""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fenlei.corpus.ledger import NOT_TEXT, TOO_LARGE, UNDECODABLE, Ledger
from fenlei.corpus.lines import SIZE_LIMIT, byte_lines, ignore, line_end

FAMILIAR = 0.25  # by so much more of the characters must be known to overrule the detector
POOL_LIMIT = 64 * 2**10  # bytes shown to the detector
NAME_IT = "name the encoding, such as --encoding gb18030"
HEAD = 64 * 2**10  # bytes of a file that a first look takes
HELD = 64 * 2**20  # characters of whole files in memory while all of them are looked at

BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A detector names the smallest set that fits its sample; the rest of the data needs the largest of the family.
FAMILIES = {
    "gb18030": ("gb2312", "gbk", "gb18030"),
    "big5hkscs": ("big5", "cp950", "big5hkscs"),
    "cp932": ("shift_jis", "shift_jis_2004", "shift_jisx0213", "cp932"),
    "cp949": ("euc_kr", "cp949"),
}
WIDEST = {name: widest for widest, names in FAMILIES.items() for name in names}
CONTROLS = bytes(b for b in range(1, 32) if b not in b"\t\n\v\f\r\x1a\x1b")


class Missing(NamedTuple):
    """Why a file gave no text: a ledger kind and the detail."""

    kind: str
    detail: str


def known(encoding: str) -> str:
    """Python's own name for a text encoding; raises ValueError when there is none."""
    try:
        name = codecs.lookup(encoding).name
        b"a".decode(name, "ignore")
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"unknown encoding {encoding!r}, expected a name such as utf-8, gb18030 or big5") from error
    return "utf-8" if name == "utf-8-sig" else name


def mark(head: bytes) -> str | None:
    """The encoding of a byte order mark other than UTF-8's, or None."""
    return next((codec for bytes_, codec in BOMS if head.startswith(bytes_)), None)


def sniff(head: bytes) -> str:
    """The encoding that a byte order mark or NUL bytes give away; otherwise `utf-8`, which is still to be tried.

    Raises ValueError for bytes that are no text: NULs together with other control bytes. NULs alone are found
    at the end of texts that old programs padded.
    """
    if codec := mark(head):
        return codec
    if b"\0" not in head:
        return "utf-8"
    ascii_le, ascii_be = head[1::2].count(0), head[::2].count(0)
    for codec in ("utf-16-le", "utf-16-be") if ascii_le >= ascii_be else ("utf-16-be", "utf-16-le"):
        if _is_wide_text(head, codec):
            return codec
    if not head.strip(b"\0") or len(head.translate(None, CONTROLS)) < len(head):
        raise ValueError("it holds NUL and other control bytes")
    return "utf-8"


def _is_wide_text(head: bytes, codec: str) -> bool:
    """Whether UTF-16 makes sense of `head`, so that one stray NUL does not turn other text into rare characters."""
    if head.count(0) < len(head) / 4 and _decodes(head, "utf-8"):
        return False
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(c) in ("Cn", "Co", "Cc") and c not in "\t\n\r\f" for c in set(text))


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def vote(files: Sequence[Callable[[], Iterable[bytes]]], beside: str = "") -> str | None:
    """The one encoding for all files that are not UTF-8, or None when nothing fits; each of `files` gives its lines.

    `beside` is text from the data set's other files: a detector that sees a few short lines takes Chinese for Korean,
    but the right encoding gives characters that the other files have too.
    """
    pieces = _pool(files)
    # Where nearly all pieces follow the double-byte pattern, the others are damaged and would mislead the detector.
    double = [piece for piece in pieces if _decodes(piece, "gb18030")]
    if len(double) >= 0.9 * len(pieces):
        pieces = double
    answer = _detect(pieces)
    if answer is None:  # a few odd pieces can spoil the whole, so groups of pieces vote
        groups = (pieces[start::16] for start in range(16))
        votes = Counter(codec for codec in map(_detect, groups) if codec)
        answer = max(votes, key=votes.__getitem__, default=None)
    return _most_familiar(answer, pieces, beside) if pieces else answer


def _most_familiar(answer: str | None, pieces: Sequence[bytes], beside: str) -> str | None:
    """`answer`, unless another wide encoding fits and gives far more characters that stand in `beside`."""
    known = {char for char in beside if not char.isascii()}
    data = b"\n".join(pieces)

    def share(codec: str | None) -> float:
        if codec is None or not _decodes(data, codec):
            return 0.0
        foreign = [char for char in data.decode(codec) if not char.isascii()]
        return sum(char in known for char in foreign) / max(1, len(foreign))

    best = max(FAMILIES, key=share)
    return best if share(best) > share(answer) + FAMILIAR else answer


def _detect(pieces: Sequence[bytes]) -> str | None:
    import charset_normalizer  # what is UTF-8 never needs it

    best = charset_normalizer.from_bytes(b"\n".join(pieces)).best() if pieces else None
    return WIDEST.get(best.encoding, best.encoding) if best else None


def _pool(files: Sequence[Callable[[], Iterable[bytes]]]) -> list[bytes]:
    """Up to 64 KiB of lines that are not UTF-8, taken from all over the data set, so that every class is heard."""
    share = max(POOL_LIMIT // max(len(files), 1), 2**11)
    stride = max(len(files) * share // POOL_LIMIT, 1)
    pieces: list[bytes] = []
    room = POOL_LIMIT
    for lines in (lines for start in range(stride) for lines in files[start::stride]):
        if room <= 0:
            break
        taken = list(_take(lines(), min(share, room)))
        pieces += taken
        room -= sum(map(len, taken))
    return pieces


def _take(lines: Iterable[bytes], room: int) -> Iterator[bytes]:
    """Lines that are not UTF-8, `room` bytes at most."""
    for line in lines:
        if room <= 0:
            break
        if not _decodes(line, "utf-8"):
            yield _whole(line[:room])
            room -= len(line)


def _whole(piece: bytes) -> bytes:
    """`piece` without the half of a double-byte character that a cut left at its end."""
    decoder = codecs.getincrementaldecoder("gb18030")()
    try:
        decoder.decode(piece)
    except UnicodeDecodeError:
        return piece
    return piece[: len(piece) - len(decoder.getstate()[0])]


def damaged_utf8(lines: Iterable[bytes]) -> bool:
    """Whether bytes that are not UTF-8 are so for a few faults only: most of what is not ASCII is sound UTF-8."""
    sound = broken = 0
    for line in lines:
        valid = len(line.decode("utf-8", "ignore").encode())
        sound += valid - len(line.decode("ascii", "ignore"))
        broken += len(line) - valid
        if broken > POOL_LIMIT:
            break
    return sound > 4 * broken  # GBK read as UTF-8 is half sound at most, bar a few very short texts


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for _, line in byte_lines(file, ignore, line_end(file, "latin-1")):
            yield line


def read_texts(paths: Sequence[Path], encoding: str | None, ledger: Ledger) -> Iterator[str | Missing]:
    """The text of every file, or why there is none; what was voted is noted in the ledger.

    Texts past the first ``HELD`` characters are read twice, once to see that they can be, rather than kept.
    """
    texts: list[str | Missing | None] = []
    room = HELD
    for path in paths:
        text = _read_text(path, encoding)
        room -= len(text) if isinstance(text, str) else 0
        texts.append(text if room >= 0 or isinstance(text, Missing) else None)
    failing = [i for i, text in enumerate(texts) if isinstance(text, Missing) and text.kind == UNDECODABLE]
    codec, foreign = encoding, frozenset[int]()
    if not encoding and failing:
        foreign = frozenset(i for i in failing if not damaged_utf8(_lines(paths[i])))
        sound = [i for i, text in enumerate(texts) if not isinstance(text, Missing)]
        sample = (texts[i] or _read_text(paths[i], None) for i in sound[:: max(1, len(sound) // 64)])
        beside = "".join(each[:1000] for each in sample if isinstance(each, str))
        codec = vote([partial(_lines, paths[i]) for i in sorted(foreign)], beside)
        if codec:
            _note_vote(len(foreign), len(paths), codec, ledger)
    failed = 0
    for i, kept in enumerate(texts):
        found = kept
        if found is None or (codec and i in foreign):
            found = _read_text(paths[i], codec if i in foreign else encoding)
        failed += isinstance(found, Missing) and found.kind == UNDECODABLE
        texts[i] = None
        yield found
    if failed > 0.01 * len(texts):
        ledger.note(f"{failed:,} of {len(texts):,} files could not be decoded; {NAME_IT}, or repair them.")


def _read_text(path: Path, encoding: str | None) -> str | Missing:
    try:
        if path.stat().st_size > SIZE_LIMIT:
            return Missing(TOO_LARGE, f"file larger than {SIZE_LIMIT:,} bytes")
        data = path.read_bytes()
        codec = encoding or sniff(data[:HEAD])
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return Missing(UNDECODABLE, f"not {error.encoding} at byte {error.start + 1}")
    except (ValueError, OSError) as error:
        return Missing(NOT_TEXT, str(error))


def _note_vote(files: int, of: int, codec: str, ledger: Ledger) -> None:
    ledger.note(f"{files:,} of {of:,} files {'is' if files == 1 else 'are'} not UTF-8: read as {codec}.")


def file_codecs(paths: Sequence[Path], encoding: str | None, ledger: Ledger) -> dict[Path, str]:
    """The encoding of each file that is read line by line, found in constant memory; the vote is noted in the ledger.

    Raises ValueError for a file that is no text or that no encoding fits.
    """
    if encoding:
        return dict.fromkeys(paths, encoding)
    own = {path: _survey(path) for path in paths}
    foreign = [path for path, codec in own.items() if codec is None]
    if not foreign:
        return {path: codec for path, codec in own.items() if codec}
    sound = [path for path, codec in own.items() if codec == "utf-8"]
    voted = vote([partial(_lines, path) for path in foreign], "".join(map(_beginning, sound[:16])))
    if voted is None:
        raise ValueError(f"{foreign[0]} is no text in any known encoding; {NAME_IT}, or give another file")
    _note_vote(len(foreign), len(paths), voted, ledger)
    return {path: codec or voted for path, codec in own.items()}


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(2**12).decode("utf-8", "ignore")


def _survey(path: Path) -> str | None:
    """A file's encoding, or None where it is a matter for the vote; damaged UTF-8 stays UTF-8."""
    with path.open("rb") as file:
        try:
            codec = sniff(file.read(HEAD))
        except ValueError as error:
            raise ValueError(f"{path} is no text: {error}; give a csv, tsv, jsonl or txt file") from error
        file.seek(0)
        if codec != "utf-8":
            return codec
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(2**20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "utf-8" if damaged_utf8(_lines(path)) else None
    return codec
