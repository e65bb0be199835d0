from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei import pipeline as module
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Encoded, Pipeline, Ragged, chunks, limit
from fenlei.streams import STREAMS, TokenBatch
from fenlei.text import Tokenizer, normalize
from fenlei.vocab import PAD, RESERVED, UNK, Vocab
from fenlei.wide import Counts, Tally

TEXTS = ["我爱北京天安门", "北京的天气很好", "我在研究生命起源", "天安门 is in 北京!", "好的,好的"]
STREAMS_OF = {
    "chars": ["bigrams", "trigrams", "covering_words"],
    "words": ["bigrams", "prefixes", "suffixes"],
    "jieba": ["bigrams"],
    "spaces": ["bigrams"],
}
NAMES = sorted(STREAMS_OF)


def make(
    name: str,
    stop_words: frozenset[str] = frozenset(),
    wide: bool = True,
    max_length: int = 1024,
    sentence_length: int = 0,
) -> Pipeline:
    """A small pipeline of every stream that fits the tokenizer, counted from ``TEXTS``."""
    tokenizer = Tokenizer(name, stop_words=stop_words)
    batch = TokenBatch.join([normalize(text) for text in TEXTS], [tokenizer(text) for text in TEXTS])
    tables = {}
    for stream in [] if stop_words else STREAMS_OF[name]:
        tally = Tally()
        tally.add(STREAMS[stream](batch))
        tables[stream] = most_frequent(*tally.total(), 1, 1000)[0]
    counts = Counts([("chars", 2), ("tokens", 2), ("jieba", 1)])
    counts.add(batch)
    road = counts.wide(1, 1000) if wide else None
    return Pipeline(tokenizer, Vocab.build(map(tokenizer, TEXTS)), tables, road, max_length, sentence_length)


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 7), st.integers(0, 15))
def test_numbers_are_counted_a_block_at_a_time(values: list[int], block: int, size: int) -> None:
    column = Ragged(np.array(values, np.uint8), np.array([0, len(values)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = column.counts(size)
    assert found.tolist() == np.bincount(np.array(values, np.int64), minlength=size).tolist()


def assert_same(one: Encoded, other: Encoded, row: int) -> None:
    """Document ``row`` of ``one`` is the first of ``other``, to the bit."""
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        own = column.values[column.offsets[row] : column.offsets[row + 1]]
        np.testing.assert_array_equal(own, other.columns[name].values[: other.columns[name].offsets[1]])


@pytest.mark.parametrize(("multiple", "steps"), [(1, 0), (8, 0), (8, 1), (1, 4)])
def test_one_row_is_padded_as_several_are(multiple: int, steps: int) -> None:
    encoded = make("chars").encode(["", *TEXTS])
    small = {name: Ragged(c.values.astype(c.values.dtype), c.offsets) for name, c in encoded.columns.items()}
    small["ids"] = Ragged(small["ids"].values.astype(np.uint16), small["ids"].offsets)
    for documents in (encoded, Encoded(small)):
        for row in range(len(documents)):
            one = documents.batch(np.array([row]), multiple, steps)
            two = documents.batch(np.array([row, row]), multiple, steps)
            assert one.keys() == two.keys()
            for name, array in one.items():
                assert array.dtype == two[name].dtype
                np.testing.assert_array_equal(array, two[name][:1])


@pytest.mark.parametrize("name", NAMES)
def test_a_text_has_the_same_numbers_alone_and_in_a_batch(
    name: str, jumble: Callable[[int, int, int], list[str]], hostile: list[str]
) -> None:
    pipeline = make(name)
    texts = [*TEXTS, *jumble(1, 60, 60), *hostile]
    together = pipeline.encode(texts)
    assert len(together) == len(texts)
    for row, text in enumerate(texts):
        assert_same(together, pipeline.encode([text]), row)


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=12), min_size=1, max_size=5))
def test_every_id_has_a_row_and_every_row_a_token(texts: list[str]) -> None:
    for name in NAMES:
        pipeline = make(name)
        arrays = pipeline(texts)
        assert arrays["lengths"].min() >= 1
        inside = np.arange(arrays["ids"].shape[1]) < arrays["lengths"][:, None]
        for stream, size in pipeline.stream_sizes().items():
            assert arrays[stream].shape == arrays["ids"].shape
            assert arrays[stream].dtype == np.int64
            np.testing.assert_array_equal(arrays[stream] == PAD, ~inside)
            assert arrays[stream].max() < size
        assert arrays["ngrams"].shape == arrays["ngram_values"].shape
        assert 0 <= arrays["ngrams"].min() <= arrays["ngrams"].max() < len(pipeline.wide or "")
        assert np.isfinite(arrays["ngram_values"]).all()


def test_ids_are_the_vocabularys() -> None:
    pipeline = make("chars", wide=False)
    arrays = pipeline(["北京X", "天"])
    assert arrays["ids"][0, :2].tolist() == pipeline.vocab.ids(["北", "京"])
    assert arrays["ids"][0, 2] == UNK
    assert arrays["ids"][1].tolist()[:3] == [*pipeline.vocab.ids(["天"]), PAD, PAD]
    assert arrays["lengths"].tolist() == [3, 1]


def test_a_known_neighbour_is_known_to_the_stream_and_an_unknown_is_not() -> None:
    pipeline = make("chars")
    known, unknown = pipeline(["北京"])["bigrams"][0, 0], pipeline(["京北"])["bigrams"][0, 0]
    assert known >= RESERVED
    assert unknown == UNK


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", " ", "\t\n \u3000", "\u200b\ufeff", "\x00"])
def test_an_empty_text_is_one_unknown(name: str, text: str) -> None:
    pipeline = make(name)
    for texts in ([text], [text, *TEXTS], [*TEXTS, text], [text, text]):
        arrays = pipeline(texts)
        row = texts.index(text)
        assert arrays["lengths"][row] == 1
        for stream in pipeline.stream_sizes():
            assert arrays[stream][row, 0] == UNK
            assert not arrays[stream][row, 1:].any()


def test_a_text_of_stop_words_only_is_one_unknown() -> None:
    pipeline = make("jieba", stop_words=frozenset(["的", "我"]))
    arrays = pipeline(["的我的", "我爱北京"])
    assert arrays["lengths"].tolist() == [1, 2]
    assert arrays["ids"][0].tolist()[:2] == [UNK, PAD]


@pytest.mark.parametrize("name", NAMES)
def test_a_long_text_keeps_its_first_tokens_and_is_counted(name: str) -> None:
    whole, cut = make(name), make(name, max_length=3)
    texts = ["北京 " * 50, "", "天安门 好的 北京", "好"]
    encoded = cut.encode(texts)
    assert encoded.shortened == sum(len(cut.tokenizer(text)) > 3 for text in texts) >= 1
    assert whole.encode(texts).shortened == 0
    assert encoded.lengths.max() == 3
    full = whole.encode(texts)
    for row in range(len(texts)):
        for stream in cut.stream_sizes():
            short, long = encoded.columns[stream], full.columns[stream]
            begin = long.values[long.offsets[row] : long.offsets[row + 1]][:3]
            np.testing.assert_array_equal(short.values[short.offsets[row] : short.offsets[row + 1]], begin)
    np.testing.assert_array_equal(encoded.columns["ngrams"].values, full.columns["ngrams"].values)


@pytest.mark.parametrize("name", NAMES)
def test_settings_tables_and_vocabulary_restore_the_pipeline(name: str, hostile: list[str]) -> None:
    pipeline = make(name, max_length=50)
    settings = json.loads(json.dumps(pipeline.settings()))
    again = Pipeline.restore(settings, pipeline.tables(), Vocab(*zip(*pipeline.vocab.items(), strict=True)))
    assert again.settings() == pipeline.settings()
    assert again.stream_sizes() == pipeline.stream_sizes()
    texts = [*TEXTS, *hostile]
    one, other = pipeline(texts), again(texts)
    assert one.keys() == other.keys()
    for key, array in one.items():
        np.testing.assert_array_equal(array, other[key])


def test_a_pipeline_without_streams_and_wide_branch_is_restored() -> None:
    pipeline = make("words", stop_words=frozenset(["is"]), wide=False)
    again = Pipeline.restore(pipeline.settings(), pipeline.tables(), pipeline.vocab)
    assert pipeline.tables() == {}
    assert again.wide is None
    assert again(["北京 is"]).keys() == {"ids", "lengths"}
    assert again(["北京 is"])["lengths"].tolist() == [2]


def test_an_unknown_stream_is_refused() -> None:
    pipeline = make("chars", wide=False)
    settings = pipeline.settings() | {"streams": ["fourgrams"]}
    with pytest.raises(ValueError, match="'fourgrams'; this fenlei has bigrams, "):
        Pipeline.restore(settings, {}, pipeline.vocab)


def test_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        make("chars").encode([])


@pytest.mark.parametrize("name", ["chars", "words", "jieba"])
@pytest.mark.parametrize(("unit", "count"), [("龘", 1_000_000), ("é\u0301", 10_000), ("a.", 10_000)])
def test_a_million_characters_pass(name: str, unit: str, count: int) -> None:
    encoded = make(name, max_length=100).encode([unit * count])
    assert 1 <= encoded.lengths[0] <= 100


def test_chunks_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make("chars")
    texts = TEXTS * 5
    whole = pipeline.encode(texts)
    monkeypatch.setattr(module, "CHUNK_TEXTS", 4)
    parts = pipeline.encode(iter(texts))
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(column.values, parts.columns[name].values)
        np.testing.assert_array_equal(column.offsets, parts.columns[name].offsets)


@given(st.lists(st.integers(0, 12), max_size=40))
def test_chunks_are_bounded_and_keep_the_order(sizes: list[int]) -> None:
    texts = ["x" * size for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_TEXTS", 5)
        patch.setattr(module, "CHUNK_CHARACTERS", 10)
        runs = list(chunks(texts))
    assert [text for run in runs for text in run] == texts
    for run in runs:
        assert 1 <= len(run) <= 5
        assert len(run) == 1 or sum(map(len, run)) <= 10


def test_chunks_read_no_further_than_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_TEXTS", 50)
    monkeypatch.setattr(module, "CHUNK_CHARACTERS", 1000)
    taken = []

    def source(size: int) -> Iterator[str]:
        for number in range(1000):
            taken.append(number)
            yield "x" * size

    for size, most in ((1, 51), (500, 3), (5000, 2)):
        taken.clear()
        next(iter(chunks(source(size))))
        assert len(taken) <= most, f"texts of {size} characters"


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=6), st.randoms())
def test_ragged_rows_are_padded_in_the_asked_order(rows: list[list[int]], random: object) -> None:
    offsets = np.cumsum([0, *map(len, rows)])
    ragged = Ragged(np.array([value for row in rows for value in row], np.int64), offsets)
    asked = list(range(len(rows)))
    random.shuffle(asked)  # type: ignore[attr-defined]
    padded = ragged.pad(np.array(asked))
    for row, place in zip(padded, asked, strict=True):
        assert row.tolist()[: len(rows[place])] == rows[place]
        assert not row[len(rows[place]) :].any()
    wider = ragged.pad(np.array(asked), 8)
    assert wider.shape[1] % 8 == 0 <= wider.shape[1] - padded.shape[1] < 8
    np.testing.assert_array_equal(wider[:, : padded.shape[1]], padded)
    assert not wider[:, padded.shape[1] :].any()
    joined = Ragged.join([ragged, ragged])
    assert joined.lengths.tolist() == [*map(len, rows)] * 2
    assert joined.values.tolist() == [*ragged.values.tolist()] * 2


LONG = "我爱北京。北京的天气很好!天安门在北京,我在天安门。\nis it good? Yes."


@pytest.mark.parametrize("name", NAMES)
def test_a_text_in_sentences_has_the_same_numbers_alone_and_in_a_batch(
    name: str, jumble: Callable[[int, int, int], list[str]], hostile: list[str]
) -> None:
    pipeline = make(name, sentence_length=6, max_length=40)
    texts = [LONG, *TEXTS, *jumble(1, 40, 60), *hostile]
    together = pipeline.encode(texts)
    assert together.sentences is not None
    for row, text in enumerate(texts):
        alone = pipeline.encode([text])
        assert_same(together, alone, row)
        assert alone.sentences is not None
        start, end = together.sentences.offsets[row : row + 2]
        np.testing.assert_array_equal(together.sentences.values[start:end], alone.sentences.values)
        assert alone.sentences.values.sum() == alone.lengths[0] <= 40
        assert 1 <= alone.sentences.values.min() <= alone.sentences.values.max() <= 6


def test_sentences_are_folded_in_order() -> None:
    pipeline = make("chars", sentence_length=8, wide=False)
    encoded = pipeline.encode(["好的", LONG])
    assert encoded.sentences is not None
    for multiple in (1, 8):
        arrays = encoded.batch(np.array([1, 0]), multiple)
        assert arrays["lengths"].shape == arrays["ids"].shape[:2]
        assert arrays["ids"].shape[1] % multiple == arrays["ids"].shape[2] % multiple == 0
        inside = np.arange(arrays["ids"].shape[2]) < arrays["lengths"][..., None]
        for row, document in enumerate((1, 0)):
            column = encoded.columns["ids"]
            expected = column.values[column.offsets[document] : column.offsets[document + 1]]
            np.testing.assert_array_equal(arrays["ids"][row][inside[row]], expected)
        assert not arrays["ids"][~inside].any()
        assert (np.diff((arrays["lengths"] > 0).astype(int), axis=1) <= 0).all()  # those that are not there come last


def test_a_document_of_nothing_but_short_sentences_has_no_more_places_than_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fenlei.pipeline.PLACES", 32)
    texts = ["好。" * 40, "好。坏。", "好坏" * 9, "好。" * 3 + "好坏坏坏。" + "好。" * 9, "好。" * 16]
    pipeline = make("chars", sentence_length=8, wide=False)
    encoded = pipeline.encode(texts)
    assert encoded.sentences is not None
    assert (encoded.sentences.lengths.tolist(), encoded.shortened) == ([16, 2, 3, 6, 16], 2)
    arrays = encoded.batch(np.arange(5))
    assert arrays["ids"].shape == (5, 16, 6)
    for text, lengths in zip(texts, arrays["lengths"], strict=True):
        assert len(pipeline.tokens(text)) == lengths.sum()


@given(st.lists(st.integers(0, 20), max_size=10), st.integers(1, 7), st.integers(1, 40))
def test_sentences_are_cut_evenly_within_both_limits(lengths: list[int], longest: int, most: int) -> None:
    kept = limit(lengths, longest, most)
    assert min(kept) >= 1
    assert max(kept) <= longest
    assert sum(kept) == max(1, min(most, sum(lengths)))
    if longest >= 20 and most >= sum(lengths) > 0:
        assert kept == [length for length in lengths if length]


def test_what_is_not_asked_for_is_not_padded() -> None:
    offsets = np.array([0, 2, 3])
    columns = {name: Ragged(np.arange(3) + place, offsets) for place, name in enumerate(("ids", "bigrams", "ngrams"))}
    some = Encoded(columns, shortened=1).only(["ids", "bigrams"])
    assert (list(some.columns), some.shortened, len(some)) == (["ids", "bigrams"], 1, 2)
    batch = some.batch(np.array([1, 0]))
    assert list(batch) == ["ids", "bigrams", "lengths"]
    assert batch["bigrams"].tolist() == [[3, 0], [1, 2]]
    assert batch["lengths"].tolist() == [1, 2]


def test_the_lengths_of_some_rows_are_those_of_all() -> None:
    column = Ragged(np.arange(9), np.array([0, 2, 2, 7, 9]))
    assert column.lengths_of(np.array([2, 0, 1])).tolist() == column.lengths[[2, 0, 1]].tolist() == [5, 2, 0]
