#include "reports/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"

enum { CELLS_MAX = 4 << 20, TEXT_BYTES = 512 << 20, NAME_LEAST = 4, NAMES_MAX = 2000 };

/* ---- names of models ------------------------------------------------------------------------
 */

static bool all_digits(struct strv s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i >= s.n || s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

/* Without "-2024-08-06", "-20241022", "@20241022" and what follows; "-latest"; "-v2:0". */
static struct strv without_date(struct strv m)
{
    for (size_t i = 1; i < m.n; i++) {
        struct strv rest = strv_skip(m, i + 1);
        if (m.p[i] != '-' && m.p[i] != '@' && m.p[i] != '_')
            continue;
        if (all_digits(rest, 8) || strv_eq(rest, STRV("latest")) ||
            (rest.n >= 10 && all_digits(rest, 4) && rest.p[4] == '-' &&
             all_digits(strv_skip(rest, 5), 2) && rest.p[7] == '-') ||
            (rest.n > 1 && rest.p[0] == 'v' && strv_find(rest, ':') < rest.n))
            return strv_head(m, i);
    }
    return m;
}

struct strv reconcile_model(struct arena *arena, struct strv model)
{
    size_t n = 0;
    char *to;

    for (size_t i = 0; i < model.n; i++) {
        if (model.p[i] == '/') {
            model = strv_skip(model, i + 1);
            i = 0;
        }
    }
    /* "us.anthropic.claude-...": names of sellers end in a point before a letter. */
    for (size_t i = 0; i + 1 < model.n; i++) {
        if (model.p[i] == '.' && model.p[i + 1] >= 'a' && model.p[i + 1] <= 'z') {
            model = strv_skip(model, i + 1);
            i = 0;
        }
    }
    model = without_date(model);
    to = arena_alloc(arena, model.n + 1);
    if (!to)
        return STRV_NONE;
    for (size_t i = 0; i < model.n; i++) {
        char c = model.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            to[n++] = c;
    }
    return strv_make(to, n);
}

/* ---- cells ------------------------------------------------------------------------------- */

static struct reconcile_cell *add(struct reconcile *r, const struct reconcile_cell *cell)
{
    if (r->n == CELLS_MAX)
        return NULL;
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 1024;
        r->at = xrealloc(r->at, r->cap * sizeof(*r->at));
    }
    r->at[r->n] = *cell;
    return &r->at[r->n++];
}

static int by_place(const void *a, const void *b)
{
    const struct reconcile_cell *x = a, *y = b;
    int c;

    if (x->day_us != y->day_us)
        return x->day_us < y->day_us ? -1 : 1;
    c = strv_cmp(x->account, y->account);
    if (c == 0)
        c = strv_cmp(x->model, y->model);
    if (c == 0)
        c = (int)x->token_class - (int)y->token_class;
    if (c == 0)
        c = (int)x->kind - (int)y->kind;
    return c ? c : strv_cmp(x->what, y->what);
}

static void join_tier(struct strv *to, struct strv more, bool had)
{
    if (!had)
        *to = more;
    else if (!strv_eq(*to, more))
        *to = STRV("(several)");
}

static void merge(struct reconcile *r)
{
    size_t n = 0;

    if (r->n == 0)
        return;
    qsort(r->at, r->n, sizeof(*r->at), by_place);
    for (size_t i = 1; i < r->n; i++) {
        struct reconcile_cell *to = &r->at[n], *more = &r->at[i];
        if (by_place(to, more) != 0) {
            r->at[++n] = *more;
            continue;
        }
        if (more->lines)
            join_tier(&to->invoiced_tier, more->invoiced_tier, to->lines > 0);
        if (more->metered)
            join_tier(&to->metered_tier, more->metered_tier, to->metered > 0);
        to->has_quantity = to->has_quantity || more->has_quantity;
        to->has_cost = to->has_cost || more->has_cost;
        to->metered += more->metered;
        to->invoiced += more->invoiced;
        to->metered_cost = money_add(to->metered_cost, more->metered_cost);
        to->invoiced_cost = money_add(to->invoiced_cost, more->invoiced_cost);
        to->lines += more->lines;
        to->unpriced += more->unpriced;
    }
    r->n = n + 1;
}

/* ---- the provider's side -------------------------------------------------------------------
 */

/* "default", "standard" and nothing are one tier. */
static struct strv tier_of(struct strv tier)
{
    return usage_priced_tier(tier);
}

static int64_t day_of(int64_t us)
{
    return us - (us % US_PER_DAY + US_PER_DAY) % US_PER_DAY;
}

/* As fine as every line of usage tells. */
static void find_grain(const struct invoice *v, bool accounts_known, struct reconcile *r)
{
    r->by_day = r->by_model = r->by_class = true;
    r->by_account = accounts_known;
    for (size_t i = 0; i < v->n; i++) {
        const struct invoice_line *line = &v->at[i];
        if (line->kind != INVOICE_USAGE)
            continue;
        r->by_day = r->by_day && line->to_us - line->from_us <= US_PER_DAY;
        r->by_model = r->by_model && line->model.n > 0;
        r->by_class = r->by_class && line->class != INVOICE_ALL;
        r->by_account = r->by_account && line->account.n > 0;
    }
}

static enum rc add_line(struct reconcile *r, const struct invoice_line *line,
                        const struct ledger_filter *filter)
{
    struct reconcile_cell cell = {.kind = line->kind,
                                  .has_quantity = line->has_quantity,
                                  .has_cost = line->has_cost,
                                  .invoiced =
                                      line->has_quantity ? (money_int)line->quantity : 0,
                                  .lines = 1,
                                  .invoiced_tier = tier_of(line->tier)};

    if (line->from_us < filter->from_us || line->from_us >= filter->to_us)
        return RC_OK;
    if (line->has_cost)
        cell.invoiced_cost = line->cost;
    cell.has_day = r->by_day;
    cell.day_us = r->by_day ? day_of(line->from_us) : 0;
    cell.account = r->by_account ? line->account : STRV_NONE;
    if (line->kind == INVOICE_USAGE) {
        cell.token_class = r->by_class ? line->class : INVOICE_ALL;
        if (r->by_model) {
            cell.model = reconcile_model(&r->arena, line->model);
            if (!cell.model.p)
                return RC_LIMIT;
        }
    } else {
        cell.token_class = INVOICE_OTHER;
        cell.what = line->what;
    }
    return add(r, &cell) ? RC_OK : RC_LIMIT;
}

/* ---- the ledger's side ---------------------------------------------------------------------
 */

static enum invoice_class class_of_meter(enum meter meter)
{
    struct strv name = strv_z(meter_name(meter));

    if (meter == METER_CACHE_WRITE)
        return INVOICE_CACHE_WRITE;
    if (meter == METER_CACHE_WRITE_1H)
        return INVOICE_CACHE_WRITE_1H;
    if (strv_starts(name, STRV("cache_read")))
        return INVOICE_CACHE_READ;
    if (meter == METER_IN || strv_starts(name, STRV("in_")))
        return INVOICE_INPUT;
    if (meter == METER_OUT || strv_starts(name, STRV("out_")))
        return INVOICE_OUTPUT;
    return INVOICE_OTHER;
}

/* Tokens of a class as usage counts them, so that unpriced requests count too. */
static uint64_t tokens_of(const struct ledger_sums *s, enum invoice_class class)
{
    uint64_t cached = s->tokens[USAGE_CACHE_READ] + s->tokens[USAGE_CACHE_WRITE_5M] +
                      s->tokens[USAGE_CACHE_WRITE_1H];

    switch (class) {
    case INVOICE_INPUT:
        return s->tokens[USAGE_INPUT] > cached ? s->tokens[USAGE_INPUT] - cached : 0;
    case INVOICE_CACHE_READ:
        return s->tokens[USAGE_CACHE_READ];
    case INVOICE_CACHE_WRITE:
        return s->tokens[USAGE_CACHE_WRITE_5M];
    case INVOICE_CACHE_WRITE_1H:
        return s->tokens[USAGE_CACHE_WRITE_1H];
    case INVOICE_OUTPUT:
        return s->tokens[USAGE_OUTPUT];
    case INVOICE_ALL:
    case INVOICE_OTHER:
    case INVOICE_CLASSES:
        break;
    }
    return 0;
}

static enum rc add_source(struct reconcile *r, const struct ledger_row *row, struct strv account,
                          struct strv model)
{
    struct reconcile_source *to;

    for (size_t i = 0; i < r->n_sources; i++) {
        if (strv_eq(r->sources[i].own_model, row->value[0]) &&
            strv_eq(r->sources[i].upstream, row->value[1]))
            return RC_OK;
    }
    if (r->n_sources == r->cap_sources) {
        r->cap_sources = r->cap_sources ? r->cap_sources * 2 : 64;
        r->sources = xrealloc(r->sources, r->cap_sources * sizeof(*r->sources));
    }
    to = &r->sources[r->n_sources];
    *to = (struct reconcile_source){.account = account,
                                    .model = model,
                                    .own_model = arena_strv(&r->arena, row->value[0]),
                                    .upstream = arena_strv(&r->arena, row->value[1])};
    if ((row->value[0].n && !to->own_model.p) || (row->value[1].n && !to->upstream.p))
        return RC_LIMIT;
    r->n_sources++;
    return RC_OK;
}

static enum rc add_row(struct reconcile *r, const struct ledger_row *row, struct strv account)
{
    struct money cost[INVOICE_CLASSES] = {{0}};
    struct strv model = r->by_model ? reconcile_model(&r->arena, row->value[0]) : STRV_NONE;
    struct strv tier = arena_strv(&r->arena, tier_of(row->value[2]));

    if ((r->by_model && !model.p) || add_source(r, row, account, model) != RC_OK)
        return RC_LIMIT;
    for (unsigned m = 0; m < METER_COUNT; m++) {
        enum invoice_class class = class_of_meter((enum meter)m);
        cost[class] = money_add(cost[class], row->meters[m].amount);
    }
    for (unsigned k = INVOICE_INPUT; k < INVOICE_CLASSES; k++) {
        enum invoice_class class = (enum invoice_class)k;
        struct reconcile_cell cell = {.has_day = r->by_day,
                                      .day_us = r->by_day ? row->start_us : 0,
                                      .account = account,
                                      .metered = (money_int)tokens_of(&row->sums, class),
                                      .metered_cost = cost[k],
                                      .metered_tier = tier,
                                      .unpriced = row->sums.unpriced};
        if (cell.metered == 0 && money_is_zero(cell.metered_cost))
            continue;
        if (class == INVOICE_OTHER) {
            cell.token_class = INVOICE_OTHER;
            cell.kind = INVOICE_UNMETERED;
        } else {
            cell.token_class = r->by_class ? class : INVOICE_ALL;
            cell.model = model;
        }
        if (!add(r, &cell))
            return RC_LIMIT;
    }
    return RC_OK;
}

static enum rc add_ledger(const struct reconcile_question *q, struct reconcile *r,
                          const struct zone *utc, struct fail *fail)
{
    static const struct ledger_field by[] = {
        {.id = FIELD_MODEL}, {.id = FIELD_UPSTREAM}, {.id = FIELD_SERVICE_TIER}};
    struct ledger_question *asked = xmalloc(sizeof(*asked));
    struct ledger_rows rows;
    enum rc rc;

    *asked = (struct ledger_question){.filter = *q->filter,
                                      .n_by = 3,
                                      .grain = r->by_day ? PERIOD_DAY : PERIOD_TOTAL,
                                      .zone = utc,
                                      .want = LEDGER_WANT_METERS};
    memcpy(asked->by, by, sizeof(by));
    rc = ledger_read_sums(q->reader, asked, &rows, fail);
    free(asked);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct reconcile_upstream up = {.provider = STRV_NONE};
        struct strv account;
        if (q->upstream)
            q->upstream(rows.at[i].value[1], &up, q->arg);
        /* Other providers are on other invoices; "azure" is azure-openai too. */
        if (q->invoice->provider.n && up.provider.n &&
            !strv_starts(up.provider, q->invoice->provider))
            continue;
        account = r->by_account ? arena_strv(&r->arena, up.account) : STRV_NONE;
        rc = add_row(r, &rows.at[i], account);
    }
    ledger_rows_release(&rows);
    return rc;
}

/* Any upstream of the ledger that has an account of its own. */
static bool accounts_known(const struct reconcile_question *q, struct fail *fail)
{
    struct ledger_question *asked = xmalloc(sizeof(*asked));
    struct ledger_rows rows;
    bool known = false;

    *asked = (struct ledger_question){.filter = *q->filter, .n_by = 1, .grain = PERIOD_TOTAL};
    asked->by[0] = (struct ledger_field){.id = FIELD_UPSTREAM};
    if (q->upstream && ledger_read_sums(q->reader, asked, &rows, fail) == RC_OK) {
        for (size_t i = 0; i < rows.n; i++) {
            struct reconcile_upstream up = {.provider = STRV_NONE};
            q->upstream(rows.at[i].value[0], &up, q->arg);
            known = known || up.account.n > 0;
        }
        ledger_rows_release(&rows);
    }
    free(asked);
    return known;
}

/* A name and what it is called in the ledger. */
struct name {
    struct strv bill, own;
};

/*
 * Bills abbreviate: a name of theirs that the ledger does not have is the longest of the
 * ledger's within it ("gpt4o0806inpglbl" holds gpt4o).
 */
static struct strv fit_name(struct strv bill, const struct name *own, size_t n)
{
    struct strv best = STRV_NONE;

    for (size_t k = 0; k < n; k++) {
        struct strv name = own[k].own;
        if (name.n < NAME_LEAST || name.n <= best.n)
            continue;
        for (size_t at = 0; at + name.n <= bill.n; at++) {
            if (strv_starts(strv_skip(bill, at), name)) {
                best = name;
                break;
            }
        }
    }
    return best.n ? best : bill;
}

static size_t find_name(const struct name *at, size_t n, struct strv bill)
{
    for (size_t i = 0; i < n; i++) {
        if (strv_eq(at[i].bill, bill))
            return i;
    }
    return n;
}

/* Models are few, whatever a file has of lines: what is beyond NAMES_MAX keeps its name. */
static void fit_names(struct reconcile *r, size_t n_invoiced)
{
    struct name *own = xcalloc(NAMES_MAX, sizeof(*own)),
                *bill = xcalloc(NAMES_MAX, sizeof(*bill));
    size_t n_own = 0, n_bill = 0;

    for (size_t i = n_invoiced; i < r->n && n_own < NAMES_MAX; i++) {
        if (find_name(own, n_own, r->at[i].model) == n_own)
            own[n_own++] = (struct name){r->at[i].model, r->at[i].model};
    }
    for (size_t i = 0; i < n_invoiced; i++) {
        size_t k = r->at[i].model.n ? find_name(bill, n_bill, r->at[i].model) : NAMES_MAX;
        if (k == n_bill && n_bill < NAMES_MAX) {
            bill[k] = (struct name){r->at[i].model, fit_name(r->at[i].model, own, n_own)};
            n_bill++;
        }
        if (k < n_bill)
            r->at[i].model = bill[k].own;
    }
    free(own);
    free(bill);
}

/* Of what the provider is silent, it says none, where its files say how much of anything. */
static void fill_silence(const struct invoice *v, struct reconcile *r)
{
    bool quantities = false, costs = false;

    for (size_t i = 0; i < v->n; i++) {
        quantities = quantities || (v->at[i].has_quantity && v->at[i].kind == INVOICE_USAGE);
        costs = costs || v->at[i].has_cost;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (r->at[i].lines > 0)
            continue;
        r->at[i].has_quantity = quantities;
        r->at[i].has_cost = costs;
    }
}

enum rc reconcile_run(const struct reconcile_question *q, struct reconcile *out,
                      struct fail *fail)
{
    struct zone *utc = zone_open("UTC");
    size_t n_invoiced;
    money_int unit = (money_int)NANO_PER_USD * ATTO_PER_NANO;
    enum rc rc = RC_OK;

    *out = (struct reconcile){.n = 0};
    arena_init(&out->arena, TEXT_BYTES);
    find_grain(q->invoice, accounts_known(q, fail), out);
    for (unsigned i = 0; i < q->invoice->decimals; i++)
        unit /= 10;
    out->unit = (struct money){unit};
    for (size_t i = 0; rc == RC_OK && i < q->invoice->n; i++)
        rc = add_line(out, &q->invoice->at[i], q->filter);
    n_invoiced = out->n;
    if (rc == RC_OK)
        rc = add_ledger(q, out, utc, fail);
    if (rc == RC_OK) {
        fit_names(out, n_invoiced);
        merge(out);
        fill_silence(q->invoice, out);
        reconcile_classify(out);
    }
    zone_close(utc);
    return rc;
}

void reconcile_release(struct reconcile *r)
{
    free(r->at);
    free(r->sources);
    arena_release(&r->arena);
    *r = (struct reconcile){.n = 0};
}
