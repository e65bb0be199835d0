"""What several test files share: two small labelled sets made in code, a recipe of seconds, one trained bundle."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe

# Before torch is imported: the tests themselves run side by side.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
# No test reads or fills the user's own cache; those that run one after the other share this one.
_CACHE = tempfile.TemporaryDirectory(prefix="fenlei-tests-")
os.environ["FENLEI_CACHE"] = f"{_CACHE.name}/cache"
# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them press.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("fenlei", deadline=None)  # the first jieba call reads its dictionary; machines are busy
settings.load_profile("fenlei")

CHINESE = {
    "体育": ["球队", "比赛", "进球", "冠军", "教练", "主场", "决赛", "球迷"],
    "财经": ["股票", "基金", "银行", "利率", "上涨", "市场", "投资者", "汇率"],
    "科技": ["手机", "芯片", "软件", "网络", "电脑", "发布会", "人工智能", "用户"],
}
COMMON_CHINESE = ["今天", "我们", "表示", "一个", "已经", "的", "了", "在", "北京", "消息", ",", "。"]
ENGLISH = {
    "good": ["wonderful", "great", "moving", "funny", "delightful", "superb", "loved"],
    "bad": ["boring", "awful", "clumsy", "dull", "hated", "tedious", "worst"],
}
COMMON_ENGLISH = ["the", "film", "was", "a", "story", "with", "actors", "and", "plot", "scenes", "it's", "."]

HOSTILE = [
    "",
    "   \t\n",
    "\x00",
    "a\x00b",
    "\ud800",
    "lone \udfff surrogate",
    "\ufeff\u200b",
    "e" + "\u0301" * 1000,
    "\u0301",
    "👩‍👩‍👧‍👦",
    "🇨🇳\ufe0f",
    "ＡＢＣ１２３",
    "\U00020000\U0002a6df𰻝",
    "שלום \u202e עולם",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "龘" * 5000,
    "a." * 5000,
    "x" * 5000,
    "a\u2028b\u2029c\x85d\x1ce",
    "J\u030c İ ß ǆ",
    "👍🏽好e\u0301ｶﾞ",
]


def labelled(
    topics: dict[str, list[str]], common: list[str], space: str, seed: int, count: int
) -> tuple[list[str], list[str]]:
    """``count`` documents a class of 4 to 16 words, a third of them the class's own."""
    source = random.Random(seed)
    texts, labels = [], []
    for _ in range(count):
        for label, own in topics.items():
            size = source.randint(4, 16)
            words = [source.choice(own if place % 3 == 0 else common) for place in range(size)]
            source.shuffle(words)
            texts.append(space.join(words))
            labels.append(label)
    return texts, labels


@pytest.fixture(scope="session")
def chinese() -> tuple[Labelled, Labelled]:
    """Train (40 documents a class) and dev (10), three classes."""
    from fenlei.learn import Labelled

    return (
        Labelled(*labelled(CHINESE, COMMON_CHINESE, "", 1, 40)),
        Labelled(*labelled(CHINESE, COMMON_CHINESE, "", 2, 10)),
    )


@pytest.fixture(scope="session")
def english() -> tuple[Labelled, Labelled]:
    """Train (40 documents a class) and dev (10), two classes."""
    from fenlei.learn import Labelled

    return (
        Labelled(*labelled(ENGLISH, COMMON_ENGLISH, " ", 3, 40)),
        Labelled(*labelled(ENGLISH, COMMON_ENGLISH, " ", 4, 10)),
    )


@pytest.fixture
def all_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of branch has the same say, whatever dev thinks of it."""
    import numpy as np

    from fenlei import joining

    monkeypatch.setattr(joining, "weigh", lambda branches, *_: np.ones(len(branches)))


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A recipe that trains in well under a second."""
    from fenlei.recipe import Recipe

    return Recipe(epochs=2, branches=1, embedding_size=8, options={"hidden_size": 8}, batch_size=32, threads=1)


@pytest.fixture(scope="session")
def bundle(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> Bundle:
    """Trained on the Chinese set. Shared by all tests: change only a copy of it."""
    from fenlei.learn import learn

    return learn(*chinese, tiny, lambda event: None)


@pytest.fixture(scope="session")
def hostile() -> list[str]:
    """Texts that break careless code."""
    return list(HOSTILE)


@pytest.fixture(scope="session")
def jumble() -> Callable[[int, int, int], list[str]]:
    """``jumble(seed, count, longest)``: random texts of 0 to ``longest`` characters of several scripts."""
    letters = "".join(word for own in CHINESE.values() for word in own) + "".join(COMMON_CHINESE)
    letters += "abc XYZ 0129 ！？😀é龘"

    def make(seed: int, count: int, longest: int) -> list[str]:
        source = random.Random(seed)
        return ["".join(source.choices(letters, k=source.randint(0, longest))) for _ in range(count)]

    return make
