/* Mutual information of a finished table of counts, its bias and its spread. */
#include "kernels/ei_info.h"

static const double ln2 = 0.69314718055994530942;

ei_information ei_measure(const ei_kernels *kernels, const uint64_t *table, size_t rows,
                          size_t columns, size_t used, double *scratch, double *pointwise)
{
    const size_t cells = rows * columns, n = cells + rows + columns;
    double *count = scratch, *log = scratch + n;
    double *row = count + cells, *column = row + rows;
    double *log_row = log + cells, *log_column = log_row + rows;
    ei_information out = {0};
    uint64_t occupied[2] = {0}, kept = 0;
    for (size_t j = 0; j < columns; j++)
        column[j] = 0.0;
    for (size_t i = 0; i < rows; i++) {
        uint64_t sum =
            kernels->convert(table + i * columns, used, count + i * columns, column, occupied);
        for (size_t j = used; j < columns; j++)
            count[i * columns + j] = 0.0;
        row[i] = (double)sum;
        kept += sum;
    }
    out.kept = kept;
    out.cells = (size_t)occupied[0];
    out.once = (size_t)occupied[1];
    if (kept == 0) {
        for (size_t i = 0; i < cells && pointwise; i++)
            pointwise[i] = 0.0;
        return out;
    }
    kernels->log2(count, n, log);
    double total = (double)kept, log_total, sums[8] = {0}, squared[8] = {0};
    kernels->log2(&total, 1, &log_total);
    double k_column = 0.0;
    size_t k_row = 0;
    for (size_t i = 0; i < rows; i++) {
        double *here = log + i * columns; /* a row of logarithms is not needed twice */
        k_row += row[i] > 0.0;
        kernels->pointwise(count + i * columns, here, log_column, columns, log_row[i], log_total,
                           pointwise ? pointwise + i * columns : here, sums, squared);
    }
    out.inputs = k_row;
    for (size_t j = 0; j < columns; j++)
        k_column += column[j] > 0.0;
    double sum = 0.0, squares = 0.0, freedom = (double)occupied[0] - (double)k_row - k_column + 1.0;
    for (size_t l = 0; l < 8; l++) {
        sum += sums[l];
        squares += squared[l];
    }
    double mean = sum / total;
    double spread = squares / total - mean * mean;
    out.information = mean > 0.0 ? mean : 0.0;
    out.excess = freedom / (2.0 * total * ln2);
    /* Of an edge without information 2 N ln 2 I is chi-squared: variance 2 K. Its pointwise values are
     * noise then, which adds twice that to their spread. */
    out.second = freedom / (2.0 * total * total * ln2 * ln2);
    spread /= total;
    spread -= out.second > 0.0 ? 2.0 * out.second : 0.0;
    out.variance = (spread > 0.0 ? spread : 0.0) + (out.second < 0.0 ? -out.second : out.second);
    return out;
}

void ei_remeasure(const ei_kernels *kernels, size_t rows, size_t columns, uint64_t kept,
                  double *scratch, const double *less, double *pointwise, double mean[2])
{
    const size_t cells = rows * columns, n = cells + rows + columns;
    const double *count = scratch, *log = scratch + n, *log_row = log + cells;
    double *log_column = scratch + n + cells + rows, total = (double)kept, log_total;
    double sums[8] = {0}, squared[8] = {0};
    kernels->log2(&total, 1, &log_total);
    for (size_t j = 0; j < columns; j++)
        log_column[j] += less[j];
    for (size_t i = 0; i < rows; i++)
        kernels->pointwise(count + i * columns, log + i * columns, log_column, columns, log_row[i],
                           log_total, pointwise + i * columns, sums, squared);
    mean[0] = mean[1] = 0.0;
    for (size_t l = 0; l < 8; l++) {
        mean[0] += sums[l];
        mean[1] += squared[l];
    }
    mean[0] /= total;
    mean[1] /= total;
}
