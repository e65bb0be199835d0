"""The road from a string to tokens: nothing lost, nothing slow, and jieba's own cuts."""

import copy
import json
import pickle
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fenlei.text import (
    TOKENIZERS,
    Tokenizer,
    chars,
    choose,
    jieba,
    normalize,
    read_stop_words,
    read_user_words,
    sentences,
    words,
)

ODD = "\ud800\udc00\x00\x1f\x85\u2028\u3000\u200b\u200d\ufeff\ufe0f\u0301\u0323\uff9e龘𠮷㐂豈ＡﬃßΣİǰ😀👍🏽ไन्'’.-%+#&_ "
TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from(ODD + "的中国人abc019"), max_size=40)

SENTENCES = """\
我来到北京清华大学
他来到了网易杭研大厦
小明硕士毕业于中国科学院计算所，后在日本京都大学深造
永和服装饰品有限公司
结婚的和尚未结婚的
工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作
南京市长江大桥
乒乓球拍卖完了
研究生命的起源
武汉市长江大桥参观团
长春市长春药店
我不喜欢日本和服
雷猴回归人间
工商银行昨日宣布上调利率0.25个百分点
请访问 url.cn 或 www.example.com/a?b=1&c=2
比分是1-3，主队check-in太晚
SK-II神仙水打8.5折，买2送1
C++和C#哪个好学？c++11更难
圆周率是3.14%还是3.1415926
50%的人选A，49.5%的人选B
WES-5.4.5与ISU-CNS24093
G260911-0711批次
版本v1.2.3-beta.4发布
AT&T宣布收购T-Mobile
IT.5和IT-5x
a--b..c__d%%e&&f##g++h
5%%6 5.%6 .5 5. 1.a a.1
-1.5℃的天气
user_name@mail.example.org
2012-01-05 19:39:30
电话：010-8888-6666转123
iPhone 15 Pro Max 256GB售价￥9,999起
卡拉OK唱K歌穿T恤做B超打AA制
今天心情不错😀😀去吃🍜吧👨‍👩‍👧
❤️爱你哟～么么哒(*^__^*)
“双引号”与‘单引号’、《书名号》【方括号】
……省略号——破折号···
ＡＢＣ１２３全角％＋－
㈱①②③Ⅳ½
臺灣學習繁體中文的同學們
這間酒店環境和服務態度亦算不錯,但房間空間太小~~
日本語の形態素解析はカタカナも
안녕하세요 세계
สวัสดีชาวโลก
नमस्ते दुनिया
Привет, мир!
naïve café résumé
Don't stop; it's O'Neill's
the quick brown fox jumps over the lazy dog
𠮷野家的𡃁仔𠮷a-b𡃁.c
㐂久屋与豈有此理
龘龘龘靐齉爩
赞赞赞
哈哈哈哈哈哈哈
中华人民共和国万岁万岁万万岁
一二三四五六七八九十百千万亿
２０２４年１２月３１日
第1季第2集[高清1080p].mp4
价格:¥12.5~¥18.8/kg
x=y*z+1;if(a<b){return c++;}
#话题#@某人 转发微博
http://t.cn/zWMNE0V?x=1-2_3
\t制表\t符\t
  前后   空格
邓紫棋演唱会门票秒光
蔡英文和王心凌吃麻辣烫
他说的确实在理
这事的确定不下来
B2B、O2O、P2P与3D打印
5G+AI+IoT，Wi-Fi 6E
γ射线与β-胡萝卜素
""".splitlines()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real jieba; it caches its dictionary in a shared temporary folder unless told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba as real
    real.setLogLevel(60)
    real.dt.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    real.initialize()
    return real


def unspaced(text: str) -> str:
    return "".join(text.split())


# normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \t\r\n\x00\x1f\x85\u3000\ufeff\u200b", ""),
        ("\ufeff 你好\x00\x00世界\t\n", "你好 世界"),
        ("ＡＢＣ，１２３", "abc,123"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("e\u0301", "é"),
        ("J\u030c", "ǰ"),
        ("™", "tm"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_normalize_gives_texts_that_read_the_same_one_spelling(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_normalize_keeps_width_and_case_when_told() -> None:
    assert normalize("Ａ  b", nfkc=False) == "ａ b"
    assert normalize("Ａ  b", lower=False) == "A b"
    assert normalize("Ａ  b", nfkc=False, lower=False) == "Ａ b"


def test_normalize_cuts_runs_of_marks_to_thirty() -> None:
    assert normalize("q" + "\u0323" * 30 + "!") == "q" + "\u0323" * 30 + "!"
    assert normalize("q" + "\u0323" * 5000 + "!") == "q" + "\u0323" * 30 + "!"


@given(TEXTS, st.booleans(), st.booleans())
def test_normalized_text_is_clean_and_stays_as_it_is(text: str, nfkc: bool, lower: bool) -> None:
    once = normalize(text, nfkc=nfkc, lower=lower)
    once.encode()  # fails if a surrogate is left
    assert once == " ".join(once.split())
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in once)
    assert normalize(once, nfkc=nfkc, lower=lower) == once


# the tokenizers


@given(st.sampled_from(sorted(TOKENIZERS)), TEXTS)
@example("words", "don''t 'a' a'")
@example("jieba", "𠮷a-b𡃁.c 1-3 url.cn")
def test_tokens_are_the_text_without_its_whitespace(name: str, text: str) -> None:
    tokens = Tokenizer(name)(text)
    assert all(token and token == unspaced(token) for token in tokens)
    assert "".join(tokens) == unspaced(normalize(text))


@given(st.sampled_from(["chars", "words"]), TEXTS)
def test_chars_and_words_lose_nothing_of_a_raw_text_either(name: str, text: str) -> None:
    assert "".join(TOKENIZERS[name](text)) == unspaced(text)


def test_chars_are_code_points() -> None:
    assert chars("我 爱a1\u0301❤\ufe0f") == ["我", "爱", "a", "1", "\u0301", "❤", "\ufe0f"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't, o’clock 'quoted'", ["I", "don't", ",", "o’clock", "'", "quoted", "'"]),
        ("snake_case x2 3.14", ["snake", "_", "case", "x2", "3", ".", "14"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("สวัสดีชาวโลก!", ["สวัสดีชาวโลก", "!"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("안녕 세계", ["안녕", "세계"]),
        ("我爱NLP和カナ𠮷", ["我", "爱", "NLP", "和", "カ", "ナ", "𠮷"]),
        ("か\u3099❤\ufe0f!!", ["か\u3099", "❤\ufe0f", "!", "!"]),
        ("naïve re\u0301sume\u0301", ["naïve", "re\u0301sume\u0301"]),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_jieba_cuts_as_jieba(reference: Any, sentence: str, lower: bool) -> None:
    text = normalize(sentence, lower=lower)
    assert jieba(text) == [token for token in reference.lcut(text) if not token.isspace()]


def test_jieba_cuts_random_mixtures_as_jieba(reference: Any) -> None:
    alphabet = "的一是中国人民大学𠮷㐂鿖豈abCT&0123..--++#_%% ,！é😀ไ\u0301か"
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choices(alphabet, k=draw.randint(1, 14)))
        assert jieba(text) == [token for token in reference.lcut(text) if not token.isspace()], text


def test_jieba_finds_user_words_as_jieba(reference: Any) -> None:
    user_words = (("云原生架构", None), ("石墨烯", 5), ("check-in", 3), ("凱特琳", None), ("中国", 0), ("乌有词", 0))
    real = reference.Tokenizer()
    real.FREQ, real.total, real.initialized = dict(reference.dt.FREQ), reference.dt.total, True
    try:
        for word, freq in user_words:
            real.add_word(word, freq)
        tokenizer = Tokenizer("jieba", user_words=user_words)
        for text in ("我们在用云原生架构和石墨烯", "check-in时凱特琳在中国", "一个乌有词", "中国人的中国"):
            assert tokenizer(text) == real.lcut(text)
    finally:
        reference.finalseg.Force_Split_Words.clear()
    assert "云原生架构" not in jieba("我们在用云原生架构")  # the other tokenizers keep their dictionary


HOSTILE = [
    "龘",
    "a.",
    "\u0301",
    "\u0301\u0323",
    "\uff9e\u0300",
    "\u0f73",
    "a'",
    "1.",
    "𠮷a",
    "\ud800",
    "\u200d",
    ' ."',
    "\0",
]


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_hostile_texts_take_linear_time(unit: str) -> None:
    jieba("")  # the dictionary is loaded once
    text = unit * (100_000 // len(unit))
    for work in (*(Tokenizer(name) for name in TOKENIZERS), sentences):
        start = time.process_time()
        work(text)
        assert time.process_time() - start < 1


# Tokenizer


def test_tokenizer_drops_stop_words_however_they_are_written() -> None:
    assert Tokenizer("words", stop_words=frozenset({"The", "的", "Ａ"}))("The 我的 a Dog") == ["我", "dog"]


@given(TEXTS)
def test_tokenizer_of_a_text_without_stop_words_is_the_rest(text: str) -> None:
    tokens = Tokenizer()(text)
    stop_words = frozenset(tokens[::2])
    assert Tokenizer(stop_words=stop_words)(text) == [token for token in tokens if token not in stop_words]


def test_tokenizer_is_pickled_copied_and_hashed_after_use() -> None:
    tokenizer = Tokenizer("jieba", lower=False, user_words=(("云原生", None),), stop_words=frozenset({"的"}))
    expected = tokenizer("云原生的时代")
    for twin in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert twin == tokenizer
        assert hash(twin) == hash(tokenizer)
        assert twin("云原生的时代") == expected == ["云原生", "时代"]


def test_tokenizer_survives_json() -> None:
    tokenizer = Tokenizer("jieba", False, False, (("云原生", None), ("石墨", 3)), frozenset({"的", "了"}))
    written = json.dumps(tokenizer.to_json())
    assert Tokenizer.from_json(json.loads(written)) == tokenizer
    assert json.dumps(Tokenizer.from_json(json.loads(written)).to_json()) == written
    assert Tokenizer.from_json({}) == Tokenizer()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["chars"], r"settings are \['chars'\], expected an object of name, nfkc"),
        ({"nmae": "chars"}, "setting 'nmae' is unknown, expected one of name, nfkc, lower, user_words, stop_words"),
        ({"name": "bpe"}, "name is 'bpe', expected one of chars, words, jieba"),
        ({"name": ["chars"]}, r"name is \['chars'\], expected one of chars"),
        ({"lower": 1}, "lower is 1, expected true or false"),
        ({"nfkc": None}, "nfkc is None, expected true or false"),
        ({"stop_words": "的"}, "stop_words are '的', expected a set of strings"),
        ({"stop_words": ["a", 1]}, r"stop_words are \['a', 1\], expected a set of strings"),
        ({"name": "jieba", "user_words": [["a b", None]]}, "'a b'.*expected pairs"),
        ({"name": "jieba", "user_words": [["词", -1]]}, "-1.*from 0 to"),
        ({"name": "jieba", "user_words": [["词", True]]}, "True.*expected pairs"),
        ({"name": "jieba", "user_words": ["词"]}, "'词'.*expected pairs"),
        ({"name": "jieba", "user_words": {"词": 1}}, "'词': 1.*expected pairs"),
        ({"user_words": [["词", 1]]}, "user_words are for the tokenizer jieba, not chars"),
    ],
)
def test_impossible_settings_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_json(value)


# choose


@pytest.mark.parametrize(
    ("text", "name", "share"),
    [
        ("体验2D巅峰 倚天屠龙记", "chars", "81.8%"),
        ("ありがとう", "chars", "100.0%"),
        ("วันที่", "chars", "100.0%"),
        ("ສະບາຍດີ", "chars", "100.0%"),
        ("ភាសា", "chars", "100.0%"),
        ("မြန်မာ", "chars", "100.0%"),
        ("Beijing (北京) is large", "words", "12.5%"),
        ("안녕하세요", "words", "0.0%"),
        ("?!", "words", "0.0%"),
    ],
)
def test_choose_goes_by_the_share_of_unspaced_scripts(text: str, name: str, share: str) -> None:
    chosen, reason = choose([text])
    assert chosen == name
    assert reason.startswith(f"{share} of the letters in 1 sampled texts are of scripts written without spaces")


def test_choose_looks_at_a_bounded_sample_of_all_texts() -> None:
    assert choose([])[0] == "words"
    texts = ["english"] * 30_000 + ["中文"] * 70_000
    assert choose(texts) == choose(texts)
    name, reason = choose(texts)
    assert name == "chars"
    assert "in 2000 sampled texts" in reason


# files


def test_user_words_are_read_in_jiebas_format(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff云计算 5\r\n\r\n李小福 2 nr\n创新办 i\n韩玉赏鉴\n".encode())
    assert read_user_words(path) == (("云计算", 5), ("李小福", 2), ("创新办", None), ("韩玉赏鉴", None))
    assert read_user_words(path)[0] in Tokenizer("jieba", user_words=read_user_words(path)).user_words


@pytest.mark.parametrize(
    "line", ["两个 汉字", "词 -1", "词 5 n n", "词 4294967296", "词 99999999999999999999999", "词 1.5"]
)
def test_user_words_of_another_form_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"云计算 5\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.txt, line 2 is .*expected `word`, `word frequency`"):
        read_user_words(path)


def test_stop_words_are_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "stop.txt"
    path.write_bytes("\ufeff的\n\n the \r\n了".encode())
    assert read_stop_words(path) == {"的", "the", "了"}


@pytest.mark.parametrize("read", [read_user_words, read_stop_words])
def test_word_files_in_another_encoding_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "gbk.txt"
    path.write_bytes(b"ok\n" + "中文".encode("gbk"))
    with pytest.raises(ValueError, match=r"gbk\.txt, line 2 is .*not UTF-8: save the file as UTF-8"):
        read(path)


# sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n", [" \n"]),
        ("你好。再见！真的？！是", ["你好。", "再见！", "真的？！", "是"]),
        ("他说：“走吧。”然后走了……完", ["他说：“走吧。”", "然后走了……", "完"]),
        ("甲；乙;丙", ["甲；", "乙;", "丙"]),
        ("Pi is 3.14. See fenlei.text (p. 3.) now", ["Pi is 3.14.", "See fenlei.text (p.", "3.)", "now"]),
        ('He said "go." She went!', ['He said "go."', "She went!"]),
        ("一行\r\n\r\n二行\u2028三行", ["一行", "二行", "三行"]),
        ("好...吧..嗯", ["好...", "吧..嗯"]),
        ("नमस्ते। दुनिया", ["नमस्ते।", "दुनिया"]),
        ("。。。", ["。。。"]),
        ("end.", ["end."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(st.sampled_from("中a1.。!?；…”\"') \n\t\u3000\x1c"), max_size=30) | TEXTS)
def test_sentences_lose_only_whitespace(text: str) -> None:
    found = sentences(text)
    assert bool(found) == bool(text)
    assert unspaced("".join(found)) == unspaced(text)
    if text.strip():
        assert all(sentence and sentence == sentence.strip() for sentence in found)


def test_importing_text_is_cheap() -> None:
    code = "import sys, fenlei.text; print(sorted({'rjieba', 'numpy', 'torch', 'multiprocessing'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words_added_to_rjiebas_own_dictionary_are_not_ours() -> None:
    """The library's module-wide object can be changed by anybody in the process; the cut of a bundle must not move."""
    code = (
        "import rjieba; from fenlei.text import jieba; one = jieba('我爱北京天安门');"
        "rjieba.add_word('爱北京天', 99999, None);"
        "print(one == jieba('我爱北京天安门') != rjieba.cut('我爱北京天安门'))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("True\n", "")
