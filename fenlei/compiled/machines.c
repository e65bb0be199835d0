/* The loop of fenlei.machines. Where nothing is compiled liblinear does the work. */

#include "common.h"

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
    static EACH_PROCESSOR void descend_##W(const int64_t *starts, const int32_t *columns, const float *values,         \
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
