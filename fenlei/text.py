"""From a string to sentences and tokens: normalization, the tokenizers, and which of them fits a set of texts."""

from __future__ import annotations

import functools
import itertools
import os
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

if TYPE_CHECKING:
    import rjieba

UserWords: TypeAlias = tuple[tuple[str, int | None], ...]

HAN_KANA = (
    "\u3005\u3007\u3021-\u3029\u3038-\u303b\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
UNSPACED = HAN_KANA + "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
UNSPACED_SHARE = 0.2  # a Han character says as much as a Latin word, so a fifth of the letters is most of a text
SAMPLE_TEXTS = 2000
SAMPLE_CHARS = 1000

MARK_RUN = 30  # the longest run of combining marks in UAX #15's stream-safe text
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def normalize(text: str, *, nfkc: bool = True, lower: bool = True) -> str:
    """One spelling for texts that read the same; every tokenizer expects its result.

    Surrogate pairs are joined and lone surrogates become U+FFFD; NFKC and lower case follow by option; each run of
    whitespace, control characters, zero-width spaces and byte order marks becomes one space, none at either end.
    With ``nfkc`` a run of combining marks is cut to 30, for sorting a longer one takes quadratic time.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _CONTROL.sub(" ", text)
    if nfkc:
        text = _nfkc(text)
    if lower and (lowered := text.lower()) != text:
        # Lower case can make a new composition possible: J with a caron has no single character, j with a caron has.
        text = _nfkc(lowered) if nfkc else lowered
    return " ".join(text.split())


def _nfkc(text: str) -> str:
    if text.isascii():
        return text
    if len(text) > MARK_RUN:
        text = _long_mark_run().sub(r"\1", text)
    return unicodedata.normalize("NFKC", text)


@functools.cache
def _long_mark_run() -> re.Pattern[str]:
    marks = _char_class(_is_mark) + "\uff9e\uff9f"  # the half-width voicing signs decompose to marks
    return re.compile(f"([{marks}]{{{MARK_RUN}}})[{marks}]+")


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _char_class(wanted: Callable[[str], bool]) -> str:
    """The inside of a regular expression's [...] that holds the wanted characters, Han beyond the BMP left out."""
    codes = itertools.chain(range(0x30, 0x20000), range(0xE0100, 0xE01F0))
    numbered = enumerate(code for code in codes if wanted(chr(code)))
    runs = [[code for _, code in run] for _, run in itertools.groupby(numbered, lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


def chars(text: str) -> list[str]:
    """Every character that is not whitespace, alone.

    A character is one code point: combining marks, variation selectors and the parts of a joined emoji are tokens too.
    """
    return list("".join(text.split()))


def words(text: str) -> list[str]:
    """Words of any script: runs of letters, digits and combining marks, an apostrophe between two letters included.

    Each Han or Kana character, punctuation mark and symbol is alone. Marks, variation selectors and joiners stay with
    what they follow. A script without spaces other than Han and Kana, such as Thai, is kept in whole runs.
    """
    return _word_pattern().findall(text)


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    han_kana = re.compile(f"[{HAN_KANA}]")
    letters = _char_class(lambda char: (char.isalnum() or _is_mark(char)) and not han_kana.match(char))
    attached = _char_class(_is_mark) + "\u200c\u200d"
    word = f"[{letters}][{letters}\u200c\u200d]*"
    return re.compile(rf"[{HAN_KANA}][{attached}]*|{word}(?:['’]{word})*|\S[{attached}]*")


# Han that rjieba takes into words and jieba cuts off beforehand.
_HAN_BEYOND_JIEBA = re.compile("([\u3400-\u4dbf\u9fd6-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f])")
_HAN = re.compile("[\u4e00-\u9fd5]+")
_ASCII_WORD = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")


def spaces(text: str) -> list[str]:
    """What stands between spaces: for text that was cut into words before."""
    return text.split()


def jieba(text: str) -> list[str]:
    """Words as ``jieba.lcut`` cuts them (exact mode, HMM on), without the whitespace tokens; ``text`` is normalized."""
    return _segment(_dictionary(()), frozenset(), text)


def _segment(dictionary: rjieba.Jieba, forbidden: frozenset[str], text: str) -> list[str]:
    tokens: list[str] = []
    for token in _cut(dictionary, text):
        if token.isalnum():
            tokens.append(token)
        elif not token.isspace():
            tokens += _recut(dictionary, token)
    if forbidden:
        return [part for token in tokens for part in (token if token in forbidden else (token,))]
    return tokens


def _cut(dictionary: rjieba.Jieba, text: str) -> list[str]:
    if not _HAN_BEYOND_JIEBA.search(text):
        return list(dictionary.cut(text))
    parts = _HAN_BEYOND_JIEBA.split(text)  # the rare characters stand at the odd places
    return [token for i, part in enumerate(parts) for token in ((part,) if i % 2 else dictionary.cut(part))]


def _recut(dictionary: rjieba.Jieba, token: str) -> Sequence[str]:
    """``url.cn`` as jieba cuts it: rjieba keeps ASCII words joined by a sign in one piece."""
    if not token.isascii() or dictionary.has_word(token):
        return (token,)
    return [part for part in _ASCII_WORD.split(token) if part]


@functools.lru_cache(maxsize=4)
def _dictionary(user_words: UserWords) -> rjieba.Jieba:
    dictionary: rjieba.Jieba = _rjieba().Jieba()
    for word, freq in user_words:
        if freq != 0 or dictionary.has_word(word):
            dictionary.add_word(word, freq, None)
    return dictionary


def _rjieba() -> Any:
    """The extension module of rjieba, a tenth of a second that other tokenizers do without.

    Its package would first read the dictionary for an object of its own, as long again, which is not used here.
    """
    package = find_spec("rjieba")
    inner = PathFinder.find_spec("rjieba.rjieba", package.submodule_search_locations) if package else None
    if inner is None or inner.loader is None:
        import rjieba

        return rjieba
    module = module_from_spec(inner)
    inner.loader.exec_module(module)
    return module


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"chars": chars, "words": words, "jieba": jieba, "spaces": spaces}


@dataclass(frozen=True)
class Tokenizer:
    """The settings that turn a text into tokens; calling it normalizes, cuts and drops the stop words.

    ``user_words`` are (word, frequency) pairs for jieba's dictionary: None lets jieba choose a frequency at which the
    word is cut out, 0 forbids the word. They and the stop words are normalized as the text is. Impossible settings
    raise ValueError.
    """

    name: str = "chars"
    nfkc: bool = True
    lower: bool = True
    user_words: UserWords = ()
    stop_words: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in TOKENIZERS:
            raise ValueError(f"tokenizer name is {reprlib.repr(self.name)}, expected one of {', '.join(TOKENIZERS)}")
        for option in ("nfkc", "lower"):
            if not isinstance(getattr(self, option), bool):
                raise ValueError(f"tokenizer {option} is {reprlib.repr(getattr(self, option))}, expected true or false")
        if not isinstance(self.stop_words, frozenset) or not all(isinstance(word, str) for word in self.stop_words):
            raise ValueError(f"tokenizer stop_words are {reprlib.repr(self.stop_words)}, expected a set of strings")
        if not isinstance(self.user_words, tuple) or not all(map(_is_user_word, self.user_words)):
            raise ValueError(
                f"tokenizer user_words are {reprlib.repr(self.user_words)}, expected pairs of a word without spaces "
                "and a frequency, which is None or a whole number from 0 to 2**32 - 1"
            )
        if self.user_words and self.name != "jieba":
            raise ValueError(f"user_words are for the tokenizer jieba, not {self.name}: leave them out or use jieba")

    def __call__(self, text: str) -> list[str]:
        """The tokens of ``text``; none is empty or contains whitespace, and a blank text has none."""
        tokens = self.cut(normalize(text, nfkc=self.nfkc, lower=self.lower))
        dropped = self.dropped
        return [token for token in tokens if token not in dropped] if dropped else tokens

    def cut(self, text: str) -> list[str]:
        """The tokens, stop words among them, of a normalized text or of several with a line end after each."""
        return self._cutter(text)

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[Any, ...]]:
        # Without the cached dictionary: it cannot be pickled and is built again where it is needed.
        return Tokenizer, tuple(getattr(self, field.name) for field in fields(self))

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values, the same for equal tokenizers."""
        return asdict(self) | {
            "user_words": [list(pair) for pair in self.user_words],
            "stop_words": sorted(self.stop_words),
        }

    @classmethod
    def from_json(cls, settings: object) -> Tokenizer:
        """The tokenizer that ``to_json`` described; a setting left out keeps its default.

        Raises ValueError for an unknown setting or a value of the wrong type.
        """
        keys = [field.name for field in fields(cls)]
        if not isinstance(settings, dict):
            raise ValueError(
                f"tokenizer settings are {reprlib.repr(settings)}, expected an object of {', '.join(keys)}"
            )
        if unknown := [key for key in settings if key not in keys]:
            raise ValueError(
                f"tokenizer setting {reprlib.repr(unknown[0])} is unknown, expected one of {', '.join(keys)}"
            )
        values = dict(settings)
        if isinstance(pairs := values.get("user_words"), list):
            values["user_words"] = tuple(tuple(pair) if isinstance(pair, list) else pair for pair in pairs)
        stop_words = values.get("stop_words")
        if isinstance(stop_words, list) and all(isinstance(word, str) for word in stop_words):
            values["stop_words"] = frozenset(stop_words)
        return cls(**values)

    def _normal(self, word: str) -> str:
        return normalize(word, nfkc=self.nfkc, lower=self.lower)

    @functools.cached_property
    def dropped(self) -> frozenset[str]:
        """The stop words as they stand in a normalized text."""
        return frozenset(map(self._normal, self.stop_words))

    @functools.cached_property
    def _cutter(self) -> Callable[[str], list[str]]:
        if not self.user_words:
            return TOKENIZERS[self.name]
        user_words = tuple((self._normal(word), freq) for word, freq in self.user_words)
        forbidden = frozenset(word for word, freq in user_words if freq == 0 and _HAN.fullmatch(word))
        return functools.partial(_segment, _dictionary(user_words), forbidden)


def _is_user_word(pair: object) -> TypeGuard[tuple[str, int | None]]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        return False
    word, freq = pair
    fits = freq is None or (type(freq) is int and 0 <= freq < 2**32)
    return fits and isinstance(word, str) and word.split() == [word]


def choose(texts: Sequence[str]) -> tuple[str, str]:
    """The tokenizer that fits the scripts of ``texts``, with the reason in one sentence.

    Looks at the first 1000 characters of at most 2000 texts, evenly spaced, so that the answer is always the same.
    """
    step = max(1, -(-len(texts) // SAMPLE_TEXTS))
    sample = [texts[i][:SAMPLE_CHARS] for i in range(0, len(texts), step)]
    unspaced = re.compile(f"[{UNSPACED}]")
    letters = sum(char.isalnum() for text in sample for char in text)
    found = sum(1 for text in sample for char in unspaced.findall(text) if char.isalnum())
    share = found / letters if letters else 0.0
    name = "chars" if share >= UNSPACED_SHARE else "words"
    bound = f"{'at least' if name == 'chars' else 'less than'} {UNSPACED_SHARE:.0%}"
    return name, (
        f"{share:.1%} of the letters in {len(sample)} sampled texts are of scripts written without spaces "
        f"(Han, Kana, Thai, Lao, Khmer, Myanmar), {bound}."
    )


def read_user_words(path: str | os.PathLike[str]) -> UserWords:
    """The words of a user dictionary in jieba's format, UTF-8: ``word [frequency] [tag]`` a line, the tag left out.

    As in jieba, a word is found only if it consists of common Han characters, ASCII letters and digits and ``+#&._%-``.
    Raises ValueError naming the line that has another form.
    """
    found: list[tuple[str, int | None]] = []
    for number, line in _lines(path):
        match = re.fullmatch(r"(\S+)(?: +([0-9]{1,10}))?(?: +[a-zA-Z]+)?", line)
        pair = (match[1], int(match[2]) if match[2] else None) if match else None
        if not _is_user_word(pair):
            raise ValueError(
                f"{os.fspath(path)}, line {number} is {reprlib.repr(line)}, expected `word`, `word frequency` or "
                "`word frequency tag` with single spaces, the frequency below 2**32: correct or delete the line"
            )
        found.append(pair)
    return tuple(found)


def read_stop_words(path: str | os.PathLike[str]) -> frozenset[str]:
    """The stop words of a UTF-8 file, one a line, blank lines left out; ValueError naming a line that is not UTF-8."""
    return frozenset(line for _, line in _lines(path))


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the stripped lines that are not blank."""
    for number, line in enumerate(Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{os.fspath(path)}, line {number} is {reprlib.repr(line)}, which is not UTF-8: save the file as UTF-8"
            ) from error
        if text:
            yield number, text


_STOP = re.compile(r"""([.．。｡！？!?；;…।॥؟۔።។။]+)[”’"'»›」』）)】》〉］\]｝}]*""")


def sentences(text: str) -> list[str]:
    """The sentences of ``text``, in order, without surrounding whitespace; only whitespace between them is lost.

    A sentence ends at a line end, after 。！？!?；;… or three dots, and after a full stop that whitespace follows;
    closing quotes and brackets stay with it. A blank text is one sentence, as it is; an empty text has none.
    """
    found = [sentence for line in text.splitlines() for sentence in _line_sentences(line)]
    return found or ([text] if text else [])


def _line_sentences(line: str) -> Iterator[str]:
    start = 0
    for stop in _STOP.finditer(line):
        end = stop.end()
        if stop[1] in (".", "..", "．") and end < len(line) and not line[end].isspace():
            continue  # the point of 3.14 or fenlei.text
        yield line[start:end].strip()
        start = end
    if rest := line[start:].strip():
        yield rest
