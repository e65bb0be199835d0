/* The LSTM of fenlei.layers.lstm, forward and back, for processors that multiply pairs of bfloat16 (AVX-512 BF16).
 *
 * A step multiplies all rows that still go on, in tiles whose sums stay in registers. A tile's columns are the four
 * gates of 16 units, so that nothing but gates, cells and outputs is ever written to memory. Rows are ranked by length,
 * the longest first: those that go on at a step are the first ones. What a step keeps of them begins at its slot, rank
 * by rank. */

#include "common.h"

#if defined(__x86_64__) && ((defined(__clang__) && __clang_major__ >= 16) || (!defined(__clang__) && __GNUC__ >= 11))
#define HAS_LSTM 1

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define VECTORS static inline __attribute__((always_inline)) TARGET

#define HEIGHT 6  /* 24 sums, four columns and a pair: 29 of the 32 registers */
#define WIDTH 64  /* four registers */
#define CHUNK 128 /* pairs of tokens whose share of the weights' gradient is summed up in registers */

typedef uint16_t bf16; /* a bfloat16: the upper half of a float */

/* Whether such a processor is at hand. One that has tiles (AMX) is left to oneDNN, which multiplies by them. */
static int lstm_is_fast(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    const int tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
    return !tiles && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/* exp(x) = 2^n 2^r, and 2^r by Taylor's polynomial: within 3e-6 of it, where rounding to bfloat16 costs 2e-3. */
VECTORS __m512 exponentials(__m512 x)
{
    x = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f));
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.3333558e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6181291e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* 1 / x for x in [1, 2^120]: 14 bits by a table of the processor, doubled by Newton's step. */
VECTORS __m512 inverses(__m512 x)
{
    const __m512 y = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(2.0f)));
}

VECTORS __m512 sigmoids(__m512 x)
{
    /* Further down 1 + exp(-x) would have no inverse. Of a pair with what is not a number, the second is the maximum.
     */
    x = _mm512_max_ps(_mm512_set1_ps(-80.0f), x);
    return inverses(_mm512_add_ps(_mm512_set1_ps(1.0f), exponentials(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

VECTORS __m512 tanhs(__m512 x)
{
    return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), sigmoids(_mm512_add_ps(x, x)), _mm512_set1_ps(1.0f));
}

VECTORS __m512 load_halves(const bf16 *x)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

VECTORS void store_halves(bf16 *x, __m512 numbers)
{
    _mm256_storeu_si256((__m256i *)x, (__m256i)_mm512_cvtneps_pbh(numbers));
}

/* sums (many, WIDTH) += left (many rows, pairs) x right (pairs, WIDTH), both of pairs of numbers.
 *
 * A row's pairs are apart pairs from one another; many is known when the code is compiled. */
VECTORS void multiply_pairs(const bf16 *const *left, const int many, int64_t apart, const bf16 *right, int64_t pairs,
                            __m512 sums[HEIGHT][4])
{
    for (int64_t p = 0; p < pairs; p++, right += 2 * WIDTH) {
        __m512bh columns[4];
        for (int k = 0; k < 4; k++)
            columns[k] = (__m512bh)_mm512_loadu_si512(right + 32 * k);
        for (int r = 0; r < many; r++) {
            int32_t pair;
            memcpy(&pair, left[r] + 2 * p * apart, sizeof pair);
            for (int k = 0; k < 4; k++)
                sums[r][k] = _mm512_dpbf16_ps(sums[r][k], (__m512bh)_mm512_set1_epi32(pair), columns[k]);
        }
    }
}

/* CALL(rows) with a number of rows that the compiler knows. */
#define EACH_TILE(MANY, CALL)                                                                                          \
    switch (MANY) {                                                                                                    \
    case 1: CALL(1); break;                                                                                            \
    case 2: CALL(2); break;                                                                                            \
    case 3: CALL(3); break;                                                                                            \
    case 4: CALL(4); break;                                                                                            \
    case 5: CALL(5); break;                                                                                            \
    default: CALL(HEIGHT);                                                                                             \
    }

/* A batch x (B, T, D) and what is made of it, h (B, T, ways, H); D and H are multiples of 16. order (B) are the rows by
 * rank; nothing (D + 4H) are zeros; N is the sum of lengths (B). */
typedef struct {
    const bf16 *x, *h, *nothing;
    const int64_t *lengths, *order;
    int64_t B, T, D, H, ways, N;
} Batch;

/* Which of all steps (B, T) a row reads at its step: way 0 from the first, way 1 from its last. */
VECTORS int64_t place_of(const Batch *batch, int64_t way, int64_t rank, int64_t step)
{
    const int64_t b = batch->order[rank];
    return b * batch->T + (way ? batch->lengths[b] - 1 - step : step);
}

VECTORS const bf16 *output_before(const Batch *batch, int64_t way, int64_t place, int64_t step)
{
    return step ? batch->h + ((way ? place + 1 : place - 1) * batch->ways + way) * batch->H : batch->nothing;
}

/* How many rows go on at a step. */
static int64_t going_on(const Batch *batch, int64_t step)
{
    int64_t n = 0, end = batch->B; /* the first ones: the border is found by halves */
    while (n < end) {
        const int64_t middle = (n + end) / 2;
        if (batch->lengths[batch->order[middle]] > step)
            n = middle + 1;
        else
            end = middle;
    }
    return n;
}

/* Gates, cells and outputs of 16 units, for some ranks of a step. */
VECTORS void step_forward(const Batch *batch, int64_t way, int64_t unit, int64_t rank, const int many, int64_t step,
                          int64_t slot, int64_t slot_before, const bf16 *weight, const float *bias, bf16 *h,
                          bf16 *gates, float *cells)
{
    const int64_t H = batch->H;
    const bf16 *inputs[HEIGHT], *outputs[HEIGHT];
    int64_t places[HEIGHT];
    __m512 sums[HEIGHT][4];
    for (int r = 0; r < many; r++) {
        places[r] = place_of(batch, way, rank + r, step);
        inputs[r] = batch->x + places[r] * batch->D;
        outputs[r] = output_before(batch, way, places[r], step);
        for (int k = 0; k < 4; k++)
            sums[r][k] = _mm512_loadu_ps(bias + k * H + unit);
    }
    multiply_pairs(inputs, many, 1, weight, batch->D / 2, sums);
    if (step)
        multiply_pairs(outputs, many, 1, weight + batch->D * WIDTH, H / 2, sums);
    for (int r = 0; r < many; r++) {
        const __m512 i = sigmoids(sums[r][0]), f = sigmoids(sums[r][1]), g = tanhs(sums[r][2]),
                     o = sigmoids(sums[r][3]);
        const __m512 old = step ? _mm512_loadu_ps(cells + (slot_before + rank + r) * H + unit) : _mm512_setzero_ps();
        const __m512 c = _mm512_fmadd_ps(f, old, _mm512_mul_ps(i, g)), all[4] = {i, f, g, o};
        for (int k = 0; k < 4; k++)
            store_halves(gates + (slot + rank + r) * 4 * H + 4 * unit + 16 * k, all[k]);
        _mm512_storeu_ps(cells + (slot + rank + r) * H + unit, c);
        store_halves(h + (places[r] * batch->ways + way) * H + unit, _mm512_mul_ps(o, tanhs(c)));
    }
}

/* One way's part of h (B, T, ways, H), zero past a row's end, and for the way back gates (N, 4H), of each 16 units
 * i, f, g, o, and cells (N, H). weights are those of pack_forward, biases (4H) in torch's order. */
static TARGET void lstm_forward(const Batch *batch, int64_t way, const bf16 *weights, const float *biases, bf16 *h,
                                bf16 *gates, float *cells)
{
    const int64_t B = batch->B, T = batch->T, D = batch->D, H = batch->H, ways = batch->ways;
    int64_t slot = 0, slot_before = 0;
    for (int64_t step = 0, n; (n = step < T ? going_on(batch, step) : 0); step++, slot_before = slot, slot += n) {
        const int64_t tiles = (n + HEIGHT - 1) / HEIGHT;
        for (int64_t unit = 0; unit < H; unit += 16)
            for (int64_t tile = 0; tile < tiles; tile++) {
                const int64_t rank = tile * n / tiles;
#define CALL(MANY)                                                                                                     \
    step_forward(batch, way, unit, rank, MANY, step, slot, slot_before, weights + unit * 4 * (D + H), biases, h,       \
                 gates, cells)
                EACH_TILE((tile + 1) * n / tiles - rank, CALL)
#undef CALL
            }
    }
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = batch->lengths[b]; t < T; t++)
            memset(h + ((b * T + t) * ways + way) * H, 0, H * sizeof(bf16));
}

/* The matrices of one way, torch's weight_ih (4H, D) and weight_hh (4H, H), as step_forward reads them (4H (D + H)):
 * for each 16 units, for each pair of inputs, the 64 columns of their four gates. */
static TARGET void pack_forward(const bf16 *weight_ih, const bf16 *weight_hh, int64_t D, int64_t H, bf16 *packed)
{
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int64_t unit = 0; unit < H; unit += 16)
        for (int part = 0; part < 2; part++) {
            const int64_t depth = part ? H : D;
            const bf16 *from = (part ? weight_hh : weight_ih) + unit * depth;
            const __m512i rows = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)(depth / 2)));
            for (int64_t d = 0; d < depth; d += 2, packed += 2 * WIDTH)
                for (int k = 0; k < 4; k++)
                    _mm512_storeu_si512(packed + 32 * k, _mm512_i32gather_epi32(rows, from + k * H * depth + d, 4));
        }
}

/* 16 pairs: numbers of one row, each with that of another below it. */
VECTORS void pair_up(const bf16 *one, const bf16 *other, bf16 *pairs)
{
    const __m512i turns = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                           37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)one));
    const __m512i second = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)other));
    _mm512_storeu_si512(pairs, _mm512_permutex2var_epi16(first, turns, second));
}

/* The row of torch's matrices (4H, ..) that gate number k of a token's gates (4H) is. */
VECTORS int64_t row_of(int64_t k, int64_t H)
{
    return k / 16 % 4 * H + k / WIDTH * 16 + k % 16;
}

VECTORS int64_t blocks_of(int64_t D, int64_t H)
{
    return (D + H + WIDTH - 1) / WIDTH;
}

/* The same matrices as step_back reads them (blocks * WIDTH * 4H): for each 64 of the D + H columns, for each pair of
 * gates. */
static TARGET void pack_back(const bf16 *weight_ih, const bf16 *weight_hh, int64_t D, int64_t H, bf16 *packed)
{
    memset(packed, 0, blocks_of(D, H) * WIDTH * 4 * H * sizeof(bf16));
    for (int64_t column = 0; column < D + H; column += 16)
        for (int64_t k = 0; k < 4 * H; k += 2) {
            const int64_t depth = column < D ? D : H;
            const bf16 *row = column < D ? weight_ih + column : weight_hh + column - D;
            row += row_of(k, H) * depth;
            pair_up(row, row + depth, packed + column / WIDTH * WIDTH * 4 * H + k * WIDTH + column % WIDTH * 2);
        }
}

/* The gradients of one rank's preimages at a step, dgates (4H), their sum over all, dbias (4H), and what is carried to
 * the step before: of the cell dc (H), in place. dh (H) is what the step after sends back of the output. */
VECTORS void gates_back(const Batch *batch, const bf16 *dh_above, const bf16 *gates, const float *cells,
                        const float *cells_before, const float *dh, float *dc, bf16 *dgates, float *dbias)
{
    const __m512 one = _mm512_set1_ps(1);
    const int64_t H = batch->H;
    for (int64_t unit = 0; unit < H; unit += 16) {
        const bf16 *at = gates + 4 * unit;
        const __m512 i = load_halves(at), f = load_halves(at + 16), g = load_halves(at + 32), o = load_halves(at + 48);
        const __m512 shown = tanhs(_mm512_loadu_ps(cells + unit));
        const __m512 before = cells_before ? _mm512_loadu_ps(cells_before + unit) : _mm512_setzero_ps();
        const __m512 output = _mm512_add_ps(load_halves(dh_above + unit), _mm512_loadu_ps(dh + unit));
        const __m512 cell =
            _mm512_fmadd_ps(_mm512_mul_ps(output, o), _mm512_fnmadd_ps(shown, shown, one), _mm512_loadu_ps(dc + unit));
        const __m512 all[4] = {
            _mm512_mul_ps(_mm512_mul_ps(cell, g), _mm512_fnmadd_ps(i, i, i)),
            _mm512_mul_ps(_mm512_mul_ps(cell, before), _mm512_fnmadd_ps(f, f, f)),
            _mm512_mul_ps(_mm512_mul_ps(cell, i), _mm512_fnmadd_ps(g, g, one)),
            _mm512_mul_ps(_mm512_mul_ps(output, shown), _mm512_fnmadd_ps(o, o, o)),
        };
        _mm512_storeu_ps(dc + unit, _mm512_mul_ps(cell, f));
        for (int k = 0; k < 4; k++) {
            float *sum = dbias + k * H + unit;
            store_halves(dgates + 4 * unit + 16 * k, all[k]);
            _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), all[k]));
        }
    }
}

/* From dgates (N, 4H) some columns of the gradients of input and output before, for some ranks of a step. */
VECTORS void step_back(const Batch *batch, int64_t way, int64_t column, int64_t rank, const int many, int64_t step,
                       const bf16 *dgates, const bf16 *weight, float *dx, float *dh)
{
    const int64_t D = batch->D, H = batch->H;
    const bf16 *rows[HEIGHT];
    __m512 sums[HEIGHT][4];
    for (int r = 0; r < many; r++) {
        rows[r] = dgates + (rank + r) * 4 * H;
        for (int k = 0; k < 4; k++)
            sums[r][k] = _mm512_setzero_ps();
    }
    multiply_pairs(rows, many, 1, weight, 2 * H, sums);
    for (int r = 0; r < many; r++) {
        float *input = dx + place_of(batch, way, rank + r, step) * D, *output = dh + (rank + r) * H;
        for (int k = 0; k < 4 && column + 16 * k < D + H; k++) {
            const int64_t d = column + 16 * k;
            if (d >= D)
                _mm512_storeu_ps(output + d - D, sums[r][k]);
            else
                _mm512_storeu_ps(input + d, sums[r][k]);
        }
    }
}

/* Where the gradient of one way's matrices is summed up, and room for CHUNK pairs of tokens: of their gates
 * (panels of HEIGHT, CHUNK, HEIGHT, 2), of what was read (blocks, CHUNK, WIDTH, 2), and of one pair (4H + 16, 2). */
typedef struct {
    float *dweight_ih, *dweight_hh;
    bf16 *panels, *blocks, *line;
} Sums;

/* Adds to some rows and columns of dweight_ih (4H, D) and dweight_hh (4H, H) the products of so many pairs of tokens.
 */
VECTORS void weights_tile(const bf16 *panel, const bf16 *block, int64_t pairs, int64_t gate, int64_t column, int64_t D,
                          int64_t H, const Sums *room)
{
    const bf16 *rows[HEIGHT];
    __m512 sums[HEIGHT][4];
    for (int r = 0; r < HEIGHT; r++) {
        rows[r] = panel + 2 * r;
        for (int k = 0; k < 4; k++)
            sums[r][k] = _mm512_setzero_ps();
    }
    multiply_pairs(rows, HEIGHT, HEIGHT, block, pairs, sums);
    for (int r = 0; r < HEIGHT && gate + r < 4 * H; r++)
        for (int k = 0; k < 4 && column + 16 * k < D + H; k++) {
            const int64_t d = column + 16 * k, row = row_of(gate + r, H);
            float *to = d < D ? room->dweight_ih + row * D + d : room->dweight_hh + row * H + d - D;
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sums[r][k]));
        }
}

/* The same for all of the matrices, from the gates' gradients of some tokens (count, 4H), at most 2 * CHUNK, and their
 * inputs and outputs before. */
static TARGET void chunk_back(const Batch *batch, const bf16 *dgates, const bf16 *const *inputs,
                              const bf16 *const *outputs, int64_t count, const Sums *room)
{
    const int64_t D = batch->D, H = batch->H, pairs = (count + 1) / 2;
    for (int64_t p = 0; p < pairs; p++) {
        const int64_t one = 2 * p, other = one + 1, whole = other < count; /* an odd one has nothing beside it */
        const bf16 *above = dgates + one * 4 * H, *below = whole ? above + 4 * H : batch->nothing;
        for (int64_t k = 0; k < 4 * H; k += 16)
            pair_up(above + k, below + k, room->line + 2 * k);
        for (int64_t gate = 0; gate < 4 * H; gate += HEIGHT)
            memcpy(room->panels + 2 * (gate * CHUNK + p * HEIGHT), room->line + 2 * gate, 2 * HEIGHT * sizeof(bf16));
        for (int64_t d = 0; d < D + H; d += 16) {
            bf16 *to = room->blocks + 2 * (d / WIDTH * WIDTH * CHUNK + p * WIDTH + d % WIDTH);
            if (d < D)
                pair_up(inputs[one] + d, (whole ? inputs[other] : batch->nothing) + d, to);
            else
                pair_up(outputs[one] + d - D, (whole ? outputs[other] : batch->nothing) + d - D, to);
        }
    }
    for (int64_t column = 0; column < D + H; column += WIDTH)
        for (int64_t gate = 0; gate < 4 * H; gate += HEIGHT)
            weights_tile(room->panels + 2 * gate * CHUNK, room->blocks + 2 * column * CHUNK, pairs, gate, column, D, H,
                         room);
}

/* The gradients of one way's matrices, zero before, from those of all its gates (N, 4H). */
static TARGET void weights_back(const Batch *batch, int64_t way, const bf16 *dgates, const Sums *room)
{
    const bf16 *inputs[2 * CHUNK], *outputs[2 * CHUNK];
    int64_t filled = 0;
    for (int64_t step = 0, n; (n = step < batch->T ? going_on(batch, step) : 0); step++)
        for (int64_t rank = 0; rank < n; rank++) {
            const int64_t place = place_of(batch, way, rank, step);
            inputs[filled] = batch->x + place * batch->D;
            outputs[filled++] = output_before(batch, way, place, step);
            if (filled == 2 * CHUNK) {
                chunk_back(batch, dgates, inputs, outputs, filled, room);
                dgates += filled * 4 * batch->H;
                filled = 0;
            }
        }
    if (filled)
        chunk_back(batch, dgates, inputs, outputs, filled, room);
}

/* From the gradient of h, dh (B, T, ways, H), one way's share of that of x, dx (B, T, D), and the gradients of its
 * matrices, dweight_ih (4H, D) and dweight_hh (4H, H), and biases (4H), all zero before. Scratch: dgates (N, 4H),
 * carry (2, B, H) and what room has. weights are those of pack_back, gates and cells those that lstm_forward kept. */
static TARGET void lstm_backward(const Batch *batch, int64_t way, const bf16 *weights, const bf16 *gates,
                                 const float *cells, const bf16 *dh, bf16 *dgates, float *carry, Sums room,
                                 float *dbias, float *dx)
{
    const int64_t D = batch->D, H = batch->H;
    float *dc = carry + batch->B * H;
    memset(carry, 0, 2 * batch->B * H * sizeof(float));
    for (int64_t step = batch->T - 1, slot = batch->N; step >= 0; step--) {
        const int64_t n = going_on(batch, step), tiles = (n + HEIGHT - 1) / HEIGHT;
        slot -= n;
        const int64_t slot_before = step ? slot - going_on(batch, step - 1) : 0;
        for (int64_t rank = 0; rank < n; rank++) {
            const int64_t place = place_of(batch, way, rank, step);
            gates_back(batch, dh + (place * batch->ways + way) * H, gates + (slot + rank) * 4 * H,
                       cells + (slot + rank) * H, step ? cells + (slot_before + rank) * H : NULL, carry + rank * H,
                       dc + rank * H, dgates + (slot + rank) * 4 * H, dbias);
        }
        for (int64_t column = 0; column < (step ? D + H : D); column += WIDTH)
            for (int64_t tile = 0; tile < tiles; tile++) {
                const int64_t rank = tile * n / tiles;
#define CALL(MANY)                                                                                                     \
    step_back(batch, way, column, rank, MANY, step, dgates + slot * 4 * H, weights + column * 4 * H, dx, carry)
                EACH_TILE((tile + 1) * n / tiles - rank, CALL)
#undef CALL
            }
    }
    weights_back(batch, way, dgates, &room);
}

#else

static int lstm_is_fast(void)
{
    return 0;
}

#endif
