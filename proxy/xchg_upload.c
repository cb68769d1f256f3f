/*
 * xchg_upload.c - files of batches: what their requests may take, counted while the upload
 * goes by, and remembered under the file's id for the request that begins the batch.
 *
 * Requests of a file are in no body that admission reads.  They pass here first, though: each
 * line is read as the request that it is, its bounds are added up, and the sum is kept like
 * what is known of collected work (collected.h): bounded, durable, by this gateway alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/batch_file.h"
#include "metering/usage/estimate.h"
#include "proxy/xchg_int.h"

struct upload {
    struct xchg *x;
    struct batch_file file;
    struct upload_bounds bounds;
    char model[REQUEST_MODEL_MAX_BYTES + 1]; /* of the last line that named one */
};

static uint64_t sum(uint64_t a, uint64_t b)
{
    return __builtin_add_overflow(a, b, &a) || a > UPLOAD_MAX ? UPLOAD_MAX : a;
}

/* A line that is too long to be kept names no model: that of the line before. */
static struct strv model_of(struct upload *u, const struct request_facts *facts)
{
    struct strv model = config_deployment(u->x->upstream, facts->model);

    if (model.n == 0)
        model = facts->model;
    if (model.n == 0 || model.n >= sizeof(u->model))
        return strv_z(u->model);
    memcpy(u->model, model.p, model.n);
    u->model[model.n] = '\0';
    return model;
}

static void on_line(void *arg, const struct request_facts *facts)
{
    struct upload *u = arg;
    const struct xchg *x = u->x;
    const struct book *book = x->config->book;
    struct price_query query = {.provider = x->upstream->provider,
                                .upstream = strv_z(x->upstream->name),
                                .model = model_of(u, facts),
                                .tier = STRV("batch"),
                                .at_us = x->start_wall_us};
    uint64_t input = estimate_input_tokens(facts);
    uint64_t output =
        estimate_max_output_tokens(facts, price_max_output(book, query.provider, query.model));
    struct money most;

    query.input_total = input;
    u->bounds.requests = sum(u->bounds.requests, 1);
    u->bounds.input = sum(u->bounds.input, input);
    u->bounds.output = sum(u->bounds.output, output);
    if (query.model.n > 0 && price_worst_case(book, &query, input, output, &most))
        u->bounds.usd_nano = sum(u->bounds.usd_nano, (uint64_t)money_ceil_nano(most));
}

void upload_feed(struct xchg *x, struct strv bytes)
{
    if (!x->route.endpoint || !protocol_takes_batch_files(&x->route))
        return;
    if (!x->upload) {
        x->upload = xcalloc(1, sizeof(*x->upload));
        x->upload->x = x;
        batch_file_start(&x->upload->file, x->upstream->protocol, on_line, x->upload);
    }
    batch_file_feed(&x->upload->file, bytes);
}

void upload_kept(struct xchg *x, const struct tap_result *seen)
{
    struct strv file = strv_z(seen->work_id);
    const struct upload_bounds *b;

    if (!x->upload || x->upstream_status / 100 != 2)
        return;
    batch_file_finish(&x->upload->file);
    b = &x->upload->bounds;
    if (b->requests == 0 || file.n == 0)
        return;
    collect_note(x, file, "input", b->input);
    collect_note(x, file, "output", b->output);
    collect_note(x, file, "usd", b->usd_nano);
    collect_note(x, file, "requests", b->requests);
}

bool upload_recall(const struct xchg *x, struct upload_bounds *out)
{
    struct strv file = x->facts.input_file;

    *out = (struct upload_bounds){.requests = 0};
    if (file.n == 0)
        return false;
    out->requests = collect_noted(x, file, "requests");
    out->input = collect_noted(x, file, "input");
    out->output = collect_noted(x, file, "output");
    out->usd_nano = collect_noted(x, file, "usd");
    return out->requests > 0;
}

void upload_release(struct xchg *x)
{
    if (!x->upload)
        return;
    batch_file_release(&x->upload->file);
    free(x->upload);
    x->upload = NULL;
}
