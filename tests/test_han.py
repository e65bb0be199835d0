"""HAN against a loop over sentences and words, and the road that cuts documents into sentences for it."""

import itertools
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fenlei import training
from fenlei.bundle import Bundle
from fenlei.counting import build_pipeline
from fenlei.export import check, example, export, probabilities
from fenlei.layers.mask import mask_of
from fenlei.learn import Labelled, learn
from fenlei.models import Classifier, build
from fenlei.models.han import HAN
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Pipeline, limit
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.streams import STREAMS, TokenBatch
from fenlei.text import Tokenizer
from fenlei.vocab import UNK, Vocab

D, H = 5, 4
SIZES = {"ids": 40, "bigrams": 30}
DOCUMENT = [[3, 1, 2], [1], [4, 1]]  # documents with the lengths of their sentences
TEXTS = [
    "One two three. Four five!\nsix",
    "seven",
    "",
    "eight nine ten eleven twelve thirteen fourteen",
    "six. six. six.",
]


def network(seed=0, **options):
    torch.manual_seed(seed)
    return HAN(D, **({"hidden_size": H} | options)).double().eval()


def batch(documents, seed=0):
    """Random words for documents given by the lengths of their sentences: ``x (B, S, T, D)``, ``mask (B, S, T)``."""
    torch.manual_seed(seed)
    padded = [document + [0] * (max(map(len, documents)) - len(document)) for document in documents]
    mask = mask_of(torch.tensor(padded), max(map(max, padded)))
    return torch.randn(*mask.shape, D, dtype=torch.float64), mask


def torch_gru(level):
    """torch's own two-way GRU with the weights of a level."""
    forward, backward = level.recurrent.ways
    gru = nn.GRU(forward.input_size, forward.hidden_size, bidirectional=True, batch_first=True).double()
    reverse = {f"{name}_reverse": value for name, value in backward.state_dict().items()}
    gru.load_state_dict(dict(forward.state_dict()) | reverse)
    return gru


def read(level, rows):
    """One sequence of vectors to one vector and the weight of each, step by step."""
    outputs = torch_gru(level)(torch.stack(rows)[None])[0][0]
    W, b, v = level.attention.project.weight, level.attention.project.bias, level.attention.context.weight[0]
    scores = [torch.exp(v @ torch.tanh(W @ h + b)) for h in outputs]
    weights = [score / sum(scores) for score in scores]
    return sum(weight * h for weight, h in zip(weights, outputs, strict=True)), weights


def by_loop(han, x, lengths):
    """One document ``x (S, T, D)``, sentence by sentence and word by word."""
    sentences = [read(han.word_level, [x[i, t] for t in range(length)]) for i, length in enumerate(lengths)]
    document, weights = read(han.sentence_level, [vector for vector, _ in sentences])
    return document, [words for _, words in sentences], weights


def test_the_document_vector_and_both_weights_equal_a_plain_loop():
    han = network()
    x, mask = batch(DOCUMENT)
    found = han.read(x, mask)
    for row, lengths in enumerate(DOCUMENT):
        document, words, sentences = by_loop(han, x[row], lengths)
        assert (found.document[row] - document).abs().max() <= 1e-10
        assert (found.sentences[row, : len(lengths)] - torch.stack(sentences)).abs().max() <= 1e-10
        for i, length in enumerate(lengths):
            assert (found.words[row, i, :length] - torch.stack(words[i])).abs().max() <= 1e-10
    assert torch.equal(han(x, mask), found.document)


def test_gradients_equal_a_plain_loop():
    han = network()
    x, mask = batch(DOCUMENT)
    x.requires_grad_()
    (found,) = torch.autograd.grad((han(x, mask) ** 2).sum(), x)
    loss = sum((by_loop(han, x[row], lengths)[0] ** 2).sum() for row, lengths in enumerate(DOCUMENT))
    (expected,) = torch.autograd.grad(loss, x)
    assert (found - expected).abs().max() <= 1e-10
    assert not found[~mask].any(), "nothing flows into the padding"


def test_weights_sum_to_one_where_something_is_and_are_zero_elsewhere():
    x, mask = batch(DOCUMENT)
    found = network().read(x, mask)
    there = mask.any(2)
    assert torch.allclose(found.words.sum(2), there.double())
    assert torch.allclose(found.sentences.sum(1), torch.ones(3, dtype=torch.float64))
    assert not found.words[~mask].any()
    assert not found.sentences[~there].any()
    assert (found.words[mask] > 0).all()
    assert (found.sentences[there] > 0).all()


@given(
    documents=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4),
    more_sentences=st.integers(0, 3),
    more_steps=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_a_document_alone_equals_the_document_in_any_batch_at_any_padding(documents, more_sentences, more_steps):
    han = network()
    x, mask = batch(documents)
    x = nn.functional.pad(x, (0, 0, 0, more_steps, 0, more_sentences), value=1e3)
    mask = nn.functional.pad(mask, (0, more_steps, 0, more_sentences))
    together = han(x, mask)
    assert (han(x.flip(0), mask.flip(0)).flip(0) - together).abs().max() <= 1e-12
    for row, lengths in enumerate(documents):
        own = slice(row, row + 1), slice(len(lengths)), slice(max(lengths))
        assert (han(x[own], mask[own]) - together[row]).abs().max() <= 1e-12


def test_gradients_reach_every_parameter():
    han = network()
    x, mask = batch(DOCUMENT)
    (han(x, mask) ** 2).sum().backward()
    for name, parameter in han.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_states_are_a_vector_a_word_of_flat_texts_and_of_sentences():
    han = network()
    x, mask = batch(DOCUMENT)
    states = han.states(x, mask)
    assert states.shape == (*mask.shape, han.state_width)
    flat = han.states(x[0], mask[0])
    assert flat.shape == (*mask.shape[1:], han.state_width)
    assert torch.allclose(flat, states[0])


def test_dropout_lies_between_the_levels_in_training_only():
    han = network(dropout=0.9)
    x, mask = batch(DOCUMENT)
    assert torch.equal(han(x, mask), han(x, mask))
    han.train()
    assert not torch.equal(han(x, mask), han(x, mask))


def classifier(**options):
    torch.manual_seed(0)
    options = {"hidden_size": H} | options
    return Classifier([build("han", stream_sizes=SIZES, classes=3, embedding_size=D, options=options)]).eval()


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_the_exported_graph_agrees_from_one_word_to_long_batches(cell):
    model = classifier(cell=cell)
    session = onnxruntime.InferenceSession(export(model, SIZES), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for documents, tokens in ((1, 1), (1, 9), (9, 1), (5, 60), (64, 500)):
        arrays = example(model, SIZES, documents, tokens, rng)
        assert arrays["ids"].ndim == 3
        assert check(model, session, arrays) <= 1e-5


def test_the_exported_graph_takes_any_number_of_sentences_steps_and_padding():
    model = classifier()
    session = onnxruntime.InferenceSession(export(model, SIZES), providers=["CPUExecutionProvider"])
    assert [each.shape for each in session.get_inputs()] == [["B", "S", "T"], ["B", "S", "T"], ["B", "S"]]
    rng = np.random.default_rng(0)
    for shape in itertools.product((1, 3), (1, 2, 7), (1, 2, 7)):
        there = np.arange(shape[1]) < rng.integers(1, shape[1] + 1, (shape[0], 1))
        lengths = rng.integers(1, shape[2] + 1, shape[:2]) * there
        inside = np.arange(shape[2]) < lengths[..., None]
        arrays = {name: np.where(inside, rng.integers(1, size, shape), 0) for name, size in SIZES.items()}
        assert check(model, session, arrays | {"lengths": lengths}) <= 1e-5


def pipeline(texts=TEXTS, tokenizer="words", sentence_length=4, max_length=1024, **settings):
    cutter = Tokenizer(tokenizer, **settings)
    tokens = TokenBatch.join(texts, [cutter(text) for text in texts])
    hashes, counts = np.unique(STREAMS["bigrams"](tokens), return_counts=True)
    streams = {"bigrams": most_frequent(hashes, counts, 1, 1000)[0]}
    vocab = Vocab.build([tokens.tokens.strings])
    return Pipeline(cutter, vocab, streams, None, max_length, sentence_length)


def words(road, ids):
    return [road.vocab.tokens[each - 2] if each > UNK else "?" for each in ids if each]


def test_documents_are_cut_into_sentences_and_long_sentences_into_parts():
    road = pipeline()
    arrays = road(TEXTS)
    assert arrays["ids"].shape == arrays["bigrams"].shape == (5, 3, 4)
    assert arrays["lengths"].tolist() == [[4, 3, 1], [1, 0, 0], [1, 0, 0], [3, 4, 0], [2, 2, 2]]
    found = [[words(road, sentence) for sentence in document if sentence.any()] for document in arrays["ids"]]
    assert found == [
        [["one", "two", "three", "."], ["four", "five", "!"], ["six"]],
        [["seven"]],
        [["?"]],
        [["eight", "nine", "ten"], ["eleven", "twelve", "thirteen", "fourteen"]],
        [["six", "."]] * 3,
    ]


def test_chinese_sentences_end_without_spaces():
    road = pipeline(["今天很热。我们走吧！“好。”他说"], tokenizer="chars", sentence_length=64)
    assert road(["今天很热。我们走吧！“好。”他说"])["lengths"].tolist() == [[5, 5, 4, 2]]


def test_cut_or_whole_the_words_of_every_stream_are_the_same():
    cut, whole = pipeline(sentence_length=2), pipeline(sentence_length=0)
    for document in TEXTS:
        by_sentence, flat = cut([document]), whole([document])
        for name in ("ids", "bigrams"):
            assert by_sentence[name][by_sentence[name] > 0].tolist() == flat[name][0].tolist()
        assert by_sentence["lengths"].sum() == flat["lengths"].sum()


def test_word_streams_do_not_cross_documents():
    together, alone = pipeline()(TEXTS)["bigrams"], [pipeline()([text])["bigrams"] for text in TEXTS]
    for row, own in zip(together, alone, strict=True):
        assert row[row > 0].tolist() == own[own > 0].tolist()


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", [1]),
        (" \n ", [1]),
        ("the", [1]),
        ("the the. the", [1]),  # the full stop is left
        ("a. the. b the c\nd", [2, 1, 2, 1]),
        ("。" * 50, [10]),
        ("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl", [1] * 10),
    ],
)
def test_no_sentence_is_empty_and_no_document_is_past_its_limit(text, lengths):
    road = pipeline(sentence_length=20, max_length=10, stop_words=frozenset({"the"}))
    arrays = road([text])
    assert arrays["lengths"].tolist() == [lengths]
    assert np.count_nonzero(arrays["ids"]) == sum(lengths) <= 10


@given(
    lengths=st.lists(st.integers(0, 30), max_size=12),
    longest=st.integers(1, 10),
    most=st.integers(1, 60),
)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_the_limits_keep_as_many_tokens_as_they_allow_in_as_few_parts_as_they_can(lengths, longest, most):
    kept = limit(lengths, longest, most)
    assert all(1 <= length <= longest for length in kept)
    assert sum(kept) == max(1, min(sum(lengths), most))
    if sum(lengths) <= most and any(lengths):
        assert len(kept) == sum(-(-length // longest) for length in lengths)


def test_documents_of_one_batch_take_at_most_the_size_that_is_promised():
    encoded = pipeline(TEXTS).encode(TEXTS)
    for size in range(1, 6):
        for rows in itertools.combinations(range(5), size):
            positions = encoded.batch(np.array(rows))["ids"].size
            assert positions <= size * encoded.sizes[list(rows)].max()
    assert encoded.lengths.tolist() == [8, 1, 1, 7, 6], "tokens"


def test_hidden_tokens_keep_the_shape_and_the_padding():
    arrays = training.tensors(pipeline()(TEXTS))
    before = {name: value.clone() for name, value in arrays.items()}
    torch.manual_seed(0)
    training.drop_tokens(arrays, 0.5)
    assert torch.equal(arrays["lengths"], before["lengths"])
    for name in ("ids", "bigrams"):
        assert torch.equal(arrays[name] == 0, before[name] == 0)
        assert not torch.equal(arrays[name], before[name])


@pytest.fixture(scope="module")
def bundle():
    """HAN trained for a moment on what only the order of the sentences tells."""
    rng = np.random.default_rng(0)
    names = ["alpha", "beta", "gamma", "delta"]
    texts, labels = [], []
    for _ in range(60):
        fill = [" ".join(rng.choice(names, 3)) for _ in range(3)]
        pair = ["good start", "bad end"] if rng.random() < 0.5 else ["bad end", "good start"]
        texts.append(". ".join([fill[0], pair[0], fill[1], pair[1], fill[2]]))
        labels.append(pair[0].split()[0])
    recipe = Recipe(
        model="han", options={"hidden_size": 8, "dropout": 0.0}, embedding_size=8, wide=False, epochs=10, batch_size=8,
        learning_rate=0.02, table_rate=0.02, dropout=0.0, embedding_dropout=0.0, token_dropout=0.0, precision="fp32",
        min_count=1, threads=1, patience=15, sentence_length=5,
    )  # fmt: skip
    sides = Labelled(texts[:50], labels[:50]), Labelled(texts[50:], labels[50:])
    return learn(*sides, recipe, lambda event: None)


def test_it_learns_which_of_two_sentences_came_first(bundle):
    assert bundle.scores["dev"]["accuracy"] == 1.0


def test_a_saved_bundle_answers_by_sentences_again(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    predictor = Predictor(Bundle.load(tmp_path / "model"))
    assert predictor.pipeline.sentence_length == 5
    assert predictor.verify() <= 1e-6
    assert np.array_equal(predictor.predict_proba(TEXTS), Predictor(bundle).predict_proba(TEXTS))


def test_one_word_no_word_and_twenty_thousand_words_are_answered_alike_alone_and_together(bundle):
    predictor = Predictor(bundle)
    long = Predictor(bundle)
    long.pipeline = replace(predictor.pipeline, max_length=10**6)
    rng = np.random.default_rng(0)
    many = " ".join(rng.choice(["alpha", "beta.", "gamma", "good", "end!"], 20_000))
    texts = ["", "alpha", "alpha beta", "alpha. beta", "。", many, "\n" * 50, "alpha\n" * 3000, *TEXTS]
    for each in (predictor, long):
        together = each.predict_proba(texts)
        assert np.isfinite(together).all()
        assert np.allclose(together.sum(1), 1, atol=1e-5)
        for text, row in zip(texts, together, strict=True):
            assert np.array_equal(each.predict_proba([text])[0], row)


def test_the_runtime_refuses_a_document_without_its_first_sentence(bundle):
    predictor = Predictor(bundle)
    encoded = predictor.pipeline.encode(["alpha. beta"])
    predictor._check(encoded)
    for lengths in ([0, 2], [2, -1], []):
        with pytest.raises(ValueError, match="every row needs at least one token, got lengths"):
            predictor._check(replace(encoded, sentences=encoded.sentences._replace(values=np.array(lengths, int))))


def test_only_an_encoder_that_reads_sentences_gets_them():
    recipe = Recipe(tokenizer="words", streams=(), wide=False, min_count=1)
    assert build_pipeline(TEXTS, recipe.change(model="han"), 2).sentence_length == 64
    assert build_pipeline(TEXTS, recipe.change(model="bilstm"), 2).sentence_length == 0
    road = build_pipeline(TEXTS, recipe.change(model="han", sentence_length=7), 2)
    assert road.settings()["sentence_length"] == 7
    again = Pipeline.restore(road.settings(), road.tables(), road.vocab)
    assert np.array_equal(again(TEXTS)["lengths"], road(TEXTS)["lengths"])


def test_probabilities_of_the_model_and_of_the_runtime_are_the_same(bundle):
    sizes = Predictor(bundle).pipeline.stream_sizes()
    deep = build("han", stream_sizes=sizes, classes=2, embedding_size=8, options=bundle.model["options"])
    model = Classifier([deep])
    model.load_state_dict({name: torch.from_numpy(value) for name, value in bundle.weights.items()})
    expected = probabilities(model, Predictor(bundle).pipeline(TEXTS))
    assert np.abs(Predictor(bundle).predict_proba(TEXTS) - expected).max() <= 1e-6
