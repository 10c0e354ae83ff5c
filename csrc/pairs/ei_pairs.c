/* Entry points of the sampled pairwise engine: which way of counting, and where the counts stand. */
#include "pairs/ei_pairs.h"

#include "pairs/ei_pairs_internal.h"

enum { POLL = 64 }; /* pairs between two looks at the cancel flag */

int ei_pairs_masked(const ei_channel *c)
{
    size_t pairs = (c->in_bins - 1) * c->n_thresholds;
    return pairs > 0 && pairs <= ei_active()->mask_limit;
}

static int by_masks(const ei_channel *c, const ei_job *job)
{
    return job->masks < 0 ? ei_pairs_masked(c) : job->masks;
}

size_t ei_pairs_size(const ei_channel *c, const ei_job *job)
{
    size_t pairs, size;
    int masked = by_masks(c, job);
    size_t cells = masked ? (c->in_bins - 1) * c->n_thresholds : ep_table_cells(c);
    if (ei_mul(ep_outputs(job), ep_inputs(job), &pairs) || ei_mul(pairs, cells, &size))
        return 0;
    size_t margins = ep_inputs(job) * (c->in_bins - 1) + ep_outputs(job) * c->n_thresholds + 1;
    /* One count of outliers an output, and with masks the margins and the number of samples. */
    return size + ep_outputs(job) + (masked ? margins : 0);
}

ep_parts ep_split(const ei_channel *c, const ei_job *job, uint64_t *tables)
{
    ep_parts p;
    size_t cells = by_masks(c, job) ? (c->in_bins - 1) * c->n_thresholds : ep_table_cells(c);
    p.pairs = tables;
    p.outliers = tables + ep_outputs(job) * ep_inputs(job) * cells;
    p.x_margin = p.outliers + ep_outputs(job);
    p.y_margin = p.x_margin + ep_inputs(job) * (c->in_bins - 1);
    p.total = p.y_margin + ep_outputs(job) * c->n_thresholds;
    return p;
}

const uint64_t *ep_table_of(const ei_channel *c, const ei_job *job, ep_parts p, size_t b, size_t a,
                            const uint16_t *map, uint64_t *own)
{
    const size_t pair = b * ep_inputs(job) + a, k = c->in_bins - 1, m = c->n_thresholds;
    if (!by_masks(c, job))
        return p.pairs + pair * ep_table_cells(c);
    ep_unfold(c, p.pairs + pair * k * m, p.x_margin + a * k, p.y_margin + b * m, *p.total,
              ei_map_of(c, map, job->out_start + b), own);
    return own;
}

int ei_pairs_count_each(const ei_channel *c, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                        uint64_t *tables)
{
    return by_masks(c, jobs) ? ep_count_masked(c, jobs, n_jobs, cancel, tables)
                             : ep_count_scattered(c, jobs, n_jobs, cancel, tables);
}

int ei_pairs_count(const ei_channel *c, const ei_job *job, ei_cancel cancel, uint64_t *tables)
{
    return ei_pairs_count_each(c, job, 1, cancel, tables);
}

int ei_pairs_reduce(const ei_channel *c, const ei_job *job, const ei_job *part, ei_cancel cancel,
                    const uint64_t *tables, const ei_pairs_out *out)
{
    const size_t b0 = part->out_start - job->out_start, a0 = part->in_start - job->in_start;
    ep_parts p = ep_split(c, job, (uint64_t *)tables);
    ep_followed f;
    ep_begin(part, out);
    int status = ep_follow_open(&f, c, part, 1);
    for (size_t b = b0; status == EI_OK && b < b0 + ep_outputs(part); b++) {
        out->dropped[b - b0] = p.outliers[b];
        for (size_t a = a0; a < a0 + ep_inputs(part); a++) {
            if (a % POLL == 0 && ei_cancelled(cancel)) {
                status = EI_ECANCELLED;
                break;
            }
            const uint64_t *table = ep_table_of(c, job, p, b, a, f.map, f.table);
            ep_note(c, part, &f, b - b0, a - a0, f.offset + (a - a0) * EI_FOLLOWED, table, out);
        }
    }
    ep_follow_close(&f);
    return status;
}

int ei_pairs_table(const ei_channel *c, const ei_job *job, const uint64_t *tables, size_t b,
                   size_t a, uint64_t *table)
{
    const size_t cells = ep_table_cells(c), row = ei_row_length(c), columns = c->out_bins + 1;
    ep_parts p = ep_split(c, job, (uint64_t *)tables);
    uint16_t *map = ei_alloc(ei_map_size(c), sizeof *map);
    uint64_t *own = ei_alloc(cells, sizeof *own);
    if (map && own) {
        ei_label_map(c, map);
        const uint64_t *from = ep_table_of(c, job, p, b, a, map, own);
        for (size_t x = 0; x < c->in_bins; x++)
            for (size_t y = 0; y < columns; y++)
                table[x * columns + y] = y < row ? from[x * row + y] : 0;
    }
    int status = map && own ? EI_OK : EI_ENOMEM;
    ei_free(map);
    ei_free(own);
    return status;
}

size_t ei_pairs_held(const ei_channel *c, const ei_job *job)
{
    const size_t cells = ep_table_cells(c), pairs = (c->in_bins - 1) * c->n_thresholds;
    const size_t column = sizeof(ep_columns) + 8 * c->out_bins * (EI_CELLS + 1);
    if (!by_masks(c, job))
        return column + (job->count > STORED ? 8 * cells * ep_inputs(job)
                                             : 2 * (size_t)job->count + 8 * cells);
    const size_t chunks = (size_t)((job->count + CHUNK - 1) / CHUNK);
    const size_t kept = chunks * c->n_thresholds * WORDS * 8 + SLICE * pairs * 8;
    return ei_least(kept, 8 * pairs * ep_inputs(job));
}

int ei_pairs_run(const ei_channel *c, const ei_job *job, ei_cancel cancel, const ei_pairs_out *out)
{
    if (by_masks(c, job) &&
        ei_pairs_held(c, job) < 8 * (c->in_bins - 1) * c->n_thresholds * ep_inputs(job))
        return ep_run_masked(c, job, cancel, out);
    if (by_masks(c, job) || job->count > STORED) {
        size_t size = ei_pairs_size(c, job);
        uint64_t *tables = size ? ei_zalloc(size, sizeof *tables) : NULL;
        if (!tables)
            return size ? EI_ENOMEM : EI_EOVERFLOW;
        int status = ei_pairs_count(c, job, cancel, tables);
        if (status == EI_OK)
            status = ei_pairs_reduce(c, job, job, cancel, tables, out);
        ei_free(tables);
        return status;
    }
    return ep_run_scattered(c, job, cancel, out);
}
