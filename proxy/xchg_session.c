/*
 * xchg_session.c - sessions of agents that the provider lets run by themselves: Anthropic's and
 * OpenAI's.
 *
 * What a session took is told as sums since its beginning, by whoever looks at it, as often as
 * anybody does.  Of each sum the rise is counted, once: workers agree through `collected`, the
 * processes through a claim for each (xchg_collect.c), and where another process was faster, what
 * is beyond its sum is claimed again.  The sums are kept apart by price, so that each rise is a
 * quantity of its own.
 *
 * A session names its agent, not its model.  Answers tell that; it is remembered for the calls
 * that set the session to work, by this gateway and, for the others, in Redis: by the number of
 * its name among the models of the book.  A key that is bound to models gets no session to work
 * whose model is not known to be one of them.
 *
 * While a session may run, a worst case is held under its name: what the provider itself lets it
 * cost at the most, where it was told to; else one call of its model, and an hour at work.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/collected.h"
#include "proxy/server.h"
#include "proxy/xchg_int.h"

enum {
    CLAIMS_MAX = 8,      /* times that others may be faster in a row */
    ASSUMED_MS = 3600000,
    ATTO_PER_CENT_PLACES = 16,
};

/* What is remembered of a session or an agent, beside the number of its model's name. */
enum {
    NOTE_FAST_BIT = NOTED_NAME_BITS,
    NOTE_US_BIT,
    NOTE_MIXED_BIT,
    NOTE_FLEX_BIT,
    NOTE_PRIORITY_BIT,
    NOTE_ULTRAFAST_BIT,
    NOTE_END_BIT,
};
_Static_assert((int)NOTE_END_BIT <= (int)NOTED_BITS, "they are remembered");
#define NOTE(bit) (UINT64_C(1) << NOTE_##bit##_BIT)

/* Of service, where they have prices of their own. */
static const struct {
    const char *name;
    uint64_t note;
} TIERS[] = {
    {"fast", NOTE(FAST)},
    {"flex", NOTE(FLEX)},
    {"priority", NOTE(PRIORITY)},
    {"ultrafast", NOTE(ULTRAFAST)},
};

enum sum {
    SUM_INPUT = 0, /* neither read from the cache nor written to it */
    SUM_READ,
    SUM_WRITE_5M,
    SUM_WRITE_1H,
    SUM_OUTPUT, /* but the reasoning, where that is told apart */
    SUM_REASONING,
    SUM_SEARCHES,
    SUM_MS,
    SUM_CENTS, /* of the provider's own cost */
    SUM_COUNT
};

static const struct {
    const char *name; /* of what is remembered: never another */
    enum usage_field field;
} SUMS[SUM_COUNT] = {
    [SUM_INPUT] = {"input", USAGE_INPUT},
    [SUM_READ] = {"read", USAGE_CACHE_READ},
    [SUM_WRITE_5M] = {"write-5m", USAGE_CACHE_WRITE_5M},
    [SUM_WRITE_1H] = {"write-1h", USAGE_CACHE_WRITE_1H},
    [SUM_OUTPUT] = {"output", USAGE_OUTPUT},
    [SUM_REASONING] = {"reasoning", USAGE_REASONING},
    [SUM_SEARCHES] = {"searches", USAGE_WEB_SEARCH},
    [SUM_MS] = {"ms", USAGE_SESSION_MS},
    [SUM_CENTS] = {"cents", USAGE_COUNT},
};

struct rise {
    struct work_claim claim;
    uint64_t key; /* in what is collected; 0: it did not rise */
    unsigned tries;
    bool told; /* the verdict is taken note of */
};

struct session {
    struct noted noted; /* its model */
    bool claimed;
    struct rise rises[SUM_COUNT];
    size_t n_searches; /* that are told of one by one: each is a sum of one */
    struct rise *searches;
};

/* The ith of all that is claimed; NULL past the last. */
static struct rise *rise_at(struct session *s, size_t i)
{
    if (i < SUM_COUNT)
        return &s->rises[i];
    return i - SUM_COUNT < s->n_searches ? &s->searches[i - SUM_COUNT] : NULL;
}

static void on_verdict(void *arg)
{
    xchg_wake(arg, WAKE_LIMIT);
}

static struct session *session_of(struct xchg *x)
{
    if (!x->session && x->route.is_session) {
        x->session = arena_alloc(&x->arena, sizeof(*x->session));
        if (x->session) {
            memset(x->session, 0, sizeof(*x->session));
            noted_init(&x->session->noted);
        }
    }
    return x->session;
}

/* The session's name; of one that this call made, by its answer. */
static struct strv name_of(const struct xchg *x)
{
    return x->route.path_id.n > 0 ? x->route.path_id : strv_z(settle_seen(x)->work_id);
}

/* Under which its sums are known: of a dream they are its session's. */
static struct strv sums_of(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    return seen->kept_id[0] != '\0' ? strv_z(seen->kept_id) : name_of(x);
}

/* ---- the model ---------------------------------------------------------------------- */

static struct strv noted_tier(uint64_t note)
{
    for (size_t i = 0; i < sizeof(TIERS) / sizeof(TIERS[0]); i++) {
        if (note & TIERS[i].note)
            return strv_z(TIERS[i].name);
    }
    return STRV_NONE;
}

static void apply_note(struct xchg *x)
{
    uint64_t note = x->session->noted.note;

    if (x->facts.model.n > 0)
        return; /* the body itself names it */
    x->facts.model = noted_model(x, note);
    if (x->facts.service_tier.n == 0)
        x->facts.service_tier = noted_tier(note);
    request_keep_facts(x);
}

/* Whose model is to be known: the session's, else the agent's. */
static struct strv subject_of(const struct xchg *x)
{
    return x->route.path_id.n > 0 ? x->route.path_id : x->facts.agent;
}

bool session_learn(struct xchg *x)
{
    struct session *s = session_of(x);

    if (!s || s->noted.note > 0)
        return false;
    if (noted_ask(x, &s->noted, subject_of(x)))
        return true;
    if (s->noted.note > 0)
        apply_note(x);
    return false;
}

bool session_allows(const struct xchg *x)
{
    if (!x->session || x->route.endpoint->kind != ENDPOINT_METERED || x->key->n_models == 0)
        return true;
    if (x->facts.model.n == 0)
        return !x->facts.sets_to_work;
    if (x->route.path_id.n > 0 && !x->facts.sets_to_work && !x->facts.names_model)
        return true;
    /* What an agent is now was perhaps changed elsewhere; a session keeps what it began with. */
    if (x->facts.sets_to_work && x->route.path_id.n == 0 &&
        (!x->facts.names_model || x->facts.may_mix))
        return false;
    return !(x->session->noted.note & NOTE(MIXED)) &&
           (key_allows_model(x->key, x->model) || key_allows_model(x->key, x->facts.model));
}

void session_note(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    struct strv name = name_of(x);
    uint64_t note;

    if (!session_of(x) || x->upstream_status / 100 != 2 || seen->model[0] == '\0')
        return;
    note = noted_number(strv_z(seen->model));
    for (size_t i = 0; i < sizeof(TIERS) / sizeof(TIERS[0]); i++)
        note |= strcmp(seen->service_tier, TIERS[i].name) == 0 ? TIERS[i].note : 0;
    note |= strv_eq(strv_z(seen->region), STRV("us")) ? NOTE(US) : 0;
    note |= seen->is_mixed ? NOTE(MIXED) : 0;
    x->session->noted.note = note;
    /* An agent's answer names the agent alone; a session's, whose it is. */
    if (seen->is_session)
        noted_tell(x, name, note);
    if (!x->facts.names_model)
        noted_tell(x, strv_z(seen->agent_id), note);
    if (seen->is_session && seen->session_cents != collect_noted(x, name, "limit"))
        collect_note(x, name, "limit", seen->session_cents);
}

struct strv session_tier(const struct xchg *x, struct strv told)
{
    return told.n == 0 && x->session ? noted_tier(x->session->noted.note) : told;
}

struct strv session_region(const struct xchg *x)
{
    return x->session && (x->session->noted.note & NOTE(US)) ? STRV("us") : STRV_NONE;
}

/* ---- the worst case ------------------------------------------------------------------- */

/* False where it is more than any limit counts. */
static bool money_of_cents(uint64_t cents, struct money *out)
{
    const uint64_t nano = NANO_PER_USD / 100;

    if (cents > LIMIT_VALUE_MAX / nano)
        return false;
    *out = money_join((int64_t)(cents * nano), 0);
    return true;
}

/* What the provider lets it cost from now on; false: it sets no bound that is known here. */
static bool own_limit(const struct xchg *x, struct money *out)
{
    struct strv id = x->route.path_id;
    uint64_t cents = x->facts.session_cents, spent;

    if (id.n > 0)
        cents = collect_noted(x, id, "limit");
    spent = id.n > 0 ? collect_noted(x, id, SUMS[SUM_CENTS].name) : 0;
    return cents > 0 && money_of_cents(cents > spent ? cents - spent : 0, out);
}

bool session_worst(const struct xchg *x, const struct price_query *tokens, bool priced,
                   struct money *most)
{
    struct price_query query = *tokens;
    struct cost cost;

    if (own_limit(x, most))
        return true;
    memset(&query.quantities, 0, sizeof(query.quantities));
    query.quantities.n[METER_SESSION_SEC] = ASSUMED_MS;
    price_usage(x->config->book, &query, &cost);
    if (priced && cost.status != PRICE_NONE)
        *most = money_add(*most, cost.contracted);
    return priced;
}

/* The answer tells of the work that the call itself began, to its end. */
static bool tells_end(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    return x->answer.is_stream && seen->is_at_rest && seen->has_usage;
}

/* What it tells is counted here.  Of what the call itself sets to work it is told, and counted,
 * later, but where its answer tells all of it. */
static bool tells_so_far(const struct xchg *x)
{
    return x->route.endpoint->kind == ENDPOINT_FETCHED || !x->facts.sets_to_work ||
           tells_end(x);
}

/* Of the session that this call made others were told, while its own answer still went on, that
 * it is at rest. */
static bool rests_already(const struct xchg *x)
{
    uint64_t since = collect_noted(x, name_of(x), "rest");

    return x->answer.is_stream && x->route.path_id.n == 0 &&
           since >= (uint64_t)x->start_wall_us;
}

bool session_hold(struct xchg *x)
{
    struct uuid work;

    if (x->route.endpoint->kind != ENDPOINT_METERED || !x->facts.sets_to_work ||
        !x->upstream_tried || x->upstream_status >= 300 || tells_end(x) || rests_already(x))
        return false;
    if (!noted_work(x, name_of(x), "run", &work)) {
        work = x->id;
        work.b[6] = (unsigned char)((work.b[6] & 0x0f) | 0x80);
    }
    collect_release(x, &work); /* the newest stands for all */
    limiter_hold(x->worker->limiter, &x->admission, &work);
    return true;
}

/* ---- what it took ---------------------------------------------------------------------- */

/* So far, by the answer. */
static uint64_t sum_told(const struct tap_result *seen, enum sum sum)
{
    const struct usage *u = &seen->usage;
    uint64_t parts = u->n[USAGE_CACHE_READ] + u->n[USAGE_CACHE_WRITE_5M] +
                     u->n[USAGE_CACHE_WRITE_1H];
    money_int atto;

    if (sum == SUM_INPUT)
        return u->n[USAGE_INPUT] > parts ? u->n[USAGE_INPUT] - parts : 0;
    if (sum == SUM_OUTPUT)
        return u->n[USAGE_OUTPUT] - u->n[USAGE_REASONING]; /* a part of it */
    if (sum != SUM_CENTS)
        return u->n[SUMS[sum].field];
    if (!seen->has_provider_cost)
        return 0;
    atto = money_join(seen->provider_cost_atto_hi, seen->provider_cost_atto_lo).atto;
    for (int i = 0; i < ATTO_PER_CENT_PLACES; i++)
        atto /= 10;
    return atto > 0 && atto < (money_int)USAGE_MAX_COUNT ? (uint64_t)atto : 0;
}

static void claim_rise(struct xchg *x, struct rise *rise)
{
    rise->claim.verdict = WORK_PENDING;
    rise->claim.wake = on_verdict;
    rise->claim.arg = x;
    limiter_claim(x->worker->limiter, &rise->claim);
}

/* A dream does not tell for how long it wrote to the cache, and its session does: told together,
 * they are counted together from then on. */
static void join_writes(struct xchg *x, const struct tap_result *seen, uint64_t told[SUM_COUNT])
{
    uint64_t known = collect_noted(x, sums_of(x), SUMS[SUM_WRITE_1H].name);

    if (seen->kept_id[0] != '\0' && collect_noted(x, sums_of(x), "dream") == 0)
        collect_note(x, sums_of(x), "dream", 1);
    if (collect_noted(x, sums_of(x), "dream") == 0)
        return;
    told[SUM_WRITE_5M] += told[SUM_WRITE_1H];
    told[SUM_WRITE_5M] -= known < told[SUM_WRITE_5M] ? known : told[SUM_WRITE_5M];
    told[SUM_WRITE_1H] = 0;
}

/* What came to `to` under the name. */
static void start_claim(struct xchg *x, struct rise *rise, struct strv name, const char *what,
                        uint64_t to)
{
    struct collected *collected = server_collected(x->worker->server);
    uint64_t key = collect_note_key(x, name, what);

    rise->claim.to = to;
    if (to == 0 || !noted_work(x, name, what, &rise->claim.work) ||
        !collected_rise(collected, key, to, &rise->claim.from))
        return;
    collected_note(collected, key, rise->claim.from, to, &x->id);
    rise->key = key;
    claim_rise(x, rise);
}

static void claim_searches(struct xchg *x)
{
    struct session *s = x->session;
    size_t n = 0;

    while (tap_search(x->tap, n).n > 0)
        n++;
    if (n > 0)
        s->searches = arena_alloc(&x->arena, n * sizeof(*s->searches));
    if (!s->searches)
        return;
    s->n_searches = n;
    memset(s->searches, 0, n * sizeof(*s->searches));
    for (size_t i = 0; i < n; i++)
        start_claim(x, &s->searches[i], tap_search(x->tap, i), "search", 1);
}

static void start_claims(struct xchg *x, const struct tap_result *seen)
{
    uint64_t told[SUM_COUNT];

    for (unsigned i = 0; i < SUM_COUNT; i++)
        told[i] = sum_told(seen, (enum sum)i);
    join_writes(x, seen, told);
    for (unsigned i = 0; i < SUM_COUNT; i++)
        start_claim(x, &x->session->rises[i], sums_of(x), SUMS[i].name, told[i]);
    claim_searches(x);
}

/* True while others may still say that they have counted some of it. */
static bool is_pending(struct xchg *x, struct rise *rise)
{
    struct collected *collected = server_collected(x->worker->server);
    uint64_t before;

    while (rise->key != 0 && !rise->told) {
        if (rise->claim.verdict == WORK_PENDING)
            return true;
        rise->told = true;
        if (rise->claim.verdict != WORK_OTHERS)
            continue;
        rise->claim.from = rise->claim.to;
        if (rise->claim.others >= rise->claim.to) {
            (void)collected_rise(collected, rise->key, rise->claim.known, &before);
        } else if (++rise->tries == CLAIMS_MAX) { /* for the next look */
            collected_set(collected, rise->key, rise->claim.others);
            collected_void(collected, rise->key, &x->id);
        } else {
            rise->told = false;
            rise->claim.from = rise->claim.others;
            claim_rise(x, rise);
        }
    }
    return false;
}

static bool tells_sums(const struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);

    return x->upstream_status / 100 == 2 && seen->is_session &&
           (seen->has_usage || tap_search(x->tap, 0).n > 0) && name_of(x).n > 0 &&
           tells_so_far(x);
}

bool session_ask(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    struct rise *rise;
    bool pending = false;

    if (!x->session->claimed) {
        x->session->claimed = true;
        if (!tells_sums(x))
            return false;
        start_claims(x, seen);
    }
    for (size_t i = 0; (rise = rise_at(x->session, i)) != NULL; i++)
        pending = is_pending(x, rise) || pending;
    return pending;
}

void session_cancel(struct xchg *x)
{
    struct rise *rise;

    if (!x->session)
        return;
    noted_cancel(&x->session->noted);
    for (size_t i = 0; (rise = rise_at(x->session, i)) != NULL; i++) {
        if (rise->key != 0)
            limiter_claim_cancel(&rise->claim);
    }
}

/* By how much a sum rose, for this exchange to count. */
static uint64_t by(const struct rise *rise)
{
    return rise->key != 0 ? rise->claim.to - rise->claim.from : 0;
}

static uint64_t risen(const struct session *s, enum sum sum)
{
    uint64_t n = by(&s->rises[sum]);

    for (size_t i = 0; sum == SUM_SEARCHES && i < s->n_searches; i++)
        n += by(&s->searches[i]);
    return n;
}

bool session_count(struct xchg *x, struct usage *out)
{
    const struct session *s = x->session;
    uint64_t parts = risen(s, SUM_READ) + risen(s, SUM_WRITE_5M) + risen(s, SUM_WRITE_1H);
    bool any = parts > 0;

    *out = (struct usage){.has = 0};
    for (unsigned i = 0; i < SUM_COUNT; i++) {
        if (i == SUM_CENTS || risen(s, (enum sum)i) == 0)
            continue;
        usage_set(out, SUMS[i].field, risen(s, (enum sum)i));
        any = true;
    }
    if (parts > 0)
        usage_set(out, USAGE_INPUT, risen(s, SUM_INPUT) + parts);
    if (risen(s, SUM_REASONING) > 0)
        usage_set(out, USAGE_OUTPUT, risen(s, SUM_OUTPUT) + risen(s, SUM_REASONING));
    if (any) /* also where it is 0: the counts are of a session */
        usage_set(out, USAGE_SESSION_MS, risen(s, SUM_MS));
    return any;
}

bool session_provider_cost(const struct xchg *x, struct money *out)
{
    uint64_t cents = risen(x->session, SUM_CENTS);

    return cents > 0 && money_of_cents(cents, out);
}

void session_rests(struct xchg *x)
{
    const struct tap_result *seen = settle_seen(x);
    struct uuid work;

    if (!seen->is_at_rest || x->upstream_status / 100 != 2 || !tells_so_far(x) ||
        !noted_work(x, name_of(x), "run", &work))
        return;
    collected_set(server_collected(x->worker->server), collect_note_key(x, name_of(x), "rest"),
                  (uint64_t)clock_wall_us());
    collect_release(x, &work);
}

bool session_is_mixed(const struct xchg *x)
{
    return x->session && (x->session->noted.note & NOTE(MIXED)) != 0;
}
