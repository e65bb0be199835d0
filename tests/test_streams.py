from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei import text
from fenlei.codepoints import normalized
from fenlei.ngrams import mix
from fenlei.streams import STREAMS, TokenBatch, Tokens, bigrams, covering_words, prefixes, suffixes, trigrams

HAN = "我爱北京天安门在中国人民研究生命起源\U00020000"
MIXED = st.text(HAN + " abcXYZ019.-_%+#'’，。éＡｶﾞ\u0301\u200d\ufe0f\x00\u3000\u200b\ud800😀👩👧", max_size=25)


def batch_of(texts: list[str], name: str = "chars") -> TokenBatch:
    normal = [text.normalize(each) for each in texts]
    return TokenBatch.join(normal, [text.TOKENIZERS[name](each) for each in normal])


def hashes_of(*tokens: str) -> np.ndarray:
    return Tokens.of([tokens]).hashes


@given(st.lists(MIXED | st.text(st.characters(exclude_categories=()), max_size=20), min_size=1, max_size=5))
def test_covering_words_lie_over_their_own_characters(texts: list[str]) -> None:
    batch = batch_of(texts)
    covered = covering_words(batch)
    assert len(covered) == len(batch.tokens)
    place = 0
    for word in (word for line in batch.lines.strings() for word in text.jieba(line)):
        assert list(word) == batch.tokens.strings[place : place + len(word)]
        assert set(covered[place : place + len(word)].tolist()) == set(hashes_of(word).tolist())
        place += len(word)


def test_covering_words_of_a_known_sentence() -> None:
    batch = batch_of(["我爱北京 天安门"])
    expected = hashes_of("我", "爱", "北京", "北京", "天安门", "天安门", "天安门")
    np.testing.assert_array_equal(covering_words(batch), expected)


def test_covering_words_refuse_other_tokens() -> None:
    with pytest.raises(ValueError, match="tokenizer 'chars' without stop words"):
        covering_words(batch_of(["hello world"], "words"))


def test_bigrams_end_with_their_document() -> None:
    one, two, pair = (bigrams(TokenBatch.join([], lists)) for lists in ([["a", "b"]], [["a"], ["b"]], [["b", "a"]]))
    assert one[0] != 0
    assert one[1] == 0
    assert two.tolist() == [0, 0]
    assert pair[0] != one[0]


def test_trigrams_end_with_their_document() -> None:
    lists = [["a", "b", "c", "d"], ["b", "c", "d"], ["a", "b"], ["a", "b", "c"], ["c", "b", "a"]]
    found = np.split(trigrams(TokenBatch.join([], lists)), np.cumsum([len(tokens) for tokens in lists])[:-1])
    assert [np.flatnonzero(row == 0).tolist() for row in found] == [[2, 3], [1, 2], [0, 1], [1, 2], [1, 2]]
    assert found[0][1] == found[1][0]
    assert found[0][0] == found[3][0]
    assert len({found[0][0], found[0][1], found[4][0]}) == 3


def test_prefixes_and_suffixes_are_shared_by_words_of_one_kind() -> None:
    words = ["running", "runner", "run", "ru", "singing", "sing"]
    begin, end = prefixes(TokenBatch.join([], [words])), suffixes(TokenBatch.join([], [words]))
    assert begin[0] == begin[1]
    assert begin[4] == begin[5]
    assert len(set(begin.tolist())) == 4  # "run" and "ru" are whole words, and no prefix
    assert end[0] == end[4]
    assert end[5] == end[0]
    assert len(set(end.tolist())) == 4
    assert not set(begin.tolist()) & set(end.tolist())


@pytest.mark.parametrize("name", sorted(STREAMS))
@given(st.lists(MIXED, min_size=2, max_size=6))
def test_a_stream_is_the_same_alone_and_in_a_batch(name: str, texts: list[str]) -> None:
    cut = "chars" if name == "covering_words" else "words"
    alone = [STREAMS[name](batch_of([each], cut)) for each in texts]
    np.testing.assert_array_equal(STREAMS[name](batch_of(texts, cut)), np.concatenate(alone))


def test_join_counts_offsets_and_keeps_empty_documents() -> None:
    batch = TokenBatch.join(["", "ab", ""], [[], ["a", "b"], []])
    assert batch.tokens.offsets.tolist() == [0, 0, 2, 2]
    assert batch.tokens.offsets.dtype == np.int64
    assert len(bigrams(TokenBatch.join([""], [[]]))) == 0


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=()), min_size=1, max_size=6), max_size=5), max_size=4)
)
def test_prefixes_and_suffixes_are_hashes_of_the_cut_words(lists: list[list[str]]) -> None:
    batch = TokenBatch.join([], lists)
    flat = [token for tokens in lists for token in tokens]
    begin = hashes_of(*(token[:3] + "~" * (len(token) > 3) for token in flat))
    np.testing.assert_array_equal(prefixes(batch), mix(begin))
    np.testing.assert_array_equal(suffixes(batch), hashes_of(*("~" * (len(t) > 3) + t[-3:] for t in flat)))


@pytest.mark.parametrize("name", sorted(text.TOKENIZERS))
@given(st.lists(MIXED | st.text(st.characters(exclude_categories=()), max_size=20), max_size=5))
def test_tokens_of_several_texts_are_those_of_each(name: str, texts: list[str]) -> None:
    lines = normalized(texts)
    normal = [text.normalize(each) for each in texts]
    expected = Tokens.of([text.TOKENIZERS[name](each) for each in normal])
    found = Tokens.over(lines, text.TOKENIZERS[name](lines.whole()))
    assert found.strings == expected.strings
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.counts() == dict(Counter(expected.strings))


def test_tokens_know_their_strings_and_leave_out_stop_words() -> None:
    tokens = Tokens.of([["ab", "c"], [], ["c", "\ud800d"]])
    assert tokens.strings == ["ab", "c", "c", "\ud800d"]
    assert tokens.owners.tolist() == [0, 0, 2, 2]
    left = tokens.without(frozenset({"c"}))
    assert left.strings == ["ab", "\ud800d"]
    assert left.offsets.tolist() == [0, 1, 1, 2]


def test_tokens_that_do_not_cover_their_text_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens of 2 characters cannot cover a text of 3"):
        Tokens.over(normalized(["a bc"]), ["ab"])
