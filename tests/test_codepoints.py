from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.codepoints import LINE_END, SPACE, Lines, code_points, ends, normalized, string
from fenlei.text import normalize

# Everything whose spelling depends on what stands beside it, or that becomes several characters, or none.
AWKWARD = (
    "aA1 .\t\n\r\x00\x1c\x85\u2028\u3000\u00a0\u200b\ufeffＡｂ１！：…㈱ﬁΣςσαΑİıßﬀǰJ\u030c\u0301\u0308\u0344\u0345"
    "가각\u1100\u1161\u11a8ᄀﾞｶ゙か\u3099ำก\u0e38\u09c7\u09be\u2126\u212bſẛ\u0323q\u0307\u0958ΐ\u1fd3¨´"
    "京北\u3400\uf900\U00020000\U0002f800😀👩\u200d\ufe0f\ud800\udc00\udfff\U0001d6ba\ue000\uffff\U0010ffff"
)
TEXTS = st.text(st.sampled_from(AWKWARD) | st.characters(exclude_categories=()), max_size=15)


@pytest.mark.parametrize("nfkc", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@given(st.lists(TEXTS, max_size=6))
def test_texts_are_normalized_as_each_alone(nfkc: bool, lower: bool, texts: list[str]) -> None:
    found = normalized(texts, nfkc=nfkc, lower=lower)
    assert found.strings() == [normalize(text, nfkc=nfkc, lower=lower) for text in texts]
    assert found.offsets.dtype == np.int64


@pytest.mark.slow
@pytest.mark.parametrize(("nfkc", "lower"), [(True, True), (True, False), (False, True), (False, False)])
def test_every_character_is_spelled_the_same_beside_any_other(nfkc: bool, lower: bool) -> None:
    """All that the table spells by itself, shuffled into one text: a character that joined a neighbour would show."""
    from fenlei.codepoints import _HARD, _spelling

    simple = [chr(p) for p in range(0x110000) if _spelling(chr(p), nfkc, lower) != _HARD]
    assert len(simple) > 1_100_000
    for seed in range(3):
        random.Random(seed).shuffle(simple)
        text = "".join(simple)
        assert normalized([text], nfkc=nfkc, lower=lower).strings() == [normalize(text, nfkc=nfkc, lower=lower)]


@pytest.mark.parametrize(
    "texts",
    [[], [""], ["", ""], [" "], ["\x00\u200b"], [" a", "b ", "", " ", "c  d"], ["\ud83d", "\ude00"], ["e", "\u0301"]],
)
def test_texts_do_not_reach_into_one_another(texts: list[str]) -> None:
    assert normalized(texts).strings() == [normalize(text) for text in texts]


@pytest.mark.parametrize("unit", ["龘", "a.", " ", "\u0301", "Σ", "\U00020000", "が", "\x00a"])
def test_a_million_characters_take_seconds_at_most(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    assert normalized([text]).strings() == [normalize(text)]
    assert time.process_time() - began < 10


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=8), max_size=6))
def test_lines_hold_their_texts(texts: list[str]) -> None:
    lines = Lines.of(texts)
    assert lines.strings() == texts
    assert lines.lengths.tolist() == [len(text) for text in texts]
    assert lines.surround(SPACE, 2, 1).strings() == [f"  {text} " for text in texts]
    assert lines.whole() == "".join(f"{text}\n" for text in texts)
    assert lines.without_spaces().strings() == [text.replace(" ", "") for text in texts]
    assert lines.keep(lines.points != LINE_END).strings() == [text.replace("\n", "") for text in texts]


@given(st.text(st.characters(exclude_categories=())))
def test_code_points_are_the_characters(text: str) -> None:
    assert code_points(text).tolist() == [ord(char) for char in text]
    assert string(code_points(text)) == text


def test_ends_are_running_sums() -> None:
    assert ends(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert ends(np.zeros(0, np.int64)).tolist() == [0]
