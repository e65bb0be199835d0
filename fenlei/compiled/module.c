/* The loops as functions of a Python module: they take numbers, and arrays as buffers, as addresses or None. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layers.c"
#include "lookups.c"
#include "lstm.c"
#include "machines.c"
#include "reader.c"
#include "text.c"

/* What an argument may be. */
typedef struct {
    int64_t number;
    double real;
    void *place;
    Py_buffer buffer;
    int held; /* whether the buffer has to be released */
} Argument;

static void release(Argument *taken, Py_ssize_t count)
{
    for (Py_ssize_t n = 0; n < count; n++)
        if (taken[n].held)
            PyBuffer_Release(&taken[n].buffer);
}

/* Every argument as all that it may be meant as; 0 with an exception where there are others than expected. */
static int take(PyObject *const *arguments, Py_ssize_t count, Argument *taken, Py_ssize_t expected)
{
    if (count != expected) {
        PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", expected, count);
        return 0;
    }
    for (Py_ssize_t n = 0; n < count; n++) {
        Argument *one = taken + n;
        PyObject *given = arguments[n];
        *one = (Argument){0};
        if (given == Py_None)
            continue;
        if (PyLong_Check(given)) {
            one->number = (int64_t)PyLong_AsUnsignedLongLongMask(given);
            one->real = (double)one->number;
            one->place = (void *)(intptr_t)one->number;
        } else if (PyFloat_Check(given)) {
            one->real = PyFloat_AsDouble(given);
        } else if (PyObject_GetBuffer(given, &one->buffer, PyBUF_SIMPLE) == 0) {
            one->held = 1;
            one->place = one->buffer.buf;
        }
        if (PyErr_Occurred()) {
            release(taken, n);
            return 0;
        }
    }
    return 1;
}

#define P(n) taken[n].place
#define N(n) taken[n].number
#define F(n) (float)taken[n].real

/* A function of the module that calls a loop without the interpreter's lock: other threads go on meanwhile. */
#define LOOP(NAME, COUNT, CALL)                                                                                        \
    static PyObject *NAME##_of(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)              \
    {                                                                                                                  \
        Argument taken[COUNT];                                                                                         \
        int64_t result = 0;                                                                                            \
        if (!take(arguments, count, taken, COUNT))                                                                     \
            return NULL;                                                                                               \
        Py_BEGIN_ALLOW_THREADS;                                                                                        \
        CALL;                                                                                                          \
        Py_END_ALLOW_THREADS;                                                                                          \
        release(taken, COUNT);                                                                                         \
        return PyLong_FromLongLong(result);                                                                            \
    }

LOOP(sum_by_id, 8, result = sum_by_id(P(0), P(1), N(2), N(3), N(4), P(5), P(6), P(7)))
LOOP(adam_rows, 12, adam_rows(P(0), P(1), P(2), P(3), P(4), N(5), N(6), F(7), F(8), F(9), F(10), F(11)))
LOOP(mingru_forward_f32, 8, mingru_forward_f32(P(0), P(1), N(2), N(3), N(4), N(5), P(6), P(7)))
LOOP(mingru_forward_bf16, 8, mingru_forward_bf16(P(0), P(1), N(2), N(3), N(4), N(5), P(6), P(7)))
LOOP(mingru_backward_f32, 10, mingru_backward_f32(P(0), P(1), P(2), P(3), N(4), N(5), N(6), N(7), P(8), P(9)))
LOOP(mingru_backward_bf16, 10, mingru_backward_bf16(P(0), P(1), P(2), P(3), N(4), N(5), N(6), N(7), P(8), P(9)))
LOOP(drop_f32, 6, drop_f32(P(0), N(1), (uint64_t)N(2), N(3), F(4), P(5)))
LOOP(drop_bf16, 6, drop_bf16(P(0), N(1), (uint64_t)N(2), N(3), F(4), P(5)))

/* lengths, kinds and how many, T, W, context, place, shares, room */
#define POOLED(n) (&(const Pooled){P(n), P(n + 1), N(n + 2), N(n + 3), N(n + 4), P(n + 5), P(n + 6), P(n + 7), P(n + 8)})

LOOP(pool_f32, 13, pool_f32(P(9), P(10), N(11), POOLED(0), P(12)))
LOOP(pool_bf16, 13, pool_bf16(P(9), P(10), N(11), POOLED(0), P(12)))
LOOP(pool_back_f32, 16, pool_back_f32(P(9), P(10), P(12), N(11), POOLED(0), P(13), P(14), P(15)))
LOOP(pool_back_bf16, 16, pool_back_bf16(P(9), P(10), P(12), N(11), POOLED(0), P(13), P(14), P(15)))

#ifdef HAS_LSTM
/* x, h, zeros, lengths, order, B, T, D, H, ways, N */
#define BATCH (&(const Batch){P(0), P(1), P(2), P(3), P(4), N(5), N(6), N(7), N(8), N(9), N(10)})

LOOP(lstm_pack_forward, 5, pack_forward(P(0), P(1), N(2), N(3), P(4)))
LOOP(lstm_pack_back, 5, pack_back(P(0), P(1), N(2), N(3), P(4)))
LOOP(lstm_forward, 16, lstm_forward(BATCH, N(11), P(12), P(13), P(1), P(14), P(15)))
LOOP(lstm_backward, 25,
     lstm_backward(BATCH, N(11), P(12), P(13), P(14), P(15), P(16), P(17), (Sums){P(18), P(19), P(20), P(21), P(22)},
                   P(23), P(24)))
#endif

LOOP(spell, 6, result = spell(P(0), P(1), N(2), P(3), P(4), P(5)))
LOOP(surround, 7, surround(P(0), P(1), N(2), N(3), N(4), N(5), P(6)))
LOOP(hash_tokens, 4, hash_tokens(P(0), P(1), N(2), P(3)))
LOOP(hash_runs, 6, hash_runs(P(0), P(1), N(2), N(3), (uint64_t)N(4), P(5)))
LOOP(distinct_ngrams, 6, result = distinct_ngrams(P(0), P(1), N(2), N(3), P(4), P(5)))
LOOP(find_rows, 4, find_rows(P(0), P(1), N(2), P(3)))

LOOP(add_up, 9, add_up(P(0), N(1), P(2), P(3), P(4), P(5), N(6), N(7), P(8)))

#define MOST 16 /* views or streams */

/* Some loops take any number of things after the arguments they begin with: each is some arguments long. Returns how
 * many there are, or -1 with an exception. */
static Py_ssize_t take_many(PyObject *const *arguments, Py_ssize_t count, Argument *taken, Py_ssize_t begin,
                            Py_ssize_t each)
{
    const Py_ssize_t found = count < begin ? 0 : (count - begin) / each, many = found < MOST ? found : MOST;
    return take(arguments, count, taken, begin + each * many) ? many : -1;
}

/* Six arguments, then for each view its tokens, offsets, longest n-gram and families. */
static PyObject *weigh_of(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Argument taken[6 + 4 * MOST];
    View views[MOST];
    const Py_ssize_t many = take_many(arguments, count, taken, 6, 4);
    int64_t result = 0;
    if (many < 0)
        return NULL;
    for (Py_ssize_t k = 0, n = 6; k < many; k++, n += 4)
        views[k] = (View){P(n), P(n + 1), N(n + 2), P(n + 3)};
    Py_BEGIN_ALLOW_THREADS;
    result = weigh(views, many, N(0), P(1), P(2), P(3), P(4), P(5));
    Py_END_ALLOW_THREADS;
    release(taken, count);
    return PyLong_FromLongLong(result);
}

/* Three arguments each: ids, table, and whether that is of halves. */
static void take_streams(const Argument *taken, Py_ssize_t many, Stream *streams)
{
    for (Py_ssize_t k = 0; k < many; k++, taken += 3)
        streams[k] = (Stream){P(0), {P(1), N(2)}};
}

/* Seven arguments, then the streams. */
static PyObject *embed_of(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Argument taken[7 + 3 * MOST];
    Stream streams[MOST];
    const Py_ssize_t many = take_many(arguments, count, taken, 7, 3);
    if (many < 0)
        return NULL;
    take_streams(taken + 7, many, streams);
    Py_BEGIN_ALLOW_THREADS;
    embed(streams, many, P(0), N(1), P(2), N(3), N(4), N(5), P(6));
    Py_END_ALLOW_THREADS;
    release(taken, count);
    Py_RETURN_NONE;
}

/* Five arguments: floats or None, or bytes with scales and sums, or three times None; then the bias. */
static Matrix take_matrix(const Argument *taken)
{
    return (Matrix){P(0), P(1), P(2), P(3), P(4)};
}

/* Twenty-two arguments, then the streams. */
static PyObject *read_documents_of(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Argument taken[22 + 3 * MOST];
    Stream streams[MOST];
    const Py_ssize_t many = take_many(arguments, count, taken, 22, 3);
    if (many < 0)
        return NULL;
    take_streams(taken + 22, many, streams);
    Py_BEGIN_ALLOW_THREADS;
    const Reader reader = {N(3), N(4), N(5), take_matrix(taken + 6), take_matrix(taken + 11), P(16), P(17), N(18)};
    read_documents(&reader, streams, many, P(0), N(1), P(2), N(19), P(20), P(21));
    Py_END_ALLOW_THREADS;
    release(taken, count);
    Py_RETURN_NONE;
}

#define DESCEND(W)                                                                                                     \
    LOOP(descend_##W, 15,                                                                                              \
         descend_##W(P(0), P(1), P(2), P(3), N(4), P(5), P(6), P(7), P(8), P(9), P(10), P(11), P(12), P(13), P(14)))

DESCEND(1)
DESCEND(4)
DESCEND(8)
DESCEND(16)

#define ENTRY(NAME) {#NAME, (PyCFunction)(void (*)(void))NAME##_of, METH_FASTCALL, NULL}

static PyMethodDef loops[] = {
    ENTRY(sum_by_id),           ENTRY(adam_rows),          ENTRY(mingru_forward_f32), ENTRY(mingru_forward_bf16),
    ENTRY(mingru_backward_f32), ENTRY(mingru_backward_bf16), ENTRY(pool_f32),         ENTRY(pool_bf16),
    ENTRY(pool_back_f32),       ENTRY(pool_back_bf16),     ENTRY(spell),              ENTRY(surround),
    ENTRY(hash_tokens),         ENTRY(hash_runs),          ENTRY(find_rows),          ENTRY(weigh),
    ENTRY(descend_1),           ENTRY(descend_4),          ENTRY(descend_8),          ENTRY(descend_16),
    ENTRY(distinct_ngrams),     ENTRY(embed),              ENTRY(add_up),             ENTRY(read_documents),
    ENTRY(drop_f32),            ENTRY(drop_bf16),
#ifdef HAS_LSTM
    ENTRY(lstm_pack_forward),   ENTRY(lstm_pack_back),     ENTRY(lstm_forward),       ENTRY(lstm_backward),
#endif
    {NULL, NULL, 0, NULL},
};

/* The checksum of the sources: fenlei.compiled uses no loops that were compiled from others. */
#ifndef SOURCE
#define SOURCE 0
#endif

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_loops", NULL, -1, loops, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__loops(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddIntConstant(module, "SOURCE", (long)(int32_t)SOURCE) < 0 ||
                   PyModule_AddIntConstant(module, "VNNI", VNNI ? 1 : 0) < 0 ||
                   PyModule_AddIntConstant(module, "LSTM", lstm_is_fast()) < 0)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
