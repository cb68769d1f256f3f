/*
 * xchg_upload.c - files of batches: what their requests may take, counted while the upload
 * goes by, and remembered under the file's id for the request that begins the batch.  Of a file
 * of sound: how long it lasts, for the request that has it written down.
 *
 * Requests of a file are in no body that admission reads.  They pass here first, though: each
 * line is read as the request that it is, its bounds are added up, and the sum is kept like
 * what is known of collected work (collected.h): bounded, durable, by this gateway alone.
 * Of a file that comes in parts each is read by itself and added to what is known of the upload;
 * where a line is cut between two, both pieces count by their length.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/usage/audio.h"
#include "metering/usage/batch_body.h"
#include "metering/usage/batch_file.h"
#include "metering/usage/estimate.h"
#include "proxy/xchg_int.h"

struct upload {
    struct xchg *x;
    bool is_begun; /* the file */
    struct batch_file file;
    struct upload_bounds bounds;
    char model[REQUEST_MODEL_MAX_BYTES + 1]; /* of the last line that named one */
    uint64_t nameless_bytes; /* of pieces of lines before the first that named one */
    struct buf sound;        /* the beginning of a file of sound */
    uint64_t sound_bytes;    /* of all of it */
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

/* By images, seconds or the like; the dearer of both is kept in *most. */
static bool price_units(const struct price_query *tokens, const struct book *book,
                        const struct request_facts *facts, bool priced, struct money *most)
{
    struct price_query query = *tokens;
    struct usage units;
    struct cost cost;

    if (query.model.n == 0 || !estimate_units(facts, &units))
        return false;
    (void)usage_to_quantities(&units, &query.quantities);
    query.quantities.n[METER_REQUEST] = 1;
    query.counted = true;
    query.detail[DETAIL_QUALITY] = facts->quality;
    query.detail[DETAIL_SIZE] = facts->size;
    price_count_pixels(&query);
    price_usage(book, &query, &cost);
    if (cost.status == PRICE_NONE)
        return false;
    if (!priced || money_cmp(cost.contracted, *most) > 0)
        *most = cost.contracted;
    return true;
}

static void count(struct upload *u, const struct request_facts *facts, struct strv model)
{
    const struct xchg *x = u->x;
    const struct book *book = x->config->book;
    struct price_query query = {.provider = x->upstream->provider,
                                .upstream = strv_z(x->upstream->name),
                                .model = model,
                                .tier = STRV("batch"),
                                .at_us = x->start_wall_us,
                                .has_media = facts->media_parts > 0};
    uint64_t input = estimate_input_tokens(facts);
    uint64_t output;
    struct money most;
    bool priced;

    price_find(book, &query);
    output = estimate_max_output_tokens(facts, price_max_output(book, &query));
    query.input_total = input;
    u->bounds.requests = sum(u->bounds.requests, 1);
    u->bounds.input = sum(u->bounds.input, input);
    u->bounds.output = sum(u->bounds.output, output);
    priced = query.model.n > 0 && price_worst_case(book, &query, input, output, &most);
    priced = price_units(&query, book, facts, priced, &most) || priced;
    if (priced)
        u->bounds.usd_nano = sum(u->bounds.usd_nano, (uint64_t)money_ceil_nano(most));
    else
        u->bounds.unpriced = sum(u->bounds.unpriced, 1);
}

/* What stood before the first line with a name is taken for as much of that model. */
static void count_nameless(struct upload *u)
{
    struct request_facts facts;

    if (u->nameless_bytes == 0)
        return;
    memset(&facts, 0, sizeof(facts));
    facts.choices = 1;
    facts.text_bytes = u->nameless_bytes;
    u->nameless_bytes = 0;
    count(u, &facts, strv_z(u->model));
}

static void on_line(void *arg, const struct request_facts *facts)
{
    struct upload *u = arg;
    struct strv model = model_of(u, facts);

    if (model.n == 0 && facts->messages == 0) {
        u->nameless_bytes = sum(u->nameless_bytes, facts->text_bytes);
        return;
    }
    if (model.n > 0)
        count_nameless(u);
    count(u, facts, model);
}

static void on_request(void *arg, const struct request_facts *facts, struct strv id)
{
    struct upload *u = arg;
    struct strv model = config_deployment(u->x->upstream, facts->model);

    if (u->bounds.requests == 0)
        u->x->brought->name = arena_strv(&u->x->arena, id);
    if (model.n == 0)
        model = facts->model.n > 0 ? facts->model : u->x->model;
    count(u, facts, model);
}

void upload_read_body(struct xchg *x, struct strv body)
{
    struct upload u UNCLEARED;
    enum batch_body kind;

    if (!x->facts.later || !(x->brought = arena_alloc(&x->arena, sizeof(*x->brought))))
        return;
    u = (struct upload){.x = x};
    memset(x->brought, 0, sizeof(*x->brought));
    kind = batch_body_read(x->upstream->protocol, &x->route, body, on_request, &u);
    x->brought->bounds = u.bounds;
    x->brought->is_empty = kind == BATCH_BODY_EMPTY;
    if (kind == BATCH_BODY_OTHER)
        x->brought = NULL;
}

static void feed_sound(struct upload *u, struct strv bytes)
{
    struct strv head = strv_head(bytes, AUDIO_HEAD_BYTES - buf_len(&u->sound));

    if (buf_append_strv(&u->sound, head) == RC_OK)
        u->sound_bytes = sum(u->sound_bytes, bytes.n);
}

void upload_feed(struct xchg *x, struct strv bytes)
{
    enum upload_kind kind = x->route.endpoint ? protocol_upload_kind(&x->route) : UPLOAD_NONE;

    if (kind != UPLOAD_FILE && kind != UPLOAD_PART && kind != UPLOAD_SOUND)
        return;
    if (!x->upload) {
        x->upload = xcalloc(1, sizeof(*x->upload));
        x->upload->x = x;
        buf_init(&x->upload->sound, AUDIO_HEAD_BYTES);
    }
    if (kind == UPLOAD_SOUND) {
        feed_sound(x->upload, bytes);
        return;
    }
    if (!x->upload->is_begun) {
        x->upload->is_begun = true;
        batch_file_start(&x->upload->file, x->upstream->protocol, kind == UPLOAD_PART, on_line,
                         x->upload);
    }
    batch_file_feed(&x->upload->file, bytes);
}

/* What is known of a file, or of an upload whose parts have come so far. */
static bool recall(const struct xchg *x, struct strv name, struct upload_bounds *out)
{
    *out = (struct upload_bounds){.requests = 0};
    if (name.n == 0)
        return false;
    out->requests = sum(0, collect_noted(x, name, "requests"));
    out->input = sum(0, collect_noted(x, name, "input"));
    out->output = sum(0, collect_noted(x, name, "output"));
    out->usd_nano = sum(0, collect_noted(x, name, "usd"));
    return out->requests > 0;
}

static void keep(struct xchg *x, struct strv name, const struct upload_bounds *b,
                 void (*note)(struct xchg *x, struct strv work, const char *what, uint64_t n))
{
    if (b->requests == 0 || name.n == 0)
        return;
    note(x, name, "input", b->input);
    note(x, name, "output", b->output);
    note(x, name, "usd", b->usd_nano);
    note(x, name, "requests", b->requests);
}

void upload_kept(struct xchg *x, const struct tap_result *seen)
{
    enum upload_kind kind = protocol_upload_kind(&x->route);
    struct upload_bounds joined;

    if (kind == UPLOAD_NONE || x->upstream_status / 100 != 2)
        return;
    if (x->upload && kind == UPLOAD_SOUND) {
        collect_note(x, strv_z(seen->work_id), "ms",
                     audio_part_ms(buf_view(&x->upload->sound), x->upload->sound_bytes));
        return;
    }
    if (x->upload) {
        batch_file_finish(&x->upload->file);
        count_nameless(x->upload);
    }
    if (kind == UPLOAD_JOINED && recall(x, x->route.path_id, &joined))
        keep(x, strv_z(seen->work_id), &joined, collect_note);
    else if (kind == UPLOAD_PART && x->upload)
        keep(x, x->route.path_id, &x->upload->bounds, collect_note_more);
    else if (kind == UPLOAD_FILE && x->upload)
        keep(x, strv_z(seen->work_id), &x->upload->bounds, collect_note);
}

void upload_recall_sound(struct xchg *x)
{
    char text[TAP_ID_MAX_BYTES];
    struct strv name;
    uint64_t ms;

    if (!x->facts.audio_is_guess ||
        !protocol_sound_name(x->facts.sound, text, sizeof(text), &name))
        return;
    ms = collect_noted(x, name, "ms");
    if (ms == 0)
        return;
    x->facts.audio_ms = ms < UPLOAD_MAX ? ms : UPLOAD_MAX;
    x->facts.audio_is_guess = false;
}

bool upload_recall(const struct xchg *x, struct upload_bounds *out)
{
    return recall(x, x->facts.input_file, out);
}

void upload_release(struct xchg *x)
{
    if (!x->upload)
        return;
    if (x->upload->is_begun)
        batch_file_release(&x->upload->file);
    buf_release(&x->upload->sound);
    free(x->upload);
    x->upload = NULL;
}
