/* The loops as functions of a Python module: they take numbers, and arrays as buffers, as addresses or None. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layers.c"
#include "machines.c"
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
LOOP(largest_f32, 8, largest_f32(P(0), P(1), N(2), N(3), N(4), P(5), P(6), P(7)))
LOOP(largest_bf16, 8, largest_bf16(P(0), P(1), N(2), N(3), N(4), P(5), P(6), P(7)))
LOOP(spread_f32, 6, spread_f32(P(0), P(1), N(2), N(3), N(4), P(5)))
LOOP(spread_bf16, 6, spread_bf16(P(0), P(1), N(2), N(3), N(4), P(5)))
LOOP(spell, 6, result = spell(P(0), P(1), N(2), P(3), P(4), P(5)))
LOOP(surround, 7, surround(P(0), P(1), N(2), N(3), N(4), N(5), P(6)))
LOOP(hash_tokens, 4, hash_tokens(P(0), P(1), N(2), P(3)))
LOOP(hash_runs, 6, hash_runs(P(0), P(1), N(2), N(3), (uint64_t)N(4), P(5)))
LOOP(distinct_ngrams, 6, result = distinct_ngrams(P(0), P(1), N(2), N(3), P(4), P(5)))
LOOP(find_rows, 4, find_rows(P(0), P(1), N(2), P(3)))

#define BEFORE 6 /* arguments of weigh that come before its views, of which each takes A_VIEW */
#define A_VIEW 4
#define VIEWS 16 /* at most */

static PyObject *weigh_of(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Argument taken[BEFORE + A_VIEW * VIEWS];
    View views[VIEWS];
    const Py_ssize_t ways = count < BEFORE ? 0 : (count - BEFORE) / A_VIEW;
    int64_t result = 0;
    if (!take(arguments, count, taken, BEFORE + A_VIEW * (ways < VIEWS ? ways : VIEWS)))
        return NULL;
    for (Py_ssize_t way = 0, n = BEFORE; way < ways; way++, n += A_VIEW)
        views[way] = (View){P(n), P(n + 1), N(n + 2), P(n + 3)};
    Py_BEGIN_ALLOW_THREADS;
    result = weigh(views, ways, N(0), P(1), P(2), P(3), P(4), P(5));
    Py_END_ALLOW_THREADS;
    release(taken, count);
    return PyLong_FromLongLong(result);
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
    ENTRY(mingru_backward_f32), ENTRY(mingru_backward_bf16), ENTRY(largest_f32),      ENTRY(largest_bf16),
    ENTRY(spread_f32),          ENTRY(spread_bf16),        ENTRY(spell),              ENTRY(surround),
    ENTRY(hash_tokens),         ENTRY(hash_runs),          ENTRY(find_rows),          ENTRY(weigh),
    ENTRY(descend_1),           ENTRY(descend_4),          ENTRY(descend_8),          ENTRY(descend_16),
    ENTRY(distinct_ngrams),
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
    if (module && PyModule_AddIntConstant(module, "SOURCE", (long)(int32_t)SOURCE) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
