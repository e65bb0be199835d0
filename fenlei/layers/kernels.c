/* The loops that no tensor library has: plain C over plain arrays, called by fenlei.layers.kernels.
 *
 * Every function has a twin in torch that says the same; tests hold them against each other. There are no threads and
 * no allocations here, and nothing of Python but an empty module, so that the file is found and loaded like any other.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <math.h>
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* One copy of a function for each kind of processor, chosen when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_PROCESSOR
#endif

/* The sum of the values (count, size) that have the same id, a row an id, ids in the order in which they come.
 *
 * slots: a number for every id of the table, all -1, and all -1 again afterwards. skipped is an id that is left out.
 * Returns how many rows of unique (count) and sums (count, size) are filled. */
EXPORT EACH_PROCESSOR int64_t sum_by_id(const int64_t *restrict ids, const float *restrict values, int64_t count,
                                        int64_t size, int64_t skipped, int32_t *restrict slots,
                                        int64_t *restrict unique, float *restrict sums)
{
    int64_t found = 0;
    for (int64_t n = 0; n < count; n++) {
        if (ids[n] == skipped)
            continue;
        const float *value = values + n * size;
        int32_t slot = slots[ids[n]];
        if (slot < 0) {
            slots[ids[n]] = (int32_t)found;
            unique[found] = ids[n];
            float *sum = sums + found * size;
            for (int64_t d = 0; d < size; d++)
                sum[d] = value[d];
            found++;
        } else {
            float *sum = sums + slot * size;
            for (int64_t d = 0; d < size; d++)
                sum[d] += value[d];
        }
    }
    for (int64_t k = 0; k < found; k++)
        slots[unique[k]] = -1;
    return found;
}

/* Adam (Kingma and Ba 2015) on the named rows of a table (rows, size) and of its two moments, in place.
 *
 * gradients (count, size) are multiplied by scale first; rate holds both bias corrections. */
EXPORT EACH_PROCESSOR void adam_rows(float *restrict table, float *restrict mean, float *restrict square,
                                     const int64_t *restrict rows, const float *restrict gradients, int64_t count,
                                     int64_t size, float scale, float rate, float beta1, float beta2, float epsilon)
{
    for (int64_t k = 0; k < count; k++) {
        float *restrict w = table + rows[k] * size, *restrict m = mean + rows[k] * size,
                        *restrict v = square + rows[k] * size;
        const float *restrict g = gradients + k * size;
        for (int64_t d = 0; d < size; d++) {
            float gradient = scale * g[d];
            m[d] += (1 - beta1) * (gradient - m[d]);
            v[d] += (1 - beta2) * (gradient * gradient - v[d]);
            w[d] -= rate * m[d] / (sqrtf(v[d]) + epsilon);
        }
    }
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
