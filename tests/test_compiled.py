"""The compiled loops: loaded only where they are those of the sources beside them, and equal to their twins."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei import compiled
from fenlei.codepoints import HAN, Lines, normalized
from fenlei.ngrams import NgramTable, hash_runs, hash_tokens, mix
from fenlei.pipeline import cut
from fenlei.streams import Tokens
from fenlei.text import Tokenizer, normalize
from fenlei.wide import Counts, Wide

needs_loops = pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
LETTERS = st.sampled_from("ab 12 \t\u3000中文分类好坏。ＡＢéÉé\u0301Σς가")
TEXTS = st.lists(st.text(LETTERS, max_size=30), min_size=1, max_size=8)


def in_python(work):
    """What ``work`` returns without the compiled loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LOADED", False)
        return work()


@needs_loops
def test_loops_of_other_sources_are_left_out(monkeypatch):
    assert compiled._load() is not None
    monkeypatch.setattr(compiled.zlib, "crc32", lambda _: 1)
    assert compiled._load() is None


@needs_loops
def test_the_environment_can_leave_them_out(monkeypatch):
    monkeypatch.setenv("FENLEI_KERNELS", "0")
    assert compiled._load() is None


def test_an_installation_without_them_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "fenlei.compiled._loops", None)
    assert compiled._load() is None


def test_a_library_of_something_else_is_not_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "fenlei.compiled._loops", SimpleNamespace())
    assert compiled._load() is None


@needs_loops
def test_arguments_are_counted_and_arrays_have_no_gaps():
    with pytest.raises(TypeError, match="expected 4 arguments, got 1"):
        compiled.LOOPS.find_rows(1)
    with pytest.raises(TypeError, match="expected 6 arguments, got 5"):
        compiled.LOOPS.weigh(*range(5))
    with pytest.raises(TypeError, match="expected 10 arguments, got 11"):
        compiled.LOOPS.weigh(*range(11))
    with pytest.raises(TypeError, match="expected 70 arguments, got 74"):
        compiled.LOOPS.weigh(*range(6 + 4 * (compiled.MOST + 1)))
    with pytest.raises(TypeError, match="bytes-like"):
        compiled.LOOPS.hash_tokens(object(), None, 0, 0)
    with pytest.raises((BufferError, ValueError), match="contiguous"):
        compiled.LOOPS.hash_tokens(np.zeros(4, np.uint32)[::2], None, 2, np.zeros(2, np.uint64))


def test_no_normalization_changes_the_characters_that_are_taken_as_they_are():
    assert [point for point in HAN if normalize(chr(point)) != chr(point)] == []


@needs_loops
@given(TEXTS)
def test_texts_are_spelled_as_in_python(texts):
    found, expected = normalized(texts), in_python(lambda: normalized(texts))
    assert found.strings() == expected.strings() == [normalize(text) for text in texts]
    assert np.array_equal(found.offsets, expected.offsets)


@needs_loops
@given(TEXTS, st.integers(0, 3), st.integers(0, 3))
def test_signs_surround_texts_as_in_python(texts, before, after):
    lines = Lines.of(texts)
    found, expected = (work(lambda: lines.surround(ord("|"), before, after)) for work in (lambda f: f(), in_python))
    assert found.strings() == expected.strings() == ["|" * before + text + "|" * after for text in texts]


@needs_loops
@given(st.lists(st.lists(st.text("abc中文", min_size=1, max_size=4), max_size=9), min_size=1, max_size=6))
def test_tokens_and_runs_are_hashed_as_in_python(documents):
    tokens = Tokens.of(documents)
    for work in (
        lambda: hash_tokens(tokens.points, tokens.lengths),
        lambda: hash_tokens(tokens.points, np.ones(len(tokens.points), np.int64)),
        lambda: hash_runs(tokens.hashes, tokens.offsets, 2),
        lambda: hash_runs(tokens.hashes, tokens.offsets, 3),
    ):
        assert np.array_equal(work(), in_python(work))


@needs_loops
@pytest.mark.parametrize("bits", [64, 40])
@pytest.mark.parametrize("size", [1, 2, 77, 5000])
def test_rows_are_found_as_in_python(size, bits):
    hashes = np.unique(mix(np.arange(2 * size, dtype=np.uint64)) >> np.uint64(64 - bits))
    table = NgramTable(hashes[::2], bits)
    assert table.loops is not None
    asked = mix(np.arange(2 * size + 9, dtype=np.uint64))
    bare = in_python(lambda: NgramTable(hashes[::2], bits).rows(asked))
    assert np.array_equal(table.rows(asked), bare)
    assert np.count_nonzero(bare) == len(table.hashes)


@needs_loops
def test_a_crowded_table_is_searched_by_halves():
    table = NgramTable(np.arange(100, dtype=np.uint64))
    assert table.loops is None
    assert table.rows(np.array([0, 99, 100], np.uint64)).tolist() == [1, 100, 0]


@needs_loops
@pytest.mark.parametrize("views", [(("chars", 3), ("jieba", 2)), (("tokens", 1),), (("chars", 5), ("tokens", 2))])
@given(texts=TEXTS)
def test_documents_are_weighed_as_in_python(views, texts):
    counts = Counts(views)
    counts.add(cut([*texts, "好 好 好 中文", "ab ab"], Tokenizer("chars")))
    wide = counts.wide(1, 50)
    texts = [*texts, "", "qqq", "中文好坏" * 40]

    def encoded(road: Wide):
        return road.encode(cut(texts, Tokenizer("chars")))

    found = encoded(wide)
    expected = in_python(lambda: encoded(Wide(views, NgramTable(wide.table.hashes), wide.idf)))
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_allclose(found[2], expected[2], rtol=3e-7)
