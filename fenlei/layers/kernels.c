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

/* Into each of those copies. */
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
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

/* exp(x) within 2 units in the last place (Cephes' polynomial), without a branch: the compiler makes vectors of it. */
INLINE float exponential(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float n = floorf(x * 1.44269504088896341f + 0.5f);
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t bits;
        float value;
    } power = {((int32_t)n + 127) << 23};
    return p * power.value;
}

INLINE float sigmoid(float x)
{
    return 1.0f / (1.0f + exponential(-x));
}

/* bfloat16 is the upper half of a float; storing rounds to the nearest, to the even one of two. */
INLINE float from_bf16(uint16_t x)
{
    union {
        uint32_t bits;
        float value;
    } wide = {(uint32_t)x << 16};
    return wide.value;
}

INLINE uint16_t to_bf16(float x)
{
    union {
        float value;
        uint32_t bits;
    } wide = {x};
    return (uint16_t)((wide.bits + 0x7fff + ((wide.bits >> 16) & 1)) >> 16);
}

/* Numbers of either kind; half is known when the code is compiled, so nothing is asked inside a loop. */
typedef struct {
    void *numbers;
    int half;
} Array;

INLINE float get(const Array a, int64_t place)
{
    return a.half ? from_bf16(((const uint16_t *)a.numbers)[place]) : ((const float *)a.numbers)[place];
}

INLINE void put(const Array a, int64_t place, float x)
{
    if (a.half)
        ((uint16_t *)a.numbers)[place] = to_bf16(x);
    else
        ((float *)a.numbers)[place] = x;
}

/* The unit of fenlei.layers.mingru: u (B, T, ways, 2, H), the preimages of z and g, to h (B, T, ways, H).
 *
 * Way 0 reads each row from its first step to its last, way 1 from its last to its first; past a row's end h is zero.
 * state (H) is scratch. */
INLINE void forward(const Array u, const int64_t *lengths, int64_t B, int64_t T, int64_t ways, int64_t H,
                           float *restrict state, const Array h)
{
    for (int64_t b = 0; b < B; b++) {
        const int64_t length = lengths[b];
        for (int64_t way = 0; way < ways; way++) {
            for (int64_t d = 0; d < H; d++)
                state[d] = 0;
            for (int64_t step = 0; step < length; step++) {
                const int64_t t = way ? length - 1 - step : step, row = (b * T + t) * ways + way;
#pragma GCC ivdep
                for (int64_t d = 0; d < H; d++) {
                    const float z = sigmoid(get(u, 2 * row * H + d)), x = get(u, (2 * row + 1) * H + d);
                    const float s = sigmoid(x), g = x >= 0 ? x + 0.5f : s;
                    state[d] += z * (g - state[d]);
                    put(h, row * H + d, state[d]);
                }
            }
        }
        for (int64_t d = (b * T + length) * ways * H; d < (b + 1) * T * ways * H; d++)
            put(h, d, 0);
    }
}

/* From the gradient of h that of u. carry (H) is scratch. */
INLINE void backward(const Array u, const Array h, const Array dh, const int64_t *lengths, int64_t B, int64_t T,
                            int64_t ways, int64_t H, float *restrict carry, const Array du)
{
    for (int64_t b = 0; b < B; b++) {
        const int64_t length = lengths[b];
        for (int64_t way = 0; way < ways; way++) {
            for (int64_t d = 0; d < H; d++)
                carry[d] = 0;
            for (int64_t step = length - 1; step >= 0; step--) {
                const int64_t t = way ? length - 1 - step : step, row = (b * T + t) * ways + way;
                const float there = step ? 1.0f : 0.0f; /* before the first step h is zero */
                const int64_t before = step ? (way ? row + ways : row - ways) : row;
#pragma GCC ivdep
                for (int64_t d = 0; d < H; d++) {
                    const float z = sigmoid(get(u, 2 * row * H + d)), x = get(u, (2 * row + 1) * H + d);
                    const float s = sigmoid(x), g = x >= 0 ? x + 0.5f : s, slope = x >= 0 ? 1.0f : s * (1 - s);
                    const float total = get(dh, row * H + d) + carry[d];
                    put(du, 2 * row * H + d, total * (g - there * get(h, before * H + d)) * z * (1 - z));
                    put(du, (2 * row + 1) * H + d, total * z * slope);
                    carry[d] = total * (1 - z);
                }
            }
        }
        for (int64_t d = (b * T + length) * ways * 2 * H; d < (b + 1) * T * ways * 2 * H; d++)
            put(du, d, 0);
    }
}

/* The largest number of each column of h (B, T, W) over the steps where mask (B, T) is true, and its first place. */
INLINE void largest(const Array h, const uint8_t *mask, int64_t B, int64_t T, int64_t W, float *restrict best,
                    int32_t *restrict place, const Array result)
{
    for (int64_t b = 0; b < B; b++, place += W) {
        for (int64_t d = 0; d < W; d++) {
            best[d] = -INFINITY;
            place[d] = 0;
        }
        for (int64_t t = 0; t < T; t++) {
            if (!mask[b * T + t])
                continue;
            for (int64_t d = 0; d < W; d++) {
                const float x = get(h, (b * T + t) * W + d);
                place[d] = x > best[d] ? (int32_t)t : place[d];
                best[d] = x > best[d] ? x : best[d];
            }
        }
        for (int64_t d = 0; d < W; d++)
            put(result, b * W + d, best[d]);
    }
}

/* The gradient of h: that of the result at the places, zero elsewhere. */
INLINE void spread(const Array dresult, const int32_t *place, int64_t B, int64_t T, int64_t W, const Array dh)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < W; d++)
                put(dh, (b * T + t) * W + d, place[b * W + d] == t ? get(dresult, b * W + d) : 0.0f);
}

#define BOTH_KINDS(NAME, HALF)                                                                                         \
    EXPORT EACH_PROCESSOR void mingru_forward_##NAME(void *u, const int64_t *lengths, int64_t B, int64_t T,            \
                                                     int64_t ways, int64_t H, float *state, void *h)                   \
    {                                                                                                                  \
        forward((Array){u, HALF}, lengths, B, T, ways, H, state, (Array){h, HALF});                                    \
    }                                                                                                                  \
                                                                                                                       \
    EXPORT EACH_PROCESSOR void mingru_backward_##NAME(void *u, void *h, void *dh, const int64_t *lengths, int64_t B,   \
                                                      int64_t T, int64_t ways, int64_t H, float *carry, void *du)      \
    {                                                                                                                  \
        backward((Array){u, HALF}, (Array){h, HALF}, (Array){dh, HALF}, lengths, B, T, ways, H, carry,                 \
                 (Array){du, HALF});                                                                                   \
    }                                                                                                                  \
                                                                                                                       \
    EXPORT EACH_PROCESSOR void largest_##NAME(void *h, const uint8_t *mask, int64_t B, int64_t T, int64_t W,           \
                                              float *best, int32_t *place, void *result)                               \
    {                                                                                                                  \
        largest((Array){h, HALF}, mask, B, T, W, best, place, (Array){result, HALF});                                  \
    }                                                                                                                  \
                                                                                                                       \
    EXPORT EACH_PROCESSOR void spread_##NAME(void *dresult, const int32_t *place, int64_t B, int64_t T, int64_t W,     \
                                             void *dh)                                                                 \
    {                                                                                                                  \
        spread((Array){dresult, HALF}, place, B, T, W, (Array){dh, HALF});                                             \
    }

BOTH_KINDS(f32, 0)
BOTH_KINDS(bf16, 1)

#if defined(__GNUC__)
#define PREFETCH(place) __builtin_prefetch(place)
#else
#define PREFETCH(place)
#endif

#define WIDEST 16 /* machines side by side */

/* The documents of fenlei.machines: row i has the n-grams columns[starts[i]:starts[i + 1]], each with its value. */
typedef struct {
    const int64_t *starts;
    const int32_t *columns;
    const float *values;
} Documents;

/* One pass of dual coordinate descent (Hsieh et al. 2008, algorithm 1 with squared hinge loss) over the documents of
 * order (count), for W machines side by side: the numbers of an n-gram lie next to each other, so what is fetched from
 * memory for one machine is there for all of them.
 *
 * A machine's features are the n-grams times their emphasis e; weights (V, W) are already multiplied by e, bias (W), and
 * squares (V, W) are e * e, NULL where all are 1. signs, alpha and slopes are (B, W): 1 or -1, the dual variables, and
 * the curvatures |e x|^2 + 1 + slack; slack (B). live (W) is 0 for a machine that has arrived, else 1.
 * Returns in highest and lowest (W) the extremes of the projected gradients. */
INLINE void descend(const Documents x, const int64_t *order, int64_t count, int W, float *restrict weights,
                    float *restrict bias, const float *restrict squares, const float *restrict signs,
                    float *restrict alpha, const float *restrict slopes, const float *restrict slack,
                    const float *restrict live, float *restrict highest, float *restrict lowest)
{
    for (int c = 0; c < W; c++)
        highest[c] = -INFINITY, lowest[c] = INFINITY;
    for (int64_t k = 0; k < count; k++) {
        const int64_t i = order[k], start = x.starts[i], end = x.starts[i + 1];
        if (k + 1 < count) {
            const int64_t next = order[k + 1];
            for (int64_t n = x.starts[next]; n < x.starts[next + 1]; n++) {
                PREFETCH(weights + (int64_t)x.columns[n] * W);
                if (squares)
                    PREFETCH(squares + (int64_t)x.columns[n] * W);
            }
        }
        float sum[WIDEST], step[WIDEST], moved = 0;
        for (int c = 0; c < W; c++)
            sum[c] = bias[c];
        for (int64_t n = start; n < end; n++) {
            const float *restrict w = weights + (int64_t)x.columns[n] * W;
            for (int c = 0; c < W; c++)
                sum[c] += x.values[n] * w[c];
        }
        for (int c = 0; c < W; c++) {
            const float y = signs[i * W + c], a = alpha[i * W + c];
            const float gradient = y * sum[c] - 1 + slack[i] * a;
            const float projected = a > 0 ? gradient : gradient < 0 ? gradient : 0;
            highest[c] = projected > highest[c] ? projected : highest[c];
            lowest[c] = projected < lowest[c] ? projected : lowest[c];
            const float aim = a - live[c] * projected / slopes[i * W + c], b = aim > 0 ? aim : 0;
            alpha[i * W + c] = b;
            step[c] = (b - a) * y;
            moved = fabsf(step[c]) > moved ? fabsf(step[c]) : moved;
        }
        if (moved == 0)
            continue;
        for (int c = 0; c < W; c++)
            bias[c] += step[c];
        for (int64_t n = start; n < end; n++) {
            float *restrict w = weights + (int64_t)x.columns[n] * W;
            const float *restrict e = squares ? squares + (int64_t)x.columns[n] * W : NULL;
            for (int c = 0; c < W; c++)
                w[c] += x.values[n] * step[c] * (e ? e[c] : 1.0f);
        }
    }
}

#define OF_WIDTH(W)                                                                                                    \
    EXPORT EACH_PROCESSOR void descend_##W(const int64_t *starts, const int32_t *columns, const float *values,         \
                                           const int64_t *order, int64_t count, float *weights, float *bias,           \
                                           const float *squares, const float *signs, float *alpha,                     \
                                           const float *slopes, const float *slack, const float *live, float *highest, \
                                           float *lowest)                                                              \
    {                                                                                                                  \
        descend((Documents){starts, columns, values}, order, count, W, weights, bias, squares, signs, alpha, slopes,   \
                slack, live, highest, lowest);                                                                         \
    }

OF_WIDTH(1)
OF_WIDTH(4)
OF_WIDTH(8)
OF_WIDTH(16)

/* Which source this is, by its checksum: fenlei.layers.kernels uses no loops that were compiled from another. */
#ifndef SOURCE
#define SOURCE 0
#endif

EXPORT uint32_t source(void)
{
    return (uint32_t)SOURCE;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
