#include "ei_info.h"

static const double ln2 = 0.69314718055994530942;

ei_information ei_measure(const ei_kernels *kernels, const uint64_t *table, size_t rows,
                          size_t columns, size_t used, double *scratch, double *pointwise)
{
    const size_t cells = rows * columns, n = cells + rows + columns;
    double *count = scratch, *log = scratch + n;
    double *row = count + cells, *column = row + rows;
    double *log_row = log + cells, *log_column = log_row + rows;
    ei_information out = {0};
    double occupied = 0.0;
    uint64_t kept = 0;
    for (size_t j = 0; j < columns; j++)
        column[j] = 0.0;
    for (size_t i = 0; i < rows; i++) {
        uint64_t sum = 0;
        for (size_t j = 0; j < columns; j++) {
            uint64_t c = j < used ? table[i * columns + j] : 0;
            count[i * columns + j] = (double)c;
            column[j] += (double)c; /* exact below 2^53 */
            occupied += c != 0;
            sum += c;
        }
        row[i] = (double)sum;
        kept += sum;
    }
    out.kept = kept;
    if (kept == 0) {
        if (pointwise)
            for (size_t i = 0; i < cells; i++)
                pointwise[i] = 0.0;
        return out;
    }
    kernels->log2(count, n, log);
    double total = (double)kept, log_total;
    kernels->log2(&total, 1, &log_total);
    double sum = 0.0, squares = 0.0, k_row = 0.0, k_column = 0.0;
    for (size_t i = 0; i < rows; i++) {
        k_row += row[i] > 0.0;
        for (size_t j = 0; j < columns; j++) {
            size_t at = i * columns + j;
            double p = ((log[at] - log_row[i]) - log_column[j]) + log_total;
            p = count[at] > 0.0 ? p : 0.0;
            sum += count[at] * p;
            squares += count[at] * p * p;
            if (pointwise)
                pointwise[at] = p;
        }
    }
    for (size_t j = 0; j < columns; j++)
        k_column += column[j] > 0.0;
    double mean = sum / total, freedom = occupied - k_row - k_column + 1.0;
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
