/* Rows of a matrix of float64 or float32, one at a time in float64. */
#ifndef EI_ROWS_H
#define EI_ROWS_H

#include "common/ei_common.h"

typedef struct {
    size_t n;            /* columns */
    const double *wide;  /* either this */
    const float *narrow; /* or, if that is NULL, this */
} ei_matrix;

/* One row; `room` for one is filled where it has to be. */
const double *ei_row(const ei_matrix *rows, size_t row, double *room);

#endif
