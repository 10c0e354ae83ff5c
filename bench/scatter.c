/* A plain scatter loop: what counting costs without any of the tricks. */
#include <stddef.h>
#include <stdint.h>

void plain_scatter(const uint16_t *x, const uint16_t *y, size_t n, size_t n_in, size_t n_out,
                   uint32_t bins, uint32_t *tables)
{
    for (size_t a = 0; a < n_in; a++)
        for (size_t b = 0; b < n_out; b++) {
            uint32_t *table = tables + (b * n_in + a) * bins * bins;
            for (size_t s = 0; s < n; s++)
                table[x[a * n + s] * bins + y[b * n + s]]++;
        }
}
