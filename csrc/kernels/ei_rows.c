/* Rows of a matrix. */
#include "kernels/ei_rows.h"

const double *ei_row(const ei_matrix *rows, size_t row, double *room)
{
    if (rows->wide != NULL)
        return rows->wide + row * rows->n;
    const float *from = rows->narrow + row * rows->n;
    for (size_t i = 0; i < rows->n; i++)
        room[i] = from[i];
    return room;
}
