/* The loops of fenlei.layers and fenlei.optimizing: each has a twin in torch that says the same. */

#include "common.h"

/* The sum of the values (count, size) that have the same id, a row an id, ids in the order in which they come.
 *
 * slots: a number for every id of the table, all -1, and all -1 again afterwards. skipped is an id that is left out.
 * Returns how many rows of unique (count) and sums (count, size) are filled. */
static EACH_PROCESSOR int64_t sum_by_id(const int64_t *restrict ids, const float *restrict values, int64_t count,
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
static EACH_PROCESSOR void adam_rows(float *restrict table, float *restrict mean, float *restrict square,
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

/* Numbers of one row that will be wanted soon. */
INLINE void fetch_numbers(const Array a, int64_t place, int64_t size)
{
    const int64_t bytes = a.half ? 2 : 4;
    for (int64_t line = 0; line < size * bytes; line += 64)
        PREFETCH((const char *)a.numbers + place * bytes + line);
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
                if (step > 1) {
                    const int64_t soon = way ? row + 2 * ways : row - 2 * ways;
                    fetch_numbers(u, 2 * soon * H, 2 * H);
                    fetch_numbers(h, soon * H, H);
                    fetch_numbers(dh, soon * H, H);
                    fetch_numbers(du, 2 * soon * H, 2 * H);
                }
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

#define LANES 16 /* sums side by side, added up at the end */

/* The sum of x times y (size), of which x begins at a place. */
INLINE float dot(const Array x, int64_t place, const float *restrict y, int64_t size)
{
    float lanes[LANES] = {0}, sum = 0;
    for (int64_t d = 0; d + LANES <= size; d += LANES)
        for (int k = 0; k < LANES; k++)
            lanes[k] += get(x, place + d + k) * y[d + k];
    for (int k = 0; k < LANES; k++)
        sum += lanes[k];
    for (int64_t d = size - size % LANES; d < size; d++)
        sum += get(x, place + d) * y[d];
    return sum;
}

INLINE float tanh_of(float x)
{
    return 2 * sigmoid(2 * x) - 1;
}

/* What fenlei.layers.pooling makes of steps h (B, T, W), of which lengths (B) are real: a mean, a maximum and an
 * attention's sum, each (B, W), those that are wanted side by side in found (B, many, W).
 *
 * kinds (many) are MEAN, MAX or ATTENTION, each once. The attention looks at hidden (B, T, W), what it projects h to,
 * before tanh; its context (W). Kept for the way back: place (B, W), the first steps of the maxima, and shares (B, T)
 * of the steps in the attention. room (W) is scratch. */
typedef struct {
    const int64_t *lengths, *kinds;
    int64_t many, T, W;
    const float *context;
    int32_t *place;
    float *shares, *room;
} Pooled;

enum { MEAN, MAX, ATTENTION, LAST }; /* poolings, in the order of fenlei.reader.POOLINGS */

INLINE void mean_of(const Array h, int64_t start, int64_t length, int64_t W, float *restrict room, const Array found,
                    int64_t out)
{
    for (int64_t d = 0; d < W; d++)
        room[d] = 0;
    for (int64_t t = 0; t < length; t++)
        for (int64_t d = 0; d < W; d++)
            room[d] += get(h, (start + t) * W + d);
    for (int64_t d = 0; d < W; d++)
        put(found, out + d, room[d] / (float)length);
}

INLINE void largest_of(const Array h, int64_t start, int64_t length, int64_t W, float *restrict room,
                       int32_t *restrict place, const Array found, int64_t out)
{
    for (int64_t d = 0; d < W; d++) {
        room[d] = -INFINITY;
        place[d] = 0;
    }
    for (int64_t t = 0; t < length; t++)
        for (int64_t d = 0; d < W; d++) {
            const float x = get(h, (start + t) * W + d);
            place[d] = x > room[d] ? (int32_t)t : place[d];
            room[d] = x > room[d] ? x : room[d];
        }
    for (int64_t d = 0; d < W; d++)
        put(found, out + d, room[d]);
}

INLINE void attend(const Array h, const Array hidden, const float *restrict context, int64_t start, int64_t length,
                   int64_t W, float *restrict room, float *restrict shares, const Array found, int64_t out)
{
    float largest = -INFINITY, total = 0;
    for (int64_t t = 0; t < length; t++) {
        for (int64_t d = 0; d < W; d++)
            room[d] = tanh_of(get(hidden, (start + t) * W + d));
        shares[t] = dot((Array){room, 0}, 0, context, W);
        largest = shares[t] > largest ? shares[t] : largest;
    }
    for (int64_t t = 0; t < length; t++)
        total += shares[t] = exponential(shares[t] - largest);
    for (int64_t d = 0; d < W; d++)
        room[d] = 0;
    for (int64_t t = 0; t < length; t++) {
        shares[t] /= total;
        for (int64_t d = 0; d < W; d++)
            room[d] += shares[t] * get(h, (start + t) * W + d);
    }
    for (int64_t d = 0; d < W; d++)
        put(found, out + d, room[d]);
}

INLINE void pool(const Array h, const Array hidden, int64_t B, const Pooled *p, const Array found)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t k = 0; k < p->many; k++) {
            const int64_t start = b * p->T, length = p->lengths[b], out = (b * p->many + k) * p->W;
            if (p->kinds[k] == MEAN)
                mean_of(h, start, length, p->W, p->room, found, out);
            else if (p->kinds[k] == MAX)
                largest_of(h, start, length, p->W, p->room, p->place + b * p->W, found, out);
            else
                attend(h, hidden, p->context, start, length, p->W, p->room, p->shares + start, found, out);
        }
}

/* slopes (length): the gradient of each step's score before softmax, from that of the attention's sum (W). */
INLINE void score_back(const Array h, int64_t start, int64_t length, const float *restrict shares,
                       const float *restrict gradient, int64_t W, float *restrict slopes)
{
    float expected = 0;
    for (int64_t t = 0; t < length; t++) {
        slopes[t] = dot(h, (start + t) * W, gradient, W);
        expected += shares[t] * slopes[t];
    }
    for (int64_t t = 0; t < length; t++)
        slopes[t] = shares[t] * (slopes[t] - expected);
}

/* From the gradient of found those of h, of hidden, and of the context (W), to which it is added; past a row's end they
 * are zero. room (3 * W + T) is scratch; without an attention there is no hidden, and shares are 0. */
INLINE void pool_back(const Array h, const Array hidden, const Array dfound, int64_t B, const Pooled *p,
                      const Array dh, const Array dhidden, float *restrict dcontext)
{
    const int64_t W = p->W;
    float *restrict mean = p->room, *restrict top = mean + W, *restrict sum = top + W, *restrict slopes = sum + W;
    for (int64_t b = 0; b < B; b++) {
        const int64_t start = b * p->T, length = p->lengths[b];
        const int32_t *restrict place = p->place + b * W;
        const float *restrict shares = p->shares + start;
        for (int64_t d = 0; d < 3 * W; d++)
            mean[d] = 0;
        for (int64_t k = 0; k < p->many; k++)
            for (int64_t d = 0; d < W; d++) /* MEAN, MAX and ATTENTION are 0, 1 and 2 */
                mean[p->kinds[k] * W + d] = get(dfound, (b * p->many + k) * W + d);
        if (hidden.numbers)
            score_back(h, start, length, shares, sum, W, slopes);
        for (int64_t t = 0; t < length; t++) {
            const int64_t at = (start + t) * W;
            for (int64_t d = 0; d < W; d++)
                put(dh, at + d, mean[d] / (float)length + (place[d] == t ? top[d] : 0) + shares[t] * sum[d]);
            for (int64_t d = 0; hidden.numbers && d < W; d++) {
                const float seen = tanh_of(get(hidden, at + d));
                put(dhidden, at + d, slopes[t] * p->context[d] * (1 - seen * seen));
                dcontext[d] += slopes[t] * seen;
            }
        }
        for (int64_t d = (start + length) * W; d < (start + p->T) * W; d++) {
            put(dh, d, 0);
            if (hidden.numbers)
                put(dhidden, d, 0);
        }
    }
}

#define DRAWN 64 /* numbers that are dropped or kept together: 16 words of random bits */

/* Random bits: the word at a place of the sequence that a seed begins, splitmix64 (Steele et al. 2014). */
INLINE uint64_t random_word(uint64_t seed, uint64_t place)
{
    uint64_t z = seed + (place + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* y (count): x times scale, or 0 where the number's 16 random bits are below dropped.
 *
 * A block's word j has the bits of its numbers j, 16 + j, 32 + j and 48 + j, from the lowest on. */
INLINE void drop(const Array x, int64_t count, uint64_t seed, int64_t dropped, float scale, const Array y)
{
    for (int64_t start = 0; start < count; start += DRAWN) {
        float factors[DRAWN];
        uint64_t words[DRAWN / 4];
        for (int64_t j = 0; j < DRAWN / 4; j++)
            words[j] = random_word(seed, (uint64_t)(start / 4 + j));
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < DRAWN / 4; j++)
                factors[k * DRAWN / 4 + j] = (int32_t)(words[j] >> 16 * k & 0xffff) >= (int32_t)dropped ? scale : 0;
        const int64_t size = count - start < DRAWN ? count - start : DRAWN;
        for (int64_t n = 0; n < size; n++)
            put(y, start + n, get(x, start + n) * factors[n]);
    }
}

#define BOTH_KINDS(NAME, HALF)                                                                                         \
    static EACH_PROCESSOR void mingru_forward_##NAME(void *u, const int64_t *lengths, int64_t B, int64_t T,            \
                                                     int64_t ways, int64_t H, float *state, void *h)                   \
    {                                                                                                                  \
        forward((Array){u, HALF}, lengths, B, T, ways, H, state, (Array){h, HALF});                                    \
    }                                                                                                                  \
                                                                                                                       \
    static EACH_PROCESSOR void mingru_backward_##NAME(void *u, void *h, void *dh, const int64_t *lengths, int64_t B,   \
                                                      int64_t T, int64_t ways, int64_t H, float *carry, void *du)      \
    {                                                                                                                  \
        backward((Array){u, HALF}, (Array){h, HALF}, (Array){dh, HALF}, lengths, B, T, ways, H, carry,                 \
                 (Array){du, HALF});                                                                                   \
    }                                                                                                                  \
                                                                                                                       \
    static EACH_PROCESSOR void drop_##NAME(void *x, int64_t count, uint64_t seed, int64_t dropped, float scale,        \
                                           void *y)                                                                    \
    {                                                                                                                  \
        drop((Array){x, HALF}, count, seed, dropped, scale, (Array){y, HALF});                                         \
    }                                                                                                                  \
                                                                                                                       \
    static EACH_PROCESSOR void pool_##NAME(void *h, void *hidden, int64_t B, const Pooled *p, void *found)             \
    {                                                                                                                  \
        pool((Array){h, HALF}, (Array){hidden, HALF}, B, p, (Array){found, HALF});                                     \
    }                                                                                                                  \
                                                                                                                       \
    static EACH_PROCESSOR void pool_back_##NAME(void *h, void *hidden, void *dfound, int64_t B, const Pooled *p,       \
                                                void *dh, void *dhidden, float *dcontext)                              \
    {                                                                                                                  \
        pool_back((Array){h, HALF}, (Array){hidden, HALF}, (Array){dfound, HALF}, B, p, (Array){dh, HALF},             \
                  (Array){dhidden, HALF}, dcontext);                                                                   \
    }

BOTH_KINDS(f32, 0)
BOTH_KINDS(bf16, 1)
