/* The loops of the text road: spelling, hashing, looking up. Each has a twin in numpy that says the same. */

#include "common.h"

/* The finalizer of splitmix64, as fenlei.ngrams.mix. */
INLINE uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

#define STEP 0x9E3779B97F4A7C15u
#define SPACE 0x20
#define HARD 0xFFFFFFFFu

/* Every character as table (0x110000) spells it, each run of spaces as one and none at either end of a text: texts
 * begin and end at offsets (count + 1). Fills spelled and ends (count + 1).
 *
 * Returns 0, or 1 where a character has no entry yet or depends on its neighbours: then nothing is of use. */
static int64_t spell(const uint32_t *restrict points, const int64_t *restrict offsets, int64_t count,
                     const uint32_t *restrict table, uint32_t *restrict spelled, int64_t *restrict ends)
{
    int64_t size = 0;
    ends[0] = 0;
    for (int64_t b = 0; b < count; b++) {
        const int64_t start = size;
        for (int64_t place = offsets[b]; place < offsets[b + 1]; place++) {
            const uint32_t point = table[points[place]];
            if (point == 0 || point == HARD)
                return 1;
            if (point != SPACE || (size > start && spelled[size - 1] != SPACE))
                spelled[size++] = point;
        }
        if (size > start && spelled[size - 1] == SPACE)
            size--;
        ends[b + 1] = size;
    }
    return 0;
}

/* Each text with so many signs before and after it. */
static void surround(const uint32_t *restrict points, const int64_t *restrict offsets, int64_t count, int64_t sign,
                     int64_t before, int64_t after, uint32_t *restrict wider)
{
    for (int64_t b = 0; b < count; b++) {
        for (int64_t k = 0; k < before; k++)
            *wider++ = (uint32_t)sign;
        for (int64_t place = offsets[b]; place < offsets[b + 1]; place++)
            *wider++ = points[place];
        for (int64_t k = 0; k < after; k++)
            *wider++ = (uint32_t)sign;
    }
}

/* A number a token, as fenlei.ngrams.hash_tokens: the characters of all tokens one after the other, lengths (count) how
 * many each has, NULL for one each. */
static EACH_PROCESSOR void hash_tokens(const uint32_t *restrict points, const int64_t *restrict lengths, int64_t count,
                                       uint64_t *restrict hashes)
{
    if (!lengths) {
        for (int64_t n = 0; n < count; n++)
            hashes[n] = mix(mix(points[n]) * STEP);
        return;
    }
    for (int64_t n = 0; n < count; n++) {
        uint64_t sum = 0, power = STEP;
        for (int64_t k = 0; k < lengths[n]; k++, power *= STEP)
            sum += mix(*points++) * power;
        hashes[n] = mix(sum);
    }
}

/* The n-gram of n tokens, as fenlei.ngrams.hash_ngrams: each length has a family of its own, so none is part of a longer
 * one. */
INLINE uint64_t ngram(const uint64_t *tokens, int64_t n, uint64_t family)
{
    uint64_t hash = mix(tokens[0] ^ family);
    for (int64_t next = 1; next < n; next++)
        hash = mix(hash * 3 + tokens[next]);
    return hash;
}

/* The n-gram that begins at each token, zero where its document has too few left. */
static void hash_runs(const uint64_t *restrict tokens, const int64_t *restrict offsets, int64_t count, int64_t n,
                      uint64_t family, uint64_t *restrict hashes)
{
    for (int64_t b = 0; b < count; b++)
        for (int64_t place = offsets[b]; place < offsets[b + 1]; place++)
            hashes[place] = place + n <= offsets[b + 1] ? ngram(tokens + place, n, family) : 0;
}

/* A fenlei.ngrams.NgramTable and its index: hashes (count) sorted; those with the first bits f begin at starts[f]. */
typedef struct {
    const uint64_t *hashes;
    int64_t count;
    const int32_t *starts;
    int64_t cut;   /* lowest bits of a hash that are not compared */
    int64_t shift; /* from what is compared to its first bits */
} Table;

#define BLOCK 32 /* looked up together: while one is fetched from memory, so are the others */

/* The row of each of at most BLOCK hashes, 0 for one that the table does not hold. */
INLINE void look_up(const Table *table, const uint64_t *hashes, int64_t count, int64_t *rows)
{
    int64_t places[BLOCK];
    for (int64_t n = 0; n < count; n++)
        PREFETCH(table->starts + (hashes[n] >> table->cut >> table->shift));
    for (int64_t n = 0; n < count; n++) {
        places[n] = table->starts[hashes[n] >> table->cut >> table->shift];
        PREFETCH(table->hashes + places[n]);
    }
    for (int64_t n = 0; n < count; n++) {
        const uint64_t hash = hashes[n] >> table->cut;
        int64_t place = places[n];
        while (place < table->count && table->hashes[place] < hash)
            place++;
        rows[n] = place < table->count && table->hashes[place] == hash ? place + 1 : 0;
    }
}

/* The row of each hash. */
static void find_rows(const Table *table, const uint64_t *hashes, int64_t count, int64_t *rows)
{
    for (int64_t n = 0; n < count; n += BLOCK)
        look_up(table, hashes + n, count - n < BLOCK ? count - n : BLOCK, rows + n);
}

/* One way of cutting for fenlei.wide: token hashes, the token at which each document begins, and the longest n-gram with
 * a number for each length that keeps this view's n-grams apart. */
typedef struct {
    const uint64_t *tokens;
    const int64_t *offsets;
    int64_t longest;
    const uint64_t *families;
} View;

/* Shell's sort with Ciura's gaps: short runs are what there is most of, and no memory is needed. */
INLINE void sort(uint64_t *numbers, int64_t count)
{
    static const int64_t GAPS[] = {701, 301, 132, 57, 23, 10, 4, 1};
    int64_t gap = 1;
    while (gap < count)
        gap = gap * 9 / 4 + 1;
    for (size_t k = 0; gap > 0;) {
        for (int64_t n = gap; n < count; n++) {
            const uint64_t number = numbers[n];
            int64_t place = n;
            for (; place >= gap && numbers[place - gap] > number; place -= gap)
                numbers[place] = numbers[place - gap];
            numbers[place] = number;
        }
        if (gap > 1577)
            gap = gap * 4 / 9;
        else {
            while (k < sizeof GAPS / sizeof *GAPS && GAPS[k] >= gap)
                k++;
            gap = k < sizeof GAPS / sizeof *GAPS ? GAPS[k] : 0;
        }
    }
}

/* The n-grams of each document, each once: hashes has room for every one. Returns how many are filled. */
static int64_t distinct_ngrams(const uint64_t *tokens, const int64_t *offsets, int64_t count, int64_t longest,
                               const uint64_t *families, uint64_t *hashes)
{
    int64_t filled = 0;
    for (int64_t b = 0; b < count; b++) {
        const int64_t first = filled, end = offsets[b + 1];
        int64_t found = first;
        for (int64_t place = offsets[b]; place < end; place++)
            for (int64_t n = 1; n <= longest && place + n <= end; n++)
                hashes[found++] = ngram(tokens + place, n, families[n - 1]);
        sort(hashes + first, found - first);
        for (int64_t n = first; n < found; n++)
            if (n == first || hashes[n] != hashes[filled - 1])
                hashes[filled++] = hashes[n];
    }
    return filled;
}

/* The rows of the known n-grams of one document in one view, in the order of its tokens; returns how many. */
INLINE int64_t known_rows(const View *view, const Table *table, int64_t document, int64_t *rows)
{
    const int64_t end = view->offsets[document + 1];
    uint64_t hashes[BLOCK];
    int64_t block[BLOCK], waiting = 0, found = 0;
    for (int64_t place = view->offsets[document]; place < end; place++) {
        for (int64_t n = 1; n <= view->longest && place + n <= end; n++) {
            hashes[waiting++] = ngram(view->tokens + place, n, view->families[n - 1]);
            if (waiting == BLOCK) {
                look_up(table, hashes, waiting, block);
                for (int64_t n = 0; n < waiting; n++)
                    if (block[n])
                        rows[found++] = block[n];
                waiting = 0;
            }
        }
    }
    look_up(table, hashes, waiting, block);
    for (int64_t n = 0; n < waiting; n++)
        if (block[n])
            rows[found++] = block[n];
    return found;
}

/* What fenlei.wide.Wide.encode returns, of so many views (ways): sizes (count), and rows and weights, which have room for every n-gram of every
 * document and for one more a document. Returns how many are filled. */
static int64_t weigh(const View *views, int64_t ways, int64_t count, const Table *table, const float *idf,
                     int64_t *restrict sizes, int64_t *restrict rows, float *restrict weights)
{
    int64_t filled = 0;
    for (int64_t b = 0; b < count; b++) {
        const int64_t start = filled;
        for (int64_t way = 0; way < ways; way++) {
            const int64_t found = known_rows(views + way, table, b, rows + filled), first = filled;
            sort((uint64_t *)rows + first, found);
            double squares = 0;
            for (int64_t n = first; n < first + found;) {
                const int64_t row = rows[n];
                int64_t times = 0;
                for (; n < first + found && rows[n] == row; n++)
                    times++;
                const double weight = (times > 1 ? 1 + log((double)times) : 1) * idf[row - 1];
                squares += weight * weight;
                rows[filled] = row;
                weights[filled++] = (float)times;
            }
            const double norm = sqrt(squares);
            for (int64_t n = first; n < filled; n++) {
                const double weight = (weights[n] > 1 ? 1 + log((double)weights[n]) : 1) * idf[rows[n] - 1];
                weights[n] = (float)(weight / norm);
            }
        }
        if (filled == start) { /* no n-gram is known: row 0 with weight 0 */
            rows[filled] = 0;
            weights[filled++] = 0;
        }
        sizes[b] = filled - start;
    }
    return filled;
}
