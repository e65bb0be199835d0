/* The loop of fenlei.reader: documents through the gated unit of fenlei.layers.mingru and its poolings. */

#include "common.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#define VNNI __builtin_cpu_supports("avx512vnni")
#else
#define VNNI 0
#endif

#define ROWS 4     /* of a product that are computed together: their sums stay in registers */
#define COLUMNS 32 /* a product's columns are a multiple of these */
#define MOST_FETCHED 64 /* tokens of the next document whose rows are on their way meanwhile */

/* Numbers (depth, columns) that rows are multiplied with, and a bias (columns).
 *
 * In 8 bits where bytes are there, of which the runtime makes use only where the processor is VNNI: they are scales
 * (columns) times bytes, which lie in blocks, (columns / COLUMNS, depth / 4, COLUMNS, 4); sums (columns) are 128 times
 * the sum of a column's bytes. */
typedef struct {
    const float *floats;
    const int8_t *bytes;
    const float *scales;
    const int32_t *sums;
    const float *bias;
} Matrix;

/* x (rows, depth) times weight (depth, columns), plus bias (columns): y (rows, columns); rows are a multiple of ROWS.
 *
 * Every number is summed from the first of depth to the last, whatever stands beside it. */
INLINE void multiply_floats(const float *restrict x, const float *restrict weight, const float *restrict bias, int64_t rows,
                     int64_t depth, int64_t columns, float *restrict y)
{
    for (int64_t c = 0; c < columns; c += COLUMNS)
        for (int64_t n = 0; n < rows; n += ROWS) {
            float sums[ROWS][COLUMNS];
            for (int r = 0; r < ROWS; r++)
                for (int k = 0; k < COLUMNS; k++)
                    sums[r][k] = bias[c + k];
            for (int64_t d = 0; d < depth; d++)
                for (int r = 0; r < ROWS; r++)
                    for (int k = 0; k < COLUMNS; k++)
                        sums[r][k] += x[(n + r) * depth + d] * weight[d * columns + c + k];
            for (int r = 0; r < ROWS; r++)
                for (int k = 0; k < COLUMNS; k++)
                    y[(n + r) * columns + c + k] = sums[r][k];
        }
}

typedef union {
    float value;
    int32_t bits;
} Bits;

#define MAGIC 0x1.8p23f /* added to a small number it leaves the nearest whole one in the lowest bits */

/* Each row of x (rows, depth) as whole numbers from 1 to 255, 128 for 0, times a step of its own: q and steps (rows).
 *
 * A row's step is of that row alone, so that what is beside it changes nothing. */
INLINE void round_rows(const float *restrict x, int64_t rows, int64_t depth, uint8_t *restrict q,
                       float *restrict steps)
{
    for (int64_t n = 0; n < rows; n++, x += depth, q += depth) {
        Bits largest = {0}; /* of numbers without a sign the bits are in the order of the numbers */
        for (int64_t d = 0; d < depth; d++) {
            const Bits number = {fabsf(x[d])};
            largest.bits = number.bits > largest.bits ? number.bits : largest.bits;
        }
        const float inverse = largest.value > 0 ? 127 / largest.value : 0;
        for (int64_t d = 0; d < depth; d++) {
            const Bits number = {x[d] * inverse + (MAGIC + 128)};
            q[d] = (uint8_t)number.bits;
        }
        steps[n] = largest.value / 127;
    }
}

#if defined(__GNUC__) && defined(__x86_64__)
/* What multiply_floats computes, of x as round_rows has it and of weights in bytes: products of 8 bits, four of them
 * summed up in 32 by one instruction. */
__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static void
multiply_bytes(const uint8_t *restrict q, const float *restrict steps, const Matrix *weight, int64_t rows,
               int64_t depth, int64_t columns, float *restrict y)
{
    const int8_t *block = weight->bytes;
    for (int64_t c = 0; c < columns; c += COLUMNS, block += depth * COLUMNS)
        for (int64_t n = 0; n < rows; n += ROWS) {
            __m512i sums[ROWS][2];
            for (int r = 0; r < ROWS; r++)
                sums[r][0] = sums[r][1] = _mm512_setzero_si512();
            for (int64_t d = 0; d < depth; d += 4) {
                const __m512i low = _mm512_loadu_si512(block + d * COLUMNS);
                const __m512i high = _mm512_loadu_si512(block + d * COLUMNS + 64);
                for (int r = 0; r < ROWS; r++) {
                    int32_t four;
                    memcpy(&four, q + (n + r) * depth + d, 4);
                    sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], _mm512_set1_epi32(four), low);
                    sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], _mm512_set1_epi32(four), high);
                }
            }
            for (int r = 0; r < ROWS; r++)
                for (int half = 0; half < 2; half++) {
                    const int64_t k = c + 16 * half;
                    const __m512i whole = _mm512_sub_epi32(sums[r][half], _mm512_loadu_si512(weight->sums + k));
                    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(steps[n + r]), _mm512_loadu_ps(weight->scales + k));
                    const __m512 bias = _mm512_loadu_ps(weight->bias + k);
                    _mm512_storeu_ps(y + (n + r) * columns + k, _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, bias));
                }
        }
}
#endif

/* The weights of a reader: H numbers a state, ways of them, W = ways * H; vectors of D numbers.
 *
 * gates (D, ways * 2 * H) make the preimages of z and g of every way; project (W, W) and context (W) are the
 * attention's. Matrices are laid out as multiply takes them. */
typedef struct {
    int64_t D, H, ways;
    Matrix gates, project;
    const float *context;
    const int64_t *pools; /* kinds of pooling */
    int64_t many;         /* of them */
} Reader;

/* Of one document at a time: x (steps, D), u (steps, 2 * W), h (steps, W), the scores of its steps, one state (H), and
 * what is multiplied in 8 bits. */
typedef struct {
    float *x, *u, *h, *scores, *state, *rounding;
    uint8_t *rounded;
} Scratch;

/* The parts of space, which has rows * (D + 3 * W + 2) + H numbers, and where matrices are of bytes room for rows * D
 * or rows * W bytes more, whichever are more. */
INLINE Scratch divide(float *space, int64_t rows, int64_t D, int64_t H, int64_t W)
{
    float *u = space + rows * D, *h = u + rows * 2 * W, *scores = h + rows * W;
    float *state = scores + rows, *rounding = state + H;
    return (Scratch){space, u, h, scores, state, rounding, (uint8_t *)(rounding + rows)};
}

INLINE void multiply(const float *restrict x, const Matrix *weight, int64_t rows, int64_t depth, int64_t columns,
                     const Scratch *scratch, float *restrict y)
{
#if defined(__GNUC__) && defined(__x86_64__)
    if (weight->bytes) {
        round_rows(x, rows, depth, scratch->rounded, scratch->rounding);
        multiply_bytes(scratch->rounded, scratch->rounding, weight, rows, depth, columns, y);
        return;
    }
#endif
    multiply_floats(x, weight->floats, weight->bias, rows, depth, columns, y);
}

/* Way 0 ends at the last step, way 1 at the first. */
INLINE void pool_last(const float *h, int64_t length, int64_t H, int64_t W, float *restrict found)
{
    for (int64_t d = 0; d < W; d++)
        found[d] = d < H ? h[(length - 1) * W + d] : h[d];
}

INLINE void fetch_document(const Stream *streams, int64_t many, int64_t start, int64_t end, int64_t width)
{
    end = end < start + MOST_FETCHED ? end : start + MOST_FETCHED;
    for (int64_t t = start; t < end; t++)
        for (int64_t s = 0; s < many; s++)
            fetch(streams[s].table, streams[s].ids[t], width);
}

/* The vectors of some documents (count), whose ids begin at offsets: found (count, kinds of pooling * W).
 *
 * most is the length of the longest, rounded up to ROWS, for which there is space. */
static EACH_PROCESSOR void read_documents(const Reader *reader, const Stream *streams, int64_t many,
                                          const int64_t *documents, int64_t count, const int64_t *offsets,
                                          int64_t most, float *space, float *restrict found)
{
    const int64_t D = reader->D, H = reader->H, ways = reader->ways, W = ways * H;
    const Scratch scratch = divide(space, most, D, H, W);
    for (int64_t b = 0; b < count; b++) {
        const int64_t start = offsets[documents[b]], length = offsets[documents[b] + 1] - start;
        const int64_t rows = (length + ROWS - 1) / ROWS * ROWS;
        for (int64_t k = 0; k < rows * D; k++)
            scratch.x[k] = 0;
        for (int64_t t = 0; t < length; t++)
            for (int64_t s = 0; s < many; s++) {
                if (t >= MOST_FETCHED - AHEAD && t + AHEAD < length)
                    fetch(streams[s].table, streams[s].ids[start + t + AHEAD], D);
                add_row(streams[s].table, streams[s].ids[start + t], D, 1, scratch.x + t * D);
            }
        if (b + 1 < count) /* its rows come from memory while this one is computed */
            fetch_document(streams, many, offsets[documents[b + 1]], offsets[documents[b + 1] + 1], D);
        multiply(scratch.x, &reader->gates, rows, D, 2 * W, &scratch, scratch.u);
        const Array u = {scratch.u, 0}, h = {scratch.h, 0};
        forward(u, &length, 1, length, ways, H, scratch.state, h);
        for (int64_t k = length * W; k < rows * W; k++)
            scratch.h[k] = 0;
        float *room = scratch.u + rows * W; /* u is read: the attention's projection and its scratch take its place */
        for (int64_t p = 0; p < reader->many; p++, found += W) {
            const Array vector = {found, 0};
            switch (reader->pools[p]) {
            case MEAN:
                mean_of(h, 0, length, W, room, vector, 0);
                break;
            case MAX:
                largest_of(h, 0, length, W, room, (int32_t *)(room + W), vector, 0);
                break;
            case ATTENTION:
                multiply(scratch.h, &reader->project, rows, W, W, &scratch, scratch.u);
                attend(h, u, reader->context, 0, length, W, room, scratch.scores, vector, 0);
                break;
            default:
                pool_last(scratch.h, length, H, W, found);
            }
        }
    }
}
