/* From counts to information, and the influence of single samples on the sum of all edges, which gives
 * that sum its standard error. */
#include "kernels/ei_info.h"
#include "pairs/ei_pairs_internal.h"

#include <string.h>

void ep_begin(const ei_job *job, const ei_pairs_out *out)
{
    memset(out->spread, 0, EI_FOLLOWED * sizeof *out->spread);
    memset(out->dropped, 0, ep_outputs(job) * sizeof *out->dropped);
}

int ep_follow_open(ep_followed *f, const ei_channel *c, const ei_job *job, int every_input)
{
    const size_t row = ei_row_length(c), cells = ep_table_cells(c);
    memset(f, 0, sizeof *f);
    ei_memory *memory = &f->memory;
    f->n = (size_t)(job->count < EI_FOLLOWED ? job->count : EI_FOLLOWED);
    f->offset = ei_hold(memory, (every_input ? ep_inputs(job) : 1) * EI_FOLLOWED, sizeof *f->offset);
    f->y = ei_hold(memory, ep_outputs(job) * EI_FOLLOWED, sizeof *f->y);
    f->table = ei_hold(memory, cells, sizeof *f->table);
    f->pointwise = ei_hold(memory, cells, sizeof *f->pointwise);
    f->scratch = ei_hold(memory, ei_measure_scratch(c->in_bins, row), sizeof *f->scratch);
    f->map = ei_hold(memory, ei_map_size(c), sizeof *f->map);
    f->columns = ep_columns_open(ep_outputs(job), c->out_bins, memory);
    ep_occupancy_open(&f->occupancy, c->in_bins, c->n_in, memory);
    ei_eval e = {0};
    int status = ei_held(memory, ei_eval_open(&e, c, job->out_start, job->out_stop));
    if (status == EI_OK)
        ei_label_map(c, f->map);
    for (size_t at = 0; status == EI_OK && at < f->n; at += e.block) {
        const size_t n = ei_whole_groups(ep_next(&e, job, job->first + at, f->n - at));
        for (size_t a = 0; every_input && a < ep_inputs(job); a++)
            e.kernels->offsets(e.draws + (job->in_start + a) * e.block, n, c->in_bins, (uint32_t)row,
                               f->offset + a * EI_FOLLOWED + at);
        for (size_t b = 0; b < e.n_out; b++)
            ei_eval_labels(&e, b, n, f->map, f->y + b * EI_FOLLOWED + at);
    }
    ei_eval_close(&e);
    return status;
}

void ep_follow_close(ep_followed *f) { ei_release(&f->memory); }

void ep_follow_input(ep_followed *f, const ei_channel *c, const ei_job *job, size_t a)
{
    uint32_t draws[EI_FOLLOWED];
    const ei_kernels *kernels = ei_active();
    ep_draw(kernels, job, job->in_start + a, job->first, ei_whole_groups(f->n), draws);
    kernels->offsets(draws, f->n, c->in_bins, (uint32_t)ei_row_length(c), f->offset);
}

ep_influence ep_measure(ep_occupancy *o, ep_columns *columns, const ei_channel *c,
                        const uint64_t *table, double *scratch, double *pointwise, uint64_t samples,
                        size_t at, const ei_pairs_out *out)
{
    const size_t row = ei_row_length(c);
    const ei_information i =
        ei_measure(ei_active(), table, c->in_bins, row, c->out_bins, scratch, pointwise);
    ep_influence influence = {pointwise, 0.0, 0.0, c->out_bins};
    ep_corrected corrected = {0};
    if (i.kept > 0) {
        if (!columns->filled)
            ep_columns_fill(columns, o, table, row, c->out_bins);
        corrected = ep_correct(o, columns, &i, row, c->out_bins, scratch, pointwise);
        influence.mean = corrected.mean;
        influence.weight = (double)samples / (double)i.kept;
    }
    out->information[at] = i.information;
    out->excess[at] = corrected.excess;
    out->variance[at] = corrected.variance;
    out->second[at] = corrected.second;
    out->noise[at] = corrected.noise;
    out->doubt[at] = corrected.doubt;
    return influence;
}

void ep_note(const ei_channel *c, const ei_job *job, ep_followed *f, size_t b, size_t a,
             const uint32_t *offset, const uint64_t *table, const ei_pairs_out *out)
{
    ep_influence e = ep_measure(&f->occupancy, f->columns + b, c, table, f->scratch, f->pointwise,
                                job->count, b * ep_inputs(job) + a, out);
    const uint16_t *label = f->y + b * EI_FOLLOWED;
    e.weight /= EI_UNIT;
    for (size_t s = 0; s < f->n; s++)
        out->spread[s] += (int64_t)ep_influence_of(&e, offset[s], label[s]);
}

void ep_outliers(const ei_eval *e, size_t n, uint16_t *scratch, uint64_t *outliers)
{
    for (size_t o = 0; ei_may_leave(e->channel) && o < e->n_out; o++)
        outliers[o] += ei_eval_outside(e, o, n, scratch);
}
