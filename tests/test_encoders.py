"""What holds for every encoder with every embedding: properties of the answer, learning, export, options."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fenlei.export import check, example, export
from fenlei.layers.embedding import EMBEDDINGS
from fenlei.layers.mask import mask_of
from fenlei.models import ENCODERS, Classifier, build, encoder_options

ROWS = 12  # ids 0 .. 11; 0 is padding, 1 is unknown
SIZES = {"ids": ROWS}
A, B = 2, 3  # the two words whose order is the class
SENTENCE = 3
SMALL = {"hidden_size": 8, "filters": 8, "dense": 8}
SHAPES = ((1, 1), (1, 7), (3, 1), (2, 3), (16, 40), (64, 500))

every_encoder = pytest.mark.parametrize("encoder", ENCODERS)
every_embedding = pytest.mark.parametrize("embedding", EMBEDDINGS)
texts = st.lists(st.lists(st.integers(1, ROWS - 1), min_size=1, max_size=9), min_size=1, max_size=5)


def network(encoder, embedding="full", seed=0, classes=3, **options):
    torch.manual_seed(seed)
    known = encoder_options(encoder)
    small = {name: value for name, value in SMALL.items() if name in known}
    return build(
        encoder,
        stream_sizes=SIZES,
        classes=classes,
        embedding=embedding,
        embedding_size=8,
        dropout=0.0,
        embedding_dropout=0.0,
        options=small | options,
    ).eval()


def fold(encoder, lengths, steps):
    """The lengths of texts, and the shape of one; where sentences are read, every ``SENTENCE`` words are one."""
    if not encoder.reads_sentences:
        return lengths, (steps,)
    starts = torch.arange(0, steps, SENTENCE)
    return (lengths[:, None] - starts).clamp(0, SENTENCE), (len(starts), SENTENCE)


def arrays(model, rows, padding=0):
    steps = max(map(len, rows)) + padding
    steps += -steps % SENTENCE
    ids = torch.tensor([row + [0] * (steps - len(row)) for row in rows])
    lengths, shape = fold(model.encoder, torch.tensor([len(row) for row in rows]), steps)
    return {"ids": ids.unflatten(1, shape), "lengths": lengths}


@torch.no_grad()
def answers(model, rows, padding=0):
    return model(arrays(model, rows, padding))


def vectors(encoder, *lengths):
    """Random ``x`` of 6 steps and its mask, in double precision where the encoder is."""
    lengths, shape = fold(encoder, torch.tensor(lengths), 6)
    x = torch.randn(len(lengths), 6, 8, dtype=next(encoder.parameters()).dtype)
    return x.unflatten(1, shape), mask_of(lengths, shape[-1])


@every_encoder
@every_embedding
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str)
def test_a_text_alone_equals_the_text_in_any_batch_at_any_padding(encoder, embedding, dtype, tolerance):
    model = network(encoder, embedding).to(dtype)
    rows = [[4], [2, 3], [3, 2, 4], [5, 6, 7, 8, 9, 10, 11], [7] * 20]
    alone = torch.cat([answers(model, [row]) for row in rows])
    for some in ([0, 1], [3, 1, 2], [4, 3, 2, 1, 0], [2, 2, 2]):
        for padding in (0, 1, 9):
            together = answers(model, [rows[place] for place in some], padding)
            assert (together - alone[some]).abs().max() <= tolerance


@every_encoder
def test_the_answer_depends_on_the_text_alone_whatever_the_batch(encoder):
    model = network(encoder).double()

    @settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @given(rows=texts, padding=st.integers(0, 6), order=st.randoms(use_true_random=False))
    def holds(rows, padding, order):
        shuffled = order.sample(range(len(rows)), len(rows))
        together = answers(model, rows, padding)
        again = answers(model, [rows[place] for place in shuffled])
        assert (again - together[shuffled]).abs().max() <= 1e-12
        assert (together[:1] - answers(model, rows[:1])).abs().max() <= 1e-12

    holds()


@every_encoder
def test_what_stands_in_the_padding_changes_nothing(encoder):
    reader = network(encoder).double().encoder
    x, mask = vectors(reader, 1, 4, 6)
    dirty = torch.where(mask[..., None], x, 1e3)
    assert torch.equal(reader(x, mask), reader(dirty, mask))


@every_encoder
@every_embedding
def test_gradients_reach_every_parameter(encoder, embedding):
    model = network(encoder, embedding)
    rows = [list(range(1, ROWS)), list(range(ROWS - 1, 0, -1)), [5, 5, 2, 9]]
    torch.nn.functional.cross_entropy(model(arrays(model, rows)), torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        gradient = parameter.grad.to_dense()
        assert torch.isfinite(gradient).all(), name
        assert gradient.any(), name


def order_task(count, seed):
    """Texts with one A and one B among other words, each beside its mirror image; the class says which came first."""
    rng = np.random.default_rng(seed)
    rows, classes = [], []
    for _ in range(count):
        row = [int(word) for word in rng.integers(4, ROWS, rng.integers(3, 6))]
        first, second = sorted(rng.choice(len(row), 2, replace=False))
        row[first], row[second] = A, B
        rows += [row, row[::-1]]
        classes += [0, 1]
    return rows, torch.tensor(classes)


def learn_order(model):
    """Train on the task; returns the accuracy on texts that were not seen."""
    rows, classes = order_task(64, seed=0)
    batch = arrays(model, rows)
    model.embeddings["ids"].table.weight.data[1:].normal_()  # words differ enough: the tables need not learn
    model.embeddings.requires_grad_(False)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.02)
    model.train()
    for _ in range(120):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), classes).backward()
        optimizer.step()
    rows, classes = order_task(100, seed=1)
    return float((answers(model.eval(), rows).argmax(1) == classes).double().mean())


@every_encoder
def test_an_encoder_learns_which_of_two_words_came_first(encoder):
    assert learn_order(network(encoder, classes=2)) > 0.9


def test_a_bag_of_words_cannot_learn_which_of_two_words_came_first():
    assert learn_order(network("textcnn", classes=2, widths=(1,))) == 0.5, (
        "a text and its mirror image are one and the same to it"
    )


@every_encoder
@every_embedding
def test_the_exported_graph_agrees_from_one_word_to_long_batches(encoder, embedding):
    model = Classifier([network(encoder, embedding)])
    session = onnxruntime.InferenceSession(export(model, SIZES, shapes=[(2, 5)]), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for batch, steps in SHAPES:
        assert check(model, session, example(model, SIZES, batch, steps, rng)) <= 1e-5


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("rnn", {"pooling": "attention"}),
        ("lstm2", {"dense": 0}),
        ("gru", {"pooling": ("last", "max")}),
        ("stacked", {"cell": "rnn", "layers": 1}),
        ("stacked", {"cell": "gru", "layers": 4, "bidirectional": True, "pooling": "last"}),
        ("stacked", {"hidden_size": 4, "bidirectional": True}),
        ("bilstm", {"pooling": ("last",)}),
        ("textcnn", {"widths": (1, 2, 30)}),
        ("rcnn", {"cell": "gru", "window": 1, "dense": 0}),
    ],
    ids=str,
)
def test_options_change_the_network_and_export_too(encoder, options):
    model, usual = network(encoder, **options), network(encoder)
    data = export(Classifier([model]), SIZES, shapes=SHAPES[:-1])
    assert data != export(Classifier([usual]), SIZES)
    rows = [[4], [5, 6], [7, 8, 9, 10, 11]]
    alone = torch.cat([answers(model, [row]) for row in rows])
    assert (answers(model, rows, padding=3) - alone).abs().max() <= 1e-6
    assert model.dense.in_features == model.encoder.width


@every_encoder
@every_embedding
def test_loaded_weights_give_the_same_answer(encoder, embedding):
    saved, fresh = network(encoder, embedding, seed=1), network(encoder, embedding, seed=2)
    rows = [[2, 3, 4], [5]]
    assert not torch.equal(answers(fresh, rows), answers(saved, rows))
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(answers(fresh, rows), answers(saved, rows))


@every_encoder
def test_states_are_a_vector_a_step_that_no_other_text_touches(encoder):
    reader = network(encoder).encoder
    x, mask = vectors(reader, 2, 6)
    if reader.state_width == 0:
        with pytest.raises(NotImplementedError, match="makes no vector a step"):
            reader.states(x, mask)
        return
    states = reader.states(x, mask)
    assert states.shape == (*mask.shape, reader.state_width)
    alone = reader.states(x[:1], mask[:1])
    assert torch.allclose(states[:1][mask[:1]], alone[mask[:1]], atol=1e-6)


@every_encoder
def test_twenty_thousand_words_are_read(encoder):
    rows = [np.random.default_rng(0).integers(1, ROWS, 20_000).tolist(), [2]]
    found = answers(network(encoder), rows)
    assert torch.isfinite(found).all()
    assert (found[1:] - answers(network(encoder), rows[1:])).abs().max() <= 1e-6


def test_the_last_outputs_of_a_two_way_network_have_both_read_the_whole_text():
    reader = network("bilstm", pooling="last").encoder
    x, mask = vectors(reader, 6)
    forward, backward = reader(x.requires_grad_(), mask).chunk(2, dim=1)
    for part in (forward, backward):
        (reached,) = torch.autograd.grad(part.sum(), x, retain_graph=True)
        assert reached.any(dim=2).all(), "every word reaches the document vector"


def test_a_stacked_network_of_one_size_adds_to_what_it_reads():
    reader = network("stacked", hidden_size=8, layers=2).encoder
    assert reader.project is None
    for parameter in reader.layers.parameters():
        parameter.data.zero_()
    x, mask = vectors(reader, 6, 3)
    assert torch.equal(reader.states(x, mask), x)


def test_dropout_lies_between_the_layers_in_training_only():
    reader = network("lstm2", dropout=0.9).encoder
    x, mask = vectors(reader, 6, 3)
    assert torch.equal(reader(x, mask), reader(x, mask))
    reader.train()
    assert not torch.equal(reader(x, mask), reader(x, mask))


def test_a_wrong_name_lists_the_choices():
    with pytest.raises(ValueError, match=f"unknown model 'lstn'; the choices are {', '.join(ENCODERS)}"):
        build("lstn", stream_sizes=SIZES, classes=2)


@every_encoder
def test_an_option_that_a_network_does_not_have_is_refused_by_name(encoder):
    known = ", ".join(encoder_options(encoder))
    with pytest.raises(ValueError, match=f"the model '{encoder}' has no option 'depth'; it has {known}"):
        network(encoder, depth=3)


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("stacked", {"layers": 0}, "at least 1 layer, got 0"),
        ("stacked", {"cell": "mgu"}, "unknown cell 'mgu'; the choices are rnn, lstm, gru"),
        ("textcnn", {"widths": ()}, "widths must name at least one window"),
        ("textcnn", {"widths": (3, 0)}, "at least 1, got 8 and 0"),
        ("rcnn", {"dense": -1}, r"0 \(none\) or more, got -1"),
        ("gru", {"pooling": "median"}, "last, mean, max, attention, got median"),
    ],
    ids=str,
)
def test_an_impossible_value_is_refused_with_the_value(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        network(encoder, **options)
