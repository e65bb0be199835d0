/* The loops of fenlei.lookups: rows of large tables, fetched from memory while others are added up. */

#include "common.h"

#define AHEAD 8 /* rows that are on their way */

/* What a half, a float of 16 bits, is worth; no infinities. */
INLINE float from_half(uint16_t half)
{
    union {
        uint32_t bits;
        float value;
    } number = {(uint32_t)(half & 0x7fff) << 13};
    number.value *= 0x1p112f; /* the exponents of the two kinds begin that far apart */
    number.bits |= (uint32_t)(half & 0x8000) << 16;
    return number.value;
}

/* Rows (V, width) of halves or of floats. */
typedef struct {
    const void *numbers;
    int64_t halves;
} Rows;

INLINE void fetch(const Rows table, int64_t row, int64_t width)
{
    const char *place = (const char *)table.numbers + row * width * (table.halves ? 2 : 4);
    const int64_t bytes = width * (table.halves ? 2 : 4);
    for (int64_t line = 0; line < bytes; line += 64)
        PREFETCH(place + line);
}

INLINE void add_row(const Rows table, int64_t row, int64_t width, float factor, float *restrict sum)
{
    if (table.halves) {
        const uint16_t *numbers = (const uint16_t *)table.numbers + row * width;
        for (int64_t d = 0; d < width; d++)
            sum[d] += factor * from_half(numbers[d]);
    } else {
        const float *numbers = (const float *)table.numbers + row * width;
        for (int64_t d = 0; d < width; d++)
            sum[d] += factor * numbers[d];
    }
}

/* One stream of ids: those of all documents one after the other, and the table of their rows. */
typedef struct {
    const int64_t *ids;
    Rows table;
} Stream;

/* The sum of the rows of several streams at each step of some documents (count), whose ids begin at offsets: x is
 * (steps, count, width), or (count, steps, width) where rows come first; zero past a document's end. */
static EACH_PROCESSOR void embed(const Stream *streams, int64_t many, const int64_t *documents, int64_t count,
                                 const int64_t *offsets, int64_t steps, int64_t width, int64_t rows_first,
                                 float *restrict x)
{
    for (int64_t b = 0; b < count; b++) {
        const int64_t start = offsets[documents[b]], length = offsets[documents[b] + 1] - start;
        for (int64_t t = 0; t < steps; t++) {
            float *restrict sum = x + (rows_first ? b * steps + t : t * count + b) * width;
            for (int64_t d = 0; d < width; d++)
                sum[d] = 0;
            if (t >= length)
                continue;
            for (int64_t s = 0; s < many; s++) {
                if (t + AHEAD < length)
                    fetch(streams[s].table, streams[s].ids[start + t + AHEAD], width);
                add_row(streams[s].table, streams[s].ids[start + t], width, 1, sum);
            }
        }
    }
}

/* The sum of the rows of some documents' n-grams, each times its value: sums (count, width). */
static EACH_PROCESSOR void add_up(const int64_t *documents, int64_t count, const int64_t *offsets,
                                  const int64_t *ngrams, const float *values, const void *numbers, int64_t halves,
                                  int64_t width, float *restrict sums)
{
    const Rows table = {numbers, halves};
    for (int64_t b = 0; b < count; b++, sums += width) {
        const int64_t end = offsets[documents[b] + 1];
        for (int64_t d = 0; d < width; d++)
            sums[d] = 0;
        for (int64_t n = offsets[documents[b]]; n < end; n++) {
            if (n + AHEAD < end)
                fetch(table, ngrams[n + AHEAD], width);
            add_row(table, ngrams[n], width, values[n], sums);
        }
    }
}
