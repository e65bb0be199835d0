"""What the tests of the corpus read: texts of several languages, and how files are put down."""

from pathlib import Path

from fenlei.corpus import Document

ZH = [
    "这间酒店的环境和服务态度都很不错，房间也宽敞",
    "电池用了两天就坏了，客服的态度还特别差",
    "昨晚的比赛太精彩了，主队在最后一分钟绝杀对手",
    "教育部公布今年的高考报名人数，比去年略有增加",
    "新款手机的屏幕素质很好，拍照效果也令人满意",
]
TRADITIONAL = ["這間酒店的環境和服務態度都很不錯，房間也寬敞", "電池用了兩天就壞了，客服的態度還特別差"]
JAPANESE = ["この映画はとても面白かったです。また見たいと思います。", "電池がすぐに切れてしまい、本当に残念でした。"]
KOREAN = ["이 영화는 정말 재미있었습니다 다시 보고 싶어요", "배터리가 금방 닳아서 너무 실망했습니다"]
RUSSIAN = ["Это был очень хороший фильм, мне понравилось", "Батарея быстро разрядилась, я очень разочарован"]


def put(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def pairs(documents: list[Document]) -> list[tuple[str, str]]:
    return [(document.label, document.text) for document in documents]
