/* From counts of independent replicates to information: the jackknife. See ei_pairs.h. */
#include "kernels/ei_info.h"
#include "pairs/ei_pairs_internal.h"

#include <string.h>

typedef struct {
    ei_memory memory;
    uint16_t *map;
    uint64_t *each;   /* replicates x cells: their tables of one pair */
    uint64_t *total, *rest; /* cells: of all, and of all but one */
    double *scratch;
    double *pseudo;   /* one a replicate */
} work;

static int work_open(work *w, const ei_channel *c, size_t replicates)
{
    const size_t cells = ep_table_cells(c);
    memset(w, 0, sizeof *w);
    w->map = ei_hold(&w->memory, ei_map_size(c), sizeof *w->map);
    w->each = ei_hold(&w->memory, replicates, cells * sizeof *w->each);
    w->total = ei_hold(&w->memory, cells, sizeof *w->total);
    w->rest = ei_hold(&w->memory, cells, sizeof *w->rest);
    w->scratch = ei_hold(&w->memory, ei_measure_scratch(c->in_bins, ei_row_length(c)),
                         sizeof *w->scratch);
    w->pseudo = ei_hold(&w->memory, replicates, sizeof *w->pseudo);
    const int status = ei_held(&w->memory, EI_OK);
    if (status == EI_OK)
        ei_label_map(c, w->map);
    return status;
}

static double information(work *w, const ei_channel *c, const uint64_t *table)
{
    return ei_measure(ei_active(), table, c->in_bins, ei_row_length(c), c->out_bins, w->scratch, NULL)
        .information;
}

/* Measure the pair whose tables are in w->each; `at`: its place in the results. */
static void measure(work *w, const ei_channel *c, size_t replicates, size_t at,
                    const ei_replicates_out *out)
{
    const size_t cells = ep_table_cells(c);
    const double n = (double)replicates;
    memset(w->total, 0, cells * sizeof *w->total);
    for (size_t r = 0; r < replicates; r++)
        for (size_t i = 0; i < cells; i++)
            w->total[i] += w->each[r * cells + i];
    const double whole = information(w, c, w->total);
    double mean = 0.0, spread = 0.0;
    for (size_t r = 0; r < replicates; r++) {
        for (size_t i = 0; i < cells; i++)
            w->rest[i] = w->total[i] - w->each[r * cells + i];
        const double pseudo = n * whole - (n - 1.0) * information(w, c, w->rest);
        w->pseudo[r] = pseudo;
        out->sums[r] += (int64_t)(pseudo / EI_FINE + (pseudo < 0.0 ? -0.5 : 0.5));
        mean += pseudo;
    }
    mean /= n;
    for (size_t r = 0; r < replicates; r++)
        spread += (w->pseudo[r] - mean) * (w->pseudo[r] - mean);
    out->information[at] = whole;
    out->corrected[at] = mean;
    out->variance[at] = spread / (n * (n - 1.0));
}

int ei_replicates_reduce(const ei_channel *c, const ei_job *job, const ei_job *part,
                         size_t replicates, ei_cancel cancel, const uint64_t *tables,
                         const ei_replicates_out *out)
{
    const size_t size = ei_pairs_size(c, job), cells = ep_table_cells(c);
    const size_t b0 = part->out_start - job->out_start, a0 = part->in_start - job->in_start;
    work w;
    int status = work_open(&w, c, replicates);
    memset(out->sums, 0, replicates * sizeof *out->sums);
    for (size_t b = 0; status == EI_OK && b < ep_outputs(part); b++) {
        out->dropped[b] = 0;
        for (size_t a = 0; status == EI_OK && a < ep_inputs(part); a++) {
            for (size_t r = 0; r < replicates; r++) {
                ep_parts p = ep_split(c, job, (uint64_t *)tables + r * size);
                const uint64_t *table =
                    ep_table_of(c, job, p, b0 + b, a0 + a, w.map, w.each + r * cells);
                if (table != w.each + r * cells)
                    memcpy(w.each + r * cells, table, cells * sizeof *table);
                out->dropped[b] += a == 0 ? p.outliers[b0 + b] : 0;
            }
            measure(&w, c, replicates, b * ep_inputs(part) + a, out);
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
        }
    }
    ei_release(&w.memory);
    return status;
}
