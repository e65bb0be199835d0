"""Many texts cut at once: the same tokens in order; what becomes of the worker processes is in ``test_workers``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from fenlei import workers
from fenlei.cutting import tokenize
from fenlei.text import Tokenizer

CHINESE = ["我来到北京清华大学", "", "请访问 url.cn", "a\ud800b\ud83d\ude00", " \n", "他说“走吧”" * 5]


@pytest.mark.parametrize("name", ["jieba", "words", "chars"])
def test_the_tokens_come_in_order_however_many_processes_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "POOL_CHARS", 100)
    monkeypatch.setattr(workers, "CHUNK_CHARS", 60)
    words = (("北京清华", None),) if name == "jieba" else ()
    tokenizer = Tokenizer(name, user_words=words, stop_words=frozenset({"“"}))
    texts = [f"{text}{i}" for i in range(20) for text in CHINESE] + CHINESE
    expected = [tokenizer(text) for text in texts]
    assert list(tokenize(texts, tokenizer, 2)) == expected
    assert list(tokenize(texts, tokenizer, 1)) == expected
    assert not list(tokenize([], tokenizer))


def test_a_bounded_number_of_texts_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "POOL_CHARS", 40)
    monkeypatch.setattr(workers, "CHUNK_CHARS", 60)
    read = itertools.count()
    results = tokenize(("我来到北京清华大学" for _ in read), Tokenizer("jieba"), 2)
    for asked in range(1, 60):
        assert next(results) == ["我", "来到", "北京", "清华大学"]
        assert next(read) - asked * 2 < 50
    assert isinstance(results, Iterator)


def test_no_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="processes is 0, expected at least 1"):
        tokenize([], Tokenizer(), 0)
