"""One label a text or several, and what divides them in a cell."""

import json

import pytest
from samples import put

from fenlei import corpus


def labelled(documents: list[corpus.Document]) -> list[tuple[tuple[str, ...], str]]:
    return [(document.labels, document.text) for document in documents]


SEVERAL = [(("x",), "one"), (("y",), "two"), (("x", "y"), "three"), (("y", "z"), "four"), (("z",), "five")]


@pytest.mark.parametrize("divider", [",", ";", "|", "，", "、", "；", ", "])
def test_cells_of_several_labels_are_found_and_divided(tmp_path, divider):
    rows = "".join(f"{divider.join(labels)}\t{text}\n" for labels, text in SEVERAL)
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert labelled(documents) == SEVERAL
    assert f"2 of 5 texts have more than one of 3 labels, divided by {divider.strip()!r}" in " ".join(ledger.notes)


def test_lists_and_repeated_labels_are_several(tmp_path):
    lists = "".join(json.dumps({"text": text, "labels": list(labels)}) + "\n" for labels, text in SEVERAL)
    lines = "".join(" ".join(f"__label__{label}" for label in labels) + f" {text}\n" for labels, text in SEVERAL)
    for name, content in {"a.jsonl": lists, "a.txt": lines}.items():
        assert labelled(corpus.read(put(tmp_path / name, content))[0]) == SEVERAL


def test_names_that_hold_a_comma_stay_whole(tmp_path):
    rows = "label\ttext\nSport, indoors\ta\nSport, outdoors\tb\nMusic, live\tc\n"
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert labelled(documents) == [(("Sport, indoors",), "a"), (("Sport, outdoors",), "b"), (("Music, live",), "c")]
    assert "Several" not in " ".join(ledger.notes)


def test_who_asks_for_one_label_gets_one(tmp_path):
    rows = "".join(f"{','.join(labels)}\t{text}\n" for labels, text in SEVERAL)
    documents, _ = corpus.read(put(tmp_path / "a.tsv", rows), labels="one")
    assert labelled(documents) == [((",".join(labels),), text) for labels, text in SEVERAL]


def test_who_asks_for_several_gets_the_commonest_divider(tmp_path):
    documents, _ = corpus.read(put(tmp_path / "a.tsv", "p;q\tone\nr\ttwo\n"), labels="several")
    assert labelled(documents) == [(("p", "q"), "one"), (("r",), "two")]
    with pytest.raises(ValueError, match="unknown kind of labels 'many'; the choices are auto, one, several"):
        corpus.read(tmp_path / "a.tsv", labels="many")


def test_a_slip_among_many_lines_is_skipped_and_named(tmp_path):
    rows = "".join(f"__label__{'ab'[n % 2]} text {n}\n" for n in range(200)) + "__label__a __label__b slip\n"
    documents, ledger = corpus.read(put(tmp_path / "a.txt", rows))
    assert len(documents) == 200
    assert [(entry.kind, entry.source) for entry in ledger.entries] == [("several labels", "a.txt:201")]


def test_class_names_name_every_label(tmp_path):
    put(tmp_path / "class.txt", "joy\nanger\nfear\n")
    documents, _ = corpus.read(put(tmp_path / "train.tsv", "label\ttext\n0\ta\n1\tb\n0,2\tc\n2\td\n"))
    assert labelled(documents) == [(("joy",), "a"), (("anger",), "b"), (("joy", "fear"), "c"), (("fear",), "d")]


def test_copies_with_other_sets_of_labels_contradict_one_another(tmp_path):
    rows = "x\tone\ny\ttwo\nx,y\tthree\ny,x\tthree\nx\tthree\ny,z\tfour\nz\tfive\n"
    _, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert [(entry.kind, entry.source) for entry in ledger.entries] == [
        ("duplicate", "a.tsv:4"),
        ("conflict", "a.tsv:5"),
    ]


def test_dev_holds_texts_of_the_rarest_labels_too():
    documents = [corpus.Document(f"t{n}", "common", f"f:{n}", "", ("rare",) if n < 20 else ()) for n in range(100)]
    dev = corpus.split_dev(documents, 0.1)[1]
    assert sum("rare" in document.labels for document in dev) == 2
    assert len(dev) == 10
