/* Mutual information of tables of counts, in bits. */
#ifndef EI_INFO_H
#define EI_INFO_H

#include "kernels/ei_kernels.h"

typedef struct {
    double information; /* plug-in estimate */
    double excess;      /* (K_xy - K_x - K_y + 1) / (2 N ln 2): Miller and Madow's bias */
    double variance;    /* of the estimate: delta method, and the chi-squared term of weak edges */
    double second;      /* that term: excess / (N ln 2), negative with it */
    uint64_t kept;      /* N */
    size_t cells, once, inputs; /* cells that are occupied, by one sample; rows that are */
} ei_information;

/* Doubles of scratch that ei_measure needs for a table of rows x columns. */
static inline size_t ei_measure_scratch(size_t rows, size_t columns)
{
    return 2 * (rows * columns + rows + columns);
}

/* Measure a table of counts, rows x columns, the first `used` columns of each row of length
 * `columns` (the others hold dropped samples). The pointwise information of every cell,
 * log2 p(x,y) / (p(x) p(y)), goes to `pointwise` (rows x columns, 0 where empty) unless NULL. `scratch` is
 * left with what ei_remeasure reads. */
ei_information ei_measure(const ei_kernels *kernels, const uint64_t *table, size_t rows,
                          size_t columns, size_t used, double *scratch, double *pointwise);

/* What ei_measure summed, over a table that it has measured, with `less` (one a column) taken off the
 * pointwise information of every column: the mean, and the mean of its square. */
void ei_remeasure(const ei_kernels *kernels, size_t rows, size_t columns, uint64_t kept,
                  double *scratch, const double *less, double *pointwise, double mean[2]);

#endif
