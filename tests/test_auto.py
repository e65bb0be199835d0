from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.auto import (
    FAST,
    FEWEST,
    STREAMS_OF,
    VIEWS_OF,
    batch_size_for,
    check_names,
    crosses,
    decide,
    epochs_for,
    is_han,
    lengths_of,
    networks_for,
    tokens_of,
)
from fenlei.models import try_out
from fenlei.recipe import USUAL, Recipe
from fenlei.streams import STREAMS
from fenlei.text import TOKENIZERS
from fenlei.wide import VIEWS

CHINESE = ["今天的比赛很精彩", "银行的利率上涨了", "新手机发布会"]
JAPANESE = ["きょうはとてもあつい", "カタカナのテスト", "すばらしいえいがでした"]
THAI = ["วันนี้อากาศดีมาก", "ร้านนี้อาหารอร่อย", "บริการแย่มาก"]
ENGLISH = ["the film was great", "a boring story", "the plot is dull"]
CHARACTERS = ("bigrams", "trigrams")
FEW = "no covering words but runs of three characters, as at most 10% of the characters are Chinese"
STOPPED = "no covering words but runs of three characters, as stop words are left out"


def tokens_in(texts: list[str], recipe: Recipe) -> int:
    return tokens_of(len(texts), lengths_of(texts, recipe), recipe)


def networks_of(texts: list[str], recipe: Recipe) -> int:
    return networks_for(len(texts), tokens_in(texts, recipe), recipe)


def decided(texts: list[str], **settings: object) -> tuple[Recipe, list[str]]:
    """The recipe, and every sentence that was said."""
    said: list[str] = []
    return decide(texts, Recipe().change(**settings), said.append), said


def test_every_way_of_cutting_has_its_streams_and_views() -> None:
    assert set(STREAMS_OF) == set(VIEWS_OF) == set(TOKENIZERS)
    assert {name for streams in STREAMS_OF.values() for name in streams} | set(CHARACTERS) == set(STREAMS)
    assert {name for views in VIEWS_OF.values() for name, _ in views} == set(VIEWS)


@pytest.mark.parametrize(
    ("texts", "tokenizer", "reason"),
    [
        (CHINESE, "chars", "100.0% of the letters in 3 sampled texts are of scripts written without spaces"),
        (JAPANESE, "chars", "100.0% of the letters"),
        (THAI, "chars", "of the letters in 3 sampled texts are of scripts written without spaces"),
        (ENGLISH, "words", "0.0% of the letters in 3 sampled texts are of scripts written without spaces"),
    ],
    ids=["chinese", "japanese", "thai", "english"],
)
def test_the_script_decides_how_texts_are_cut_and_the_reason_is_said(
    texts: list[str], tokenizer: str, reason: str
) -> None:
    recipe, said = decided(texts)
    assert recipe.tokenizer == tokenizer
    assert said[0].startswith(f"tokenizer: {tokenizer}, ")
    assert reason in said[0]


def test_chinese_characters_know_their_words() -> None:
    recipe, said = decided(CHINESE)
    assert recipe.streams == ("bigrams", "covering_words")
    assert recipe.views == (("chars", 3),), "words of few texts are rare"
    assert decided(CHINESE * 4000, branches=1)[0].views == (("chars", 3), ("jieba", 2))
    assert len(said) == 1, "nothing departs from the usual"


@pytest.mark.parametrize("texts", [JAPANESE, THAI], ids=["japanese", "thai"])
def test_where_jieba_knows_no_words_longer_runs_of_characters_stand_for_them(texts: list[str]) -> None:
    recipe, said = decided(texts)
    assert recipe.streams == CHARACTERS
    assert recipe.views == (("chars", 5),)
    assert said[1:] == [FEW]


def test_stop_words_leave_no_character_for_every_covering_word() -> None:
    recipe, said = decided(CHINESE, stop_words="stop.txt")
    assert recipe.streams == CHARACTERS
    assert recipe.views == (("chars", 3),), "the linear model cuts the whole text itself"
    assert said[1:] == [STOPPED]


@pytest.mark.parametrize("name", ["words", "jieba", "spaces"])
@pytest.mark.parametrize("texts", [CHINESE, THAI, ENGLISH], ids=["chinese", "thai", "english"])
def test_words_have_their_streams_whatever_the_script(name: str, texts: list[str]) -> None:
    recipe, said = decided(texts, tokenizer=name, stop_words="stop.txt")
    assert (recipe.streams, recipe.views) == (STREAMS_OF[name], VIEWS_OF[name])
    assert said == []


@pytest.mark.parametrize("texts", [CHINESE, THAI, ENGLISH, [""]], ids=["chinese", "thai", "english", "empty"])
@pytest.mark.parametrize("name", ["auto", *TOKENIZERS])
def test_nothing_is_left_open_and_a_decided_recipe_stays(name: str, texts: list[str]) -> None:
    recipe, _ = decided(texts, tokenizer=name)
    assert recipe.tokenizer in TOKENIZERS
    assert None not in (recipe.streams, recipe.views, recipe.epochs, recipe.batch_size)
    said: list[str] = []
    assert decide(texts, recipe, said.append) == recipe
    assert said == []


def test_what_was_asked_for_is_kept() -> None:
    asked = {"tokenizer": "chars", "streams": (), "views": (("chars", 2),), "epochs": 1, "batch_size": 7, "branches": 2}
    recipe, said = decided(THAI, pretrain_epochs=2, **asked)
    decided_here = {"model": "bilstm", "ngram_min_count": 1, "window": 16_384} | USUAL | {"pretrain_epochs": 2}
    assert recipe == Recipe(**decided_here, **asked)  # type: ignore[arg-type]
    assert said == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "bpe"}, "unknown tokenizer 'bpe'; the choices are auto, chars, words, jieba, spaces"),
        ({"embedding": "glove"}, "unknown embedding 'glove'; the choices are full"),
        ({"streams": ("bigrams", "tea")}, "unknown stream 'tea'; the choices are bigrams, trigrams"),
        ({"views": (("chars", 2), ("tea", 1))}, "unknown view 'tea'; the choices are chars, tokens, jieba"),
    ],
    ids=str,
)
def test_a_name_that_means_nothing_is_refused_with_the_choices(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decided(ENGLISH, **settings)


def test_every_name_that_means_something_is_taken() -> None:
    check_names(Recipe())
    check_names(Recipe(streams=tuple(STREAMS), views=tuple((name, 1) for name in VIEWS)))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (CHINESE, True),
        (ENGLISH, False),
        (JAPANESE, False),
        (["x" * 90 + "中" * 10], False),
        (["x" * 89 + "中" * 11], True),
        (["x" * 1000 + "中" * 9000], False),
        ([*ENGLISH * 2000, "中" * 300], False),
        ([""], False),
        ([], False),
    ],
    ids=["chinese", "english", "kana", "a tenth", "more", "past the beginning", "one of many", "empty", "none"],
)
def test_a_tenth_of_the_characters_seen_is_too_few(texts: list[str], expected: bool) -> None:
    assert is_han(texts) is expected


def test_texts_from_the_whole_of_a_large_set_are_looked_at() -> None:
    texts = ["english words"] * 50_000
    assert not is_han(texts)
    assert is_han([*texts[:25_000], *["今天的比赛很精彩"] * 25_000])


@pytest.mark.parametrize(
    ("documents", "epochs"), [(0, 30), (1, 30), (500, 30), (10_000, 11), (180_000, 5), (5_000_000, 5)]
)
def test_small_sets_are_read_more_often(documents: int, epochs: int) -> None:
    assert epochs_for(documents) == epochs


@pytest.mark.parametrize(("documents", "size"), [(0, 32), (3000, 32), (25_000, 64), (180_000, 128), (5_000_000, 128)])
def test_small_sets_are_read_in_small_batches(documents: int, size: int) -> None:
    assert batch_size_for(documents) == size


@given(st.integers(0, 10_000_000), st.integers(0, 10_000_000))
def test_more_documents_never_mean_more_epochs_or_smaller_batches(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert 30 >= epochs_for(few) >= epochs_for(many) >= 5
    assert batch_size_for(few) <= batch_size_for(many)


def test_the_number_of_texts_decides_both() -> None:
    recipe, _ = decided(ENGLISH * 8000)
    assert (recipe.epochs, recipe.batch_size) == (epochs_for(24_000), batch_size_for(24_000)) == (8, 64)


@pytest.mark.parametrize(
    ("texts", "networks"),
    [
        (["好" * 20] * 59, 1),
        (["好" * 20] * 200, 5),
        (["好" * 300] * 3000, 3),
        (["好" * 20] * 180_000, 1),
        (["word " * 10] * 20_000, 5),
        (["word " * 50] * 20_000, 3),
        (["word " * 5000] * 2_000, 1),
    ],
)
def test_few_texts_get_several_networks(texts: list[str], networks: int) -> None:
    assert networks_of(texts, Recipe()) == networks
    assert networks_of(texts, Recipe(branches=2)) == 2
    assert networks_of(texts, Recipe(model=None)) == 1
    more = networks_of(texts, Recipe(pace="thorough"))
    assert more == (1 if len(texts) < FEWEST else {5: 10, 3: 6, 1: 2}[networks])


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({}, {"rcnn": {}}),
        ({"model": "mingru"}, {}),
        ({"model": "bilstm"}, {}),
        ({"options": {"hidden_size": 8}}, {}),
        ({"model": "han"}, {}),
        ({"model": None}, {}),
        ({"beside": {}}, {}),
        ({"beside": {"textcnn": {"filters": 8}}}, {"textcnn": {"filters": 8}}),
    ],
    ids=str,
)
def test_where_time_does_not_matter_another_view_takes_turns(
    settings: dict[str, object], others: dict[str, object]
) -> None:
    texts = CHINESE * 100
    recipe, said = decided(texts, pace="thorough", **settings)
    assert recipe.beside == others
    for kind in recipe.kinds if recipe.model else []:
        try_out(str(kind.model), kind.options)
    kinds = " and ".join(str(each.model) for each in recipe.kinds)
    turns = f"{recipe.branches} networks that answer together, {kinds} in turn: time does not matter"
    assert any(sentence.startswith(turns) for sentence in said) == bool(others)
    usual, said = decided(texts)
    assert usual.beside == {}
    assert "5 networks that answer together: the texts are few enough to train so many" in said


def test_networks_that_cannot_take_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'tea'; the choices are rnn, lstm"):
        decided(CHINESE, beside={"tea": {}})
    with pytest.raises(ValueError, match="bilstm and han cannot take turns: one of them alone reads sentences"):
        decided(CHINESE, beside={"han": {}})


def test_many_tokens_get_the_faster_network_and_rate() -> None:
    many, few = ["好的" * 25] * 100_000, ["好的"] * 100
    recipe, said = decided(many)
    assert (recipe.model, recipe.learning_rate, recipe.pretrain_epochs) == ("mingru", 3e-3, 0)
    assert (recipe.dropout, recipe.embedding_dropout, recipe.token_dropout) == (0.5, 0.4, 0.2)
    for name, usual in USUAL.items():
        assert getattr(decided(many, **{name: usual})[0], name) == usual, "set by hand, though to what it usually is"
    endless = ["好" * 1000] * 4_001
    assert (decided(few)[0].adversarial, decided(endless)[0].adversarial) == (1, 0)
    assert decided(endless, epochs=4)[0].adversarial == 1, "fewer tokens in all"
    assert decided(endless, steps=100)[0].adversarial == 1, "steps have fewer too"
    assert decided(few, steps=10**8)[0].adversarial == 0, "or more than the usual epochs"
    assert decided(few, pace="fast")[0].adversarial == decided(many, pace="fast")[0].adversarial == 0
    assert "network: mingru, for 100,000 texts of about 50 tokens" in said
    assert (decided(few)[0].model, decided(few)[0].learning_rate) == ("bilstm", 1e-3)
    assert decided(many, model="bilstm")[0].learning_rate == 1e-3
    assert decided(many, learning_rate=1e-4)[0].learning_rate == 1e-4
    assert decided(many, options={"hidden_size": 8})[0].model == "bilstm"
    assert decided(many, model=None)[0].model is None


def test_many_short_texts_teach_what_stands_where_before_the_labels() -> None:
    titles = ["好的" * 10] * 100_000
    recipe, said = decided(titles)
    assert (recipe.model, recipe.adversarial, recipe.pretrain_epochs, recipe.epochs) == ("bilstm", 1, 3, 5)
    assert "hidden tokens are guessed first: 100,000 short texts teach what stands where" in said
    thorough = decided(titles, pace="thorough")[0]
    assert (thorough.branches, thorough.pretrain_epochs, thorough.epochs) == (2, 10, 5)
    assert recipe.options == thorough.options == {"pooling": ("max", "mean")}
    own = decided(titles, options={"hidden_size": 16})[0]
    assert (own.pretrain_epochs, own.options) == (3, {"hidden_size": 16})
    assert decided(titles[1:])[0].pretrain_epochs == 0


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 4}, {"steps": 100}, {"pretrain_epochs": 0}, {"pace": "fast"}, {"model": "textcnn"}, {"model": None}],
    ids=str,
)
def test_not_where_somebody_set_the_pace_or_another_network(settings: dict[str, object]) -> None:
    recipe, said = decided(["好的" * 10] * 100_000, **settings)
    assert not recipe.pretrain_epochs
    assert not any("hidden tokens" in sentence for sentence in said)


def test_where_several_networks_read_much_each_learns_every_batch_once() -> None:
    some = ["好" * 100] * 4000  # 0.4 million tokens, 15 times, by three networks
    assert (decided(some)[0].branches, decided(some)[0].adversarial) == (3, 1)
    more = ["好" * 100] * 6000
    assert (decided(more)[0].branches, decided(more)[0].adversarial) == (3, 0)
    assert decided(more, pace="thorough")[0].adversarial == 0
    assert decided(some, pace="thorough")[0].adversarial == 1
    assert decided(more, branches=1)[0].adversarial == 1
    assert decided(more, adversarial=0.5)[0].adversarial == 0.5


def test_of_few_texts_every_ngram_counts() -> None:
    assert decided(["好"] * 10_000)[0].ngram_min_count == 1
    assert decided(["好"] * 10_001)[0].ngram_min_count == 2
    assert decided(["好"] * 10_001, ngram_min_count=1)[0].ngram_min_count == 1
    assert decide(["好"] * 100, Recipe(), lambda _: None, unlabelled=9_901).ngram_min_count == 2


def test_long_texts_need_be_fewer_for_it() -> None:
    recipe = decided(["好" * 1000] * 1200)[0]
    assert (recipe.model, recipe.learning_rate, recipe.dropout, recipe.adversarial) == ("mingru", 3e-3, 0.4, 0)
    assert decided(["好" * 1000] * 680)[0].model == "bilstm"
    assert decided(["好" * 5000] * 680)[0].model == "mingru"
    assert decided(["好" * 5000] * 680, window=1000)[0].model == "bilstm"
    assert tokens_in([], Recipe()) == 0


@pytest.mark.parametrize(
    ("length", "documents", "window"),
    [
        (30, 1000, 16_384),
        (30_000, 200, 16_384),
        (3000, 1900, 16_384),
        (30_000, 1400, 4096),
        (3000, 2100, 2048),
        (3000, 9000, 1024),
    ],
)
def test_long_texts_are_learned_from_whole_unless_they_are_many(length: int, documents: int, window: int) -> None:
    texts = ["好" * length] * documents
    assert decided(texts)[0].window == window
    assert decided(texts, window=77)[0].window == 77
    assert decided(texts[:100], max_length=20_000)[0].window == 20_000


def test_long_texts_are_read_fewer_times() -> None:
    assert decided(["好" * 1000] * 3000)[0].epochs == 10
    assert decided(["好" * 1000] * 20_000)[0].epochs == 5
    assert decided(["好" * 1000] * 3000, epochs=20)[0].epochs == 20
    assert decided(["好" * 100] * 3000)[0].epochs == epochs_for(3000) == 17


def test_a_token_of_jieba_is_not_as_long_as_a_word() -> None:
    assert tokens_in(["今天的比赛"] * 100, Recipe(tokenizer="jieba")) == 250


def test_a_fast_pace_means_a_narrow_network_or_few_epochs() -> None:
    recipe, said = decided(["好的" * 10] * 100_000, pace="fast", branches=1)
    assert (recipe.model, recipe.options, recipe.embedding_size) == ("mingru", FAST["options"], 64)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.schedule) == (2, 256, 5e-3, "averaged")
    assert "network: mingru, a narrow one, for 100,000 texts of about 20 tokens" in said
    fewer = decided(["好的" * 20] * 20_000, pace="fast", branches=1)[0]
    assert (fewer.model, fewer.epochs, fewer.schedule) == ("mingru", 3, "linear")
    linear = decided(["好的" * 10] * 100_000, pace="fast", branches=1, schedule="linear")[0]
    assert (linear.epochs, linear.schedule) == (3, "linear")
    kept = {"embedding_size": 32, "batch_size": 16, "learning_rate": 1e-4, "epochs": 7}
    asked = decided(["好的" * 10] * 100_000, pace="fast", branches=1, **kept)[0]
    assert {name: getattr(asked, name) for name in kept} == kept
    assert decided(["好的" * 10] * 100_000, pace="fast", model="lstm")[0].embedding_size == 128
    few = decided(["好的" * 10] * 20_000, pace="fast", branches=1)[0]
    assert (few.model, few.embedding_size, few.epochs) == ("bilstm", 128, 4)
    assert decided(["好的" * 10] * 100, pace="fast")[0].epochs == epochs_for(100)


def test_texts_that_are_all_the_same_do_not_judge_each_other() -> None:
    assert crosses(["好"] * 99 + ["坏"], Recipe())
    assert not crosses(["好"] * 100, Recipe())
    assert not crosses(["好"] * 99 + ["坏"], Recipe(dev_fraction=0))
    assert crosses(["好"] * 99 + ["坏"], Recipe(pace="thorough"))
    assert not crosses(["好坏" * 10] * 100_000 + ["坏"], Recipe(pace="thorough"))
