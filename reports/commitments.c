#include "reports/commitments.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "base/zone.h"

static bool read_one(const struct books_table *t, size_t row, const struct zone *utc,
                     struct commitment *out)
{
    int64_t end;

    *out = (struct commitment){
        .id = books_field(t, BOOKS_COMMITMENTS, row, "id"),
        .name = books_field(t, BOOKS_COMMITMENTS, row, "name"),
        .provider = books_field(t, BOOKS_COMMITMENTS, row, "provider"),
        .account = books_field(t, BOOKS_COMMITMENTS, row, "account")};
    return books_when(utc, books_field(t, BOOKS_COMMITMENTS, row, "from"), &out->from_us,
                      &end) &&
           books_when(utc, books_field(t, BOOKS_COMMITMENTS, row, "to"), &out->to_us, &end) &&
           money_parse(books_field(t, BOOKS_COMMITMENTS, row, "amount_usd"), &out->amount) ==
               RC_OK;
}

enum rc commitments_read(const char *state_dir, struct commitments *out, struct fail *fail)
{
    struct zone *utc;
    enum rc rc;

    *out = (struct commitments){.n = 0};
    rc = books_read(state_dir, BOOKS_COMMITMENTS, &out->table, fail);
    if (rc != RC_OK)
        return rc;
    utc = zone_open("UTC");
    out->at = xcalloc(out->table.csv.n_rows + 1, sizeof(*out->at));
    for (size_t r = 0; r < out->table.csv.n_rows; r++)
        out->n += read_one(&out->table, r, utc, &out->at[out->n]);
    zone_close(utc);
    return RC_OK;
}

void commitments_release(struct commitments *c)
{
    free(c->at);
    books_release(&c->table);
    *c = (struct commitments){.n = 0};
}

int64_t commitments_since(const struct commitment *at, size_t n, int64_t at_us)
{
    int64_t since = at_us;
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            if (at[i].from_us >= since || at[i].to_us <= since)
                continue;
            since = at[i].from_us;
            more = true;
        }
    }
    return since;
}

bool commitment_may_cover(const struct record *r, struct money *cost)
{
    *cost = MONEY_ZERO;
    if (r->is_correction || r->price_status == PRICE_NONE)
        return false;
    for (size_t i = 0; i < r->n_lines; i++)
        *cost = money_add(*cost, r->lines[i].amount);
    return true;
}

bool commitment_is_for(const struct commitment *c, struct strv account, int64_t end_us)
{
    return end_us >= c->from_us && end_us < c->to_us && strv_eq(c->account, account);
}

struct commitment *commitments_cover(struct commitment *at, size_t n, struct strv account,
                                     int64_t end_us, struct money cost)
{
    for (size_t i = 0; i < n; i++) {
        struct money used = money_add(at[i].used, cost);

        if (at[i].is_used_up || !commitment_is_for(&at[i], account, end_us))
            continue;
        if (money_cmp(used, at[i].amount) <= 0) {
            at[i].used = used;
            return &at[i];
        }
        at[i].is_used_up = true;
    }
    return NULL;
}
