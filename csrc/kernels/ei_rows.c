/* Rows of a matrix. */
#include "kernels/ei_rows.h"
#include "kernels/ei_exact_kernels.h"

const double *ei_row(const ei_matrix *rows, size_t row, double *room)
{
    if (rows->wide != NULL)
        return rows->wide + row * rows->n;
    const float *from = rows->narrow + row * rows->n;
    for (size_t i = 0; i < rows->n; i++)
        room[i] = from[i];
    return room;
}

void ei_row_sums(const ei_matrix *rows, size_t count, double *room, double *sums, double *sizes,
                 double *squares)
{
    const ei_exact_kernels *k = ei_active()->exact;
    for (size_t o = 0; o < count; o++) {
        const double *w = ei_row(rows, o, room);
        double total[3];
        k->totals(w, rows->n, total);
        sums[o] = total[0];
        sizes[o] = total[1];
        squares[o] = total[2];
    }
}
