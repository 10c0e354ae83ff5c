/* The outputs' vectors within cells of the inputs. */
#include "joint/ei_joint_internal.h"

#include <string.h>

/* Vectors of one cell and how often each was seen; emptied by a new stamp. */
typedef struct {
    size_t words;
    uint32_t mask, stamp;
    uint32_t *stamps, *counts;
    uint64_t *keys;
} tally;

static int open_tally(tally *t, size_t words, uint32_t draws, ei_memory *memory)
{
    t->words = words;
    t->mask = 4 * draws - 1;
    t->stamps = ei_hold_zeros(memory, t->mask + (size_t)1, sizeof *t->stamps);
    t->counts = ei_hold(memory, t->mask + (size_t)1, sizeof *t->counts);
    t->keys = ei_hold(memory, (t->mask + (size_t)1) * words, sizeof *t->keys);
    return ei_held(memory, EI_OK);
}

static void empty_tally(tally *t)
{
    if (++t->stamp == 0) {
        memset(t->stamps, 0, (t->mask + (size_t)1) * sizeof *t->stamps);
        t->stamp = 1;
    }
}

/* How often the vector was seen before. */
static uint32_t see(tally *t, const uint64_t *key)
{
    uint32_t at = (uint32_t)ej_hash(key, LOTS, t->words) & t->mask;
    for (; t->stamps[at] == t->stamp; at = (at + 1) & t->mask)
        if (ej_same(t->keys + at * t->words, key, LOTS, t->words))
            return t->counts[at]++;
    t->stamps[at] = t->stamp;
    t->counts[at] = 1;
    for (size_t w = 0; w < t->words; w++)
        t->keys[at * t->words + w] = key[w * LOTS];
    return 0;
}

typedef struct {
    ei_memory memory;
    const ei_channel *channel;
    const ei_cells_job *job;
    ej_bins b;
    tally seen;
    uint64_t *keys;
    uint32_t *margins;       /* outputs.n x out_bins: counts within the cell */
    uint32_t *cells;         /* n_in x 64: bins of the cells of a lot */
    uint32_t *start, *width; /* in_bins: first draw of a bin, number of draws in it */
    uint32_t *singles;
    double *whole, *parts, *each;
} worker;

/* Add samples from .. to of the block to the cell's numbers. */
static void add_samples(worker *w, size_t from, size_t to, size_t cell)
{
    const ei_cells_job *job = w->job;
    const uint32_t out_bins = w->channel->out_bins;
    const size_t n = job->outputs.n, levels = job->n_levels;
    double *whole = w->whole + cell * levels, *parts = w->parts + cell * levels;
    for (size_t s = from; s < to; s++) {
        const uint32_t before = see(&w->seen, w->keys + s);
        w->singles[cell] += (uint32_t)(before == 0) - (uint32_t)(before == 1);
        for (size_t l = 0; l < levels; l++)
            whole[l] += job->gains[l * job->draws + before];
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t *label =
            w->b.outputs + ((size_t)job->outputs.rows[i] - w->channel->n_in) * LOTS;
        uint32_t *count = w->margins + i * out_bins;
        for (size_t l = 0; l < levels; l++) {
            const double *gain = job->gains + l * job->draws;
            double sum = 0.0;
            for (size_t s = from; s < to; s++)
                sum += gain[count[label[s]]++];
            parts[l] += sum;
            if (w->each)
                w->each[(cell * levels + l) * n + i] += sum;
            if (l + 1 < levels) /* the same samples again for the next level */
                for (size_t s = from; s < to; s++)
                    count[label[s]]--;
        }
    }
}

static void next_cell(worker *w)
{
    empty_tally(&w->seen);
    memset(w->margins, 0, w->job->outputs.n * w->channel->out_bins * sizeof *w->margins);
}

/* Put the draws of samples from .. to inside the cell (of 64 in `cells`); the free inputs stay. */
static void confine(worker *w, size_t from, size_t to, size_t cell)
{
    for (size_t k = 0; k < w->channel->n_in; k++) {
        if (!w->job->given[k])
            continue;
        uint32_t *draws = w->b.eval.draws + k * w->b.eval.block;
        const uint32_t bin = w->cells[k * EI_GROUP + cell];
        const uint32_t start = w->start[bin];
        const uint64_t width = w->width[bin];
        for (size_t s = from; s < to; s++)
            draws[s] = start + (uint32_t)((draws[s] * width) >> 32);
    }
}

/* Choose 64 cells; ok says which of them can occur. */
static void choose_cells(worker *w, uint64_t first, uint8_t *ok)
{
    const ei_cells_job *job = w->job;
    const ei_channel *c = w->channel;
    ei_eval *e = &w->b.eval;
    ei_eval_draw(e, job->key, job->purpose, first, EI_GROUP);
    for (size_t k = 0; k < c->n_in; k++)
        e->kernels->offsets(e->draws + k * e->block, EI_GROUP, c->in_bins, 1,
                            w->cells + k * EI_GROUP);
    for (size_t s = 0; s < EI_GROUP; s++) {
        uint64_t rest = first + s;
        for (size_t t = 0; t < job->n_strata; t++) {
            w->cells[(size_t)job->strata[t] * EI_GROUP + s] = (uint32_t)(rest % c->in_bins);
            rest /= c->in_bins;
        }
    }
    memset(ok, 1, EI_GROUP);
    if (w->b.drops) {
        ej_bins_fill(&w->b, EI_GROUP);
        memcpy(ok, w->b.kept, EI_GROUP);
    }
}

/* Cells without drops: `n` cells, several to a block or several blocks to a cell. */
static void plain_cells(worker *w, uint64_t first, size_t at, size_t n)
{
    const ei_cells_job *job = w->job;
    ei_eval *e = &w->b.eval;
    const size_t draws = job->draws, total = n * draws;
    const size_t step = draws > e->block ? e->block : e->block / draws * draws;
    for (size_t done = 0; done < total;) {
        size_t some = ei_least(step, total - done);
        if (draws > e->block)
            some = ei_least(some, draws - done % draws);
        const size_t lot = ei_whole_groups(some);
        ei_eval_draw(e, job->key, job->purpose + 1, first * draws + done, lot);
        for (size_t s = 0; s < some; s += draws)
            confine(w, s, ei_least(s + draws, some), (done + s) / draws);
        ej_bins_fill(&w->b, lot);
        ej_pack(&w->b, &job->outputs, some, w->keys);
        for (size_t s = 0; s < some; s += draws) {
            if ((done + s) % draws == 0)
                next_cell(w);
            add_samples(w, s, ei_least(s + draws, some), at + (done + s) / draws);
        }
        done += some;
    }
}

/* One cell with drops: blocks until enough samples are kept. Returns whether they were. */
static int sparse_cell(worker *w, uint64_t number, size_t cell, size_t index, uint64_t *spent)
{
    const ei_cells_job *job = w->job;
    ei_eval *e = &w->b.eval;
    const uint64_t most = (uint64_t)job->draws * job->attempts;
    const size_t lot = ei_least(e->block, ei_whole_groups(job->draws));
    size_t kept = 0;
    next_cell(w);
    for (uint64_t done = 0; done + lot <= most && kept < job->draws; done += lot) {
        ei_eval_draw(e, job->key, job->purpose + 1, number * most + done, lot);
        confine(w, 0, lot, cell);
        ej_bins_fill(&w->b, lot);
        *spent += lot;
        const size_t words = ej_pack(&w->b, &job->outputs, lot, w->keys);
        const size_t n = ej_compact(w->keys, words, w->b.kept, lot);
        for (size_t i = 0; i < job->outputs.n; i++) {
            uint16_t *label =
                w->b.outputs + ((size_t)job->outputs.rows[i] - w->channel->n_in) * LOTS;
            for (size_t s = 0, to = 0; s < lot; s++)
                if (w->b.kept[s])
                    label[to++] = label[s];
        }
        const size_t used = ei_least(n, job->draws - kept);
        add_samples(w, 0, used, index);
        kept += used;
    }
    return kept == job->draws;
}

static int worker_open(worker *w)
{
    const ei_channel *c = w->channel;
    const ei_rows *outputs = &w->job->outputs;
    const size_t words = ei_rows_words(c, outputs, NULL);
    ei_memory *memory = &w->memory;
    int status = ej_bins_open(&w->b, c, 0);
    if (status == EI_OK)
        status = open_tally(&w->seen, words, w->job->draws, memory);
    w->keys = ei_hold(memory, words * LOTS, sizeof *w->keys);
    w->margins = ei_hold(memory, outputs->n * c->out_bins, sizeof *w->margins);
    w->cells = ei_hold(memory, c->n_in * EI_GROUP, sizeof *w->cells);
    w->start = ei_hold(memory, c->in_bins, sizeof *w->start);
    w->width = ei_hold(memory, c->in_bins, sizeof *w->width);
    status = ei_held(memory, status);
    for (uint64_t k = 0; status == EI_OK && k < c->in_bins; k++) {
        const uint64_t first = ei_bin_start(c->in_bins, k);
        w->start[k] = (uint32_t)first;
        w->width[k] = (uint32_t)(ei_bin_start(c->in_bins, k + 1) - first);
    }
    return status;
}

/* The numbers of n cells from `cell` on are those of cells that were not drawn in. */
static void clear_cells(worker *w, size_t cell, size_t n)
{
    const size_t levels = w->job->n_levels, width = w->job->outputs.n;
    memset(w->singles + cell, 0, n * sizeof *w->singles);
    memset(w->whole + cell * levels, 0, n * levels * sizeof *w->whole);
    memset(w->parts + cell * levels, 0, n * levels * sizeof *w->parts);
    if (w->each)
        memset(w->each + cell * levels * width, 0, n * levels * width * sizeof *w->each);
}

int ei_joint_cells(const ei_channel *channel, const ei_cells_job *job, double *whole, double *parts,
                   double *each, uint32_t *singles, uint8_t *ok, uint64_t *spent, ei_cancel cancel)
{
    const size_t count = job->count;
    worker w = {.channel = channel, .job = job, .whole = whole, .parts = parts, .each = each,
                .singles = singles};
    uint8_t lot_ok[EI_GROUP];
    int status = worker_open(&w);
    if (status == EI_OK)
        clear_cells(&w, 0, count);
    for (size_t at = 0; status == EI_OK && at < count; at += EI_GROUP) {
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        const size_t some = ei_least(EI_GROUP, count - at);
        choose_cells(&w, job->first + at, lot_ok);
        memcpy(ok + at, lot_ok, some);
        if (!w.b.drops) {
            plain_cells(&w, job->first + at, at, some);
            *spent += (uint64_t)some * job->draws;
            continue;
        }
        *spent += EI_GROUP;
        for (size_t i = 0; i < some; i++) {
            const size_t cell = at + i;
            if (!lot_ok[i] || sparse_cell(&w, job->first + cell, i, cell, spent))
                continue;
            ok[cell] = 0;
            clear_cells(&w, cell, 1);
        }
    }
    ej_bins_close(&w.b);
    ei_release(&w.memory);
    return status;
}
