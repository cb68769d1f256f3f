/*
 * journal_note.c - the small payloads of the journal: task outcomes, refusals, thresholds.
 * Numbers are varints, texts have their length before them.
 */
#include "metering/ledger/journal.h"
#include "metering/ledger/wire.h"

static const char *const names[] = {
    [TASK_OPEN] = "open",
    [TASK_COMPLETED] = "completed",
    [TASK_FAILED] = "failed",
    [TASK_ABANDONED] = "abandoned",
};

const char *task_outcome_name(enum task_outcome o)
{
    return names[o];
}

bool task_outcome_parse(struct strv name, enum task_outcome *o)
{
    for (unsigned i = TASK_COMPLETED; i <= TASK_ABANDONED; i++) {
        if (strv_eq(name, strv_z(names[i]))) {
            *o = (enum task_outcome)i;
            return true;
        }
    }
    return false;
}

static enum rc put_number(struct buf *out, uint64_t v)
{
    char bytes[WIRE_U64_BYTES];

    return buf_append(out, bytes, wire_make_u64(bytes, v));
}

static enum rc put_texts(struct buf *out, const struct strv *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum rc rc = put_number(out, texts[i].n);

        if (rc == RC_OK)
            rc = buf_append_strv(out, texts[i]);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static struct strv get_text(struct wire_in *in)
{
    return wire_get_bytes(in, wire_get_u64(in));
}

enum rc task_note_encode(const struct task_note *note, struct buf *out)
{
    const struct strv texts[] = {note->team, note->task, note->key};
    enum rc rc = put_number(out, wire_zigzag(note->at_us));

    if (rc == RC_OK)
        rc = put_number(out, note->outcome);
    return rc == RC_OK ? put_texts(out, texts, 3) : rc;
}

enum rc task_note_decode(struct strv bytes, struct task_note *out)
{
    struct wire_in in = wire_in(bytes);
    uint64_t outcome;

    out->at_us = wire_unzigzag(wire_get_u64(&in));
    outcome = wire_get_u64(&in);
    out->team = get_text(&in);
    out->task = get_text(&in);
    out->key = get_text(&in);
    if (in.bad || in.p != in.end || outcome > TASK_ABANDONED)
        return RC_BAD;
    out->outcome = (enum task_outcome)outcome;
    return RC_OK;
}

enum rc denied_note_encode(const struct denied_note *note, struct buf *out)
{
    const struct strv texts[] = {note->code,    note->key,         note->team,
                                 note->feature, note->environment, note->limit};
    enum rc rc = put_number(out, wire_zigzag(note->at_us));

    if (rc == RC_OK)
        rc = put_number(out, note->count);
    return rc == RC_OK ? put_texts(out, texts, 6) : rc;
}

enum rc denied_note_decode(struct strv bytes, struct denied_note *out)
{
    struct wire_in in = wire_in(bytes);

    out->at_us = wire_unzigzag(wire_get_u64(&in));
    out->count = wire_get_u64(&in);
    out->code = get_text(&in);
    out->key = get_text(&in);
    out->team = get_text(&in);
    out->feature = get_text(&in);
    out->environment = get_text(&in);
    out->limit = get_text(&in);
    return in.bad || in.p != in.end ? RC_BAD : RC_OK;
}

enum rc crossing_note_encode(const struct crossing_note *note, struct buf *out)
{
    const uint64_t numbers[] = {wire_zigzag(note->at_us),  wire_zigzag(note->start_us),
                                wire_zigzag(note->end_us), note->percent,
                                note->amount,              note->spent};
    const struct strv texts[] = {note->limit, note->scope, note->teller};
    enum rc rc = RC_OK;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && rc == RC_OK; i++)
        rc = put_number(out, numbers[i]);
    return rc == RC_OK ? put_texts(out, texts, 3) : rc;
}

enum rc crossing_note_decode(struct strv bytes, struct crossing_note *out)
{
    struct wire_in in = wire_in(bytes);
    uint64_t percent;

    out->at_us = wire_unzigzag(wire_get_u64(&in));
    out->start_us = wire_unzigzag(wire_get_u64(&in));
    out->end_us = wire_unzigzag(wire_get_u64(&in));
    percent = wire_get_u64(&in);
    out->amount = wire_get_u64(&in);
    out->spent = wire_get_u64(&in);
    out->limit = get_text(&in);
    out->scope = get_text(&in);
    out->teller = get_text(&in);
    if (in.bad || in.p != in.end || percent > UINT32_MAX || out->amount > INT64_MAX ||
        out->spent > INT64_MAX)
        return RC_BAD;
    out->percent = (unsigned)percent;
    return RC_OK;
}
