#include "proxy/denied.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"

enum { ROW_TEXT_MAX_BYTES = 5 * TAG_VALUE_MAX_BYTES, SLOTS = 2 * DENIED_ROWS_MAX };

struct row {
    enum refusal code;
    uint64_t hash;
    uint64_t count;
    char *text; /* the five values, joined */
    size_t len[5];
};

struct denied {
    struct row *slots[SLOTS];
    size_t n;
    int64_t since_us;
};

struct denied *denied_new(void)
{
    return xcalloc(1, sizeof(struct denied));
}

static void clear(struct denied *d)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (!d->slots[i])
            continue;
        free(d->slots[i]->text);
        free(d->slots[i]);
        d->slots[i] = NULL;
    }
    d->n = 0;
}

void denied_free(struct denied *d)
{
    if (!d)
        return;
    clear(d);
    free(d);
}

static bool row_is(const struct row *row, uint64_t hash, enum refusal code, const char *text,
                   const size_t len[5], size_t n)
{
    return row->hash == hash && row->code == code && memcmp(row->len, len, sizeof(row->len)) == 0 &&
           memcmp(row->text, text, n) == 0;
}

void denied_add(struct denied *d, enum refusal code, const struct subject *subject,
                struct strv limit, int64_t now_us)
{
    struct strv part[5] = {STRV_NONE, STRV_NONE, STRV_NONE, STRV_NONE, limit};
    char text[ROW_TEXT_MAX_BYTES];
    size_t len[5], n = 0;
    uint64_t hash;

    if (d->n >= DENIED_ROWS_MAX) {
        part[4] = STRV_NONE;
    } else if (subject) {
        part[0] = subject->dim[DIM_KEY];
        part[1] = subject->dim[DIM_TEAM];
        part[2] = subject->dim[DIM_FEATURE];
        part[3] = subject->dim[DIM_ENVIRONMENT];
    }
    for (int i = 0; i < 5; i++) {
        len[i] = part[i].n < TAG_VALUE_MAX_BYTES ? part[i].n : TAG_VALUE_MAX_BYTES;
        if (len[i] > 0)
            memcpy(text + n, part[i].p, len[i]);
        n += len[i];
    }
    hash = strv_hash(strv_make(text, n)) + (uint64_t)code;
    if (d->n == 0)
        d->since_us = now_us;
    for (size_t i = 0; i < SLOTS; i++) {
        struct row **slot = &d->slots[(hash + i) % SLOTS];

        if (!*slot) {
            *slot = xcalloc(1, sizeof(**slot));
            **slot = (struct row){
                .code = code, .hash = hash, .count = 1, .text = xmemdupz(text, n)};
            memcpy((*slot)->len, len, sizeof(len));
            d->n++;
            return;
        }
        if (row_is(*slot, hash, code, text, len, n)) {
            (*slot)->count++;
            return;
        }
    }
}

void denied_flush(struct denied *d, struct journal *journal, int64_t now_us, bool now)
{
    if (d->n == 0 || (!now && now_us - d->since_us < DENIED_FLUSH_US))
        return;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct row *row = d->slots[i];
        struct strv part[5];
        const char *at;

        if (!row)
            continue;
        at = row->text;
        for (int k = 0; k < 5; k++) {
            part[k] = strv_make(at, row->len[k]);
            at += row->len[k];
        }
        if (journal_denied(journal, &(struct denied_note){.at_us = now_us,
                                                          .code = strv_z(refusal_code(row->code)),
                                                          .key = part[0],
                                                          .team = part[1],
                                                          .feature = part[2],
                                                          .environment = part[3],
                                                          .limit = part[4],
                                                          .count = row->count}) != RC_OK)
            log_line(LOG_WARN, "journal", "could not note refusals", "code=%s count=%llu",
                     refusal_code(row->code), (unsigned long long)row->count);
    }
    clear(d);
}
