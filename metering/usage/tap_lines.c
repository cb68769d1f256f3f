/*
 * Answers that are a document a line, and batches of answers.  A document that is set
 * over several lines is read all the same.
 */
#include "metering/usage/tap_int.h"

#include <string.h>

static void end_line(struct tap *tap)
{
    struct reading *r = &tap->reading;
    bool good = tap_end_json(tap);

    /* A file may hold anything: only where it has answers is another line a fault. */
    if (!good && (!(r->flags & ENTRY_BATCH) || tap->answers > 0))
        r->result.undecodable = true;
    if (r->on_answer != NULL)
        r->on_answer(r);
}

void tap_read_lines(struct tap *tap, struct strv bytes)
{
    while (bytes.n > 0) {
        size_t end = strv_find(bytes, '\n');

        tap_feed_json(tap, strv_head(bytes, end));
        if (end == bytes.n)
            break;
        if (jscan_is_open(&tap->reading.scan))
            tap_feed_json(tap, STRV("\n"));
        else
            end_line(tap);
        bytes = strv_skip(bytes, end + 1);
    }
}

void tap_end_lines(struct tap *tap)
{
    struct reading *r = &tap->reading;
    bool begun = tap->json_begun && !r->scan.empty, good;

    if (r->open && r->on_answer == NULL) /* broken off: what was whole of it counts */
        reading_end(r);
    r->open = false;
    good = tap_end_json(tap);
    tap->whole = good;
    r->result.undecodable = r->result.undecodable || !good;
    if (r->on_answer == NULL)
        return;
    if (begun && good)
        r->on_answer(r);
    memcpy(r->result.region, tap->region, sizeof(tap->region));
    r->has_cost = tap->has_cost;
    r->cost_atto = tap->cost.atto;
    reading_keep_cost(r);
    r->result.usage = tap->total;
    r->result.has_usage = r->result.usage_is_final = tap->total.has != 0;
}

/* ---- batches ----------------------------------------------------------------- */

static struct tap *tap_of(struct reading *r)
{
    return (struct tap *)(void *)((char *)r - offsetof(struct tap, reading));
}

/* One answer is whole: it is told, and the next begins with nothing. */
static void on_answer(struct reading *r)
{
    struct tap *tap = tap_of(r);
    struct tap_answer answer = {.n = tap->answers,
                                .usage = r->result.has_usage ? &r->result.usage : NULL,
                                .model = strv_z(r->result.model),
                                .said_nothing = r->result.said_nothing,
                                .name = strv_z(r->name[0] ? r->name : r->id),
                                .has_cost = r->has_cost,
                                .cost = {r->cost_atto}};

    if (!(r->flags & ENTRY_BY_NAME))
        answer.name = STRV_NONE;
    if (r->result.has_usage)
        tap->answers++;
    if ((r->result.has_usage || answer.name.n > 0) &&
        tap->answer_fn(tap->answer_arg, &answer) && r->result.has_usage) {
        usage_add(&tap->total, &r->result.usage);
        tap->has_cost = tap->has_cost || r->has_cost;
        tap->cost = money_add(tap->cost, r->has_cost ? answer.cost : MONEY_ZERO);
    }
    r->name[0] = '\0';
    r->has_cost = r->result.has_provider_cost = false;
    r->result.usage = (struct usage){.has = 0};
    r->result.has_usage = false;
    r->counts = r->compaction = (struct raw_counts){.odd = false};
    r->has_counts = r->error = r->terminator = false;
    r->finish = TAP_END_NONE;
    r->has_searches = r->has_maps = r->has_blocks = r->is_credited = false;
    r->queries = 0;
    r->result.said_nothing = false;
    if (r->result.region[0])
        memcpy(tap->region, r->result.region, sizeof(tap->region));
    r->result.region[0] = '\0';
    if (r->parts != NULL)
        r->parts->n = 0;
}

void tap_on_answer(struct tap *tap, tap_answer_fn *fn, void *arg)
{
    if (!(tap->entry->flags & ENTRY_BATCH))
        return;
    tap->answer_fn = fn;
    tap->answer_arg = arg;
    tap->reading.on_answer = on_answer;
}
