#include <stdio.h>

#include "base/digest.h"
#include "metering/limits/limit_int.h"
#include "tests/unit/limits/util.h"

static void test_names(void **state)
{
    static const struct {
        const char *text;
        bool good, rolling;
        enum period period;
        int64_t seconds;
    } windows[] = {{"hour", true, false, PERIOD_HOUR, 0},
                   {"day", true, false, PERIOD_DAY, 0},
                   {"week", true, false, PERIOD_WEEK, 0},
                   {"month", true, false, PERIOD_MONTH, 0},
                   {"quarter", true, false, PERIOD_QUARTER, 0},
                   {"year", true, false, PERIOD_YEAR, 0},
                   {"total", true, false, PERIOD_TOTAL, 0},
                   {"1s", true, true, PERIOD_TOTAL, 1},
                   {"60s", true, true, PERIOD_TOTAL, 60},
                   {"31622400s", true, true, PERIOD_TOTAL, 31622400},
                   {"31622401s", false, false, 0, 0},
                   {"0s", false, false, 0, 0},
                   {"s", false, false, 0, 0},
                   {"60", false, false, 0, 0},
                   {"-1s", false, false, 0, 0},
                   {"1 s", false, false, 0, 0},
                   {"Day", false, false, 0, 0},
                   {"", false, false, 0, 0},
                   {"99999999999999999999s", false, false, 0, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        bool rolling;
        enum period period;
        int64_t seconds;
        bool good = limit_window_parse(strv_z(windows[i].text), &rolling, &period, &seconds);

        if (good != windows[i].good)
            fail_msg("\"%s\"", windows[i].text);
        if (!good)
            continue;
        assert_int_equal(rolling, windows[i].rolling);
        assert_int_equal(period, windows[i].period);
        assert_int_equal(seconds, windows[i].seconds);
    }
    for (int u = 0; u < UNIT_COUNT; u++) {
        enum limit_unit unit;

        assert_true(limit_unit_parse(strv_z(limit_unit_name((enum limit_unit)u)), &unit));
        assert_int_equal(unit, u);
    }
    assert_false(limit_unit_parse(STRV("dollars"), &(enum limit_unit){0}));
}

/* A scope tells what it was made of, or that it does not. */
static void check_values(const struct limit_def *def, const struct subject *s, struct strv scope)
{
    struct strv values[DIM_COUNT + FREE_TAGS_MAX];
    bool is_hashed = false;
    struct arena arena;
    enum rc rc;

    for (size_t i = 0; i + 7 <= scope.n; i++)
        is_hashed |= strv_starts(strv_skip(scope, i), STRV("sha256="));
    arena_init(&arena, 64 << 10);
    rc = limit_scope_values(def, scope, &arena, values);
    assert_int_equal(rc, is_hashed ? RC_BAD : RC_OK);
    for (size_t i = 0; rc == RC_OK && i < def->n_per; i++) {
        enum dimension dim;
        bool is_dim = dimension_parse(def->per[i], &dim);

        assert_true(strv_eq(values[i], is_dim ? s->dim[dim] : subject_value(s, def->per[i])));
    }
    arena_release(&arena);
}

/* One limit's claim for a subject, as "key", or "" where it does not match. */
static void claim_text(const struct limit_def *def, const struct subject *s, const char *time,
                       char *out, size_t size)
{
    struct zone *zone = zone_open("Europe/Berlin");
    struct limit_set *set = limit_set_new(def, 1, zone);
    struct request r;

    request_init(&r, set, s, amounts(1, 1, 1, 1), time_of(time));
    snprintf(out, size, STRV_FMT, STRV_ARG(r.a.n_claims ? r.a.claims[0].key : STRV_NONE));
    if (r.a.n_claims) {
        assert_true(strv_ends(r.a.claims[0].key, r.a.claims[0].scope));
        check_values(def, s, r.a.claims[0].scope);
        assert_int_equal(r.a.n_claims, 1);
    }
    request_fini(&r);
    limit_set_free(set);
    zone_close(zone);
}

/* The name of the key's limit is of one byte: behind it stands what its match is. */
static void with_match(const struct limit_def *def, const char *key, char out[LIMIT_KEY_MAX_BYTES])
{
    unsigned char inner[SHA256_BYTES], outer[SHA256_BYTES];
    char raw[TAG_NAME_MAX_BYTES + 1 + SHA256_BYTES], hex[17];
    struct strv name = def->match[0].name;

    (void)snprintf(out, LIMIT_KEY_MAX_BYTES, "%s", key);
    if (def->n_match == 0 || !key[0])
        return;
    digest_sha256(def->match[0].value, inner);
    memcpy(raw, name.p, name.n);
    raw[name.n] = '=';
    memcpy(raw + name.n + 1, inner, SHA256_BYTES);
    digest_sha256(strv_make(raw, name.n + 1 + SHA256_BYTES), outer);
    digest_hex(outer, 8, hex);
    (void)snprintf(out, LIMIT_KEY_MAX_BYTES, "%.1s=m%s%s", key, hex, key + 1);
}

static void test_claims(void **state)
{
    static const struct {
        const char *match, *glob; /* NULL: matches all */
        const char *per[3];
        enum limit_unit unit;
        const char *window;
        const char *key;
    } rows[] = {
        {NULL, NULL, {NULL}, UNIT_USD, "total", "n:usd:total:-:"},
        /* midnight in Berlin on the day that daylight saving began */
        {NULL, NULL, {NULL}, UNIT_USD, "day", "n:usd:day:1774738800:"},
        {NULL, NULL, {NULL}, UNIT_TOKENS, "60s", "n:tokens:60s:-:"},
        {NULL, NULL, {NULL}, UNIT_CONCURRENT, NULL, "n:concurrent:-:-:"},
        {"team",
         "search",
         {"team", "feature"},
         UNIT_USD,
         "total",
         "n:usd:total:-:team=search,feature=(none)"},
        {"team", "sea*", {"x"}, UNIT_USD, "total", "n:usd:total:-:x=%28none)"},
        {"team", "billing", {NULL}, UNIT_USD, "total", ""},
        {"feature", "*", {NULL}, UNIT_USD, "total", ""}, /* absent: matches nothing */
        {"x", "(none)", {"key"}, UNIT_USD, "total", "n:usd:total:-:key=a%2Cb%3Dc%25d%3Ae"},
        {"nosuch", "*", {NULL}, UNIT_USD, "total", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct limit_def def = def_of("n", rows[i].unit, 1, rows[i].window);
        struct subject s = subject_of("search", "a,b=c%d:e");
        char key[LIMIT_KEY_MAX_BYTES + 1], wanted[LIMIT_KEY_MAX_BYTES + 1];

        s.free[0] = (struct tag){STRV("x"), STRV("(none)")};
        s.n_free = 1;
        if (rows[i].match)
            def.match[def.n_match++] =
                (struct tag){strv_z(rows[i].match), strv_z(rows[i].glob)};
        for (int k = 0; k < 3 && rows[i].per[k]; k++)
            def.per[def.n_per++] = strv_z(rows[i].per[k]);
        claim_text(&def, &s, "2026-03-29T12:00:00Z", key, sizeof(key));
        with_match(&def, rows[i].key, wanted);
        assert_string_equal(key, wanted);
    }
}

/* What one set's limit is to another that takes its place; 0: it goes on. */
static size_t followed(const struct limit_def *before, const char *zone_before,
                       const struct limit_def *after, const char *zone_after)
{
    struct zone *zones[] = {zone_open(zone_before), zone_open(zone_after)};
    struct limit_set *old = limit_set_new(before, 1, zones[0]),
                     *set = limit_set_new(after, 1, zones[1]);
    size_t n = limit_set_follow(set, old, time_of("2026-03-29T12:00:00Z"), 7);

    assert_int_equal(limit_set_is_new(set, 0), n);
    assert_int_equal(limit_set_state(set, 0), n ? LIMIT_UNKNOWN : LIMIT_KNOWN);
    limit_set_free(old);
    limit_set_free(set);
    zone_close(zones[0]);
    zone_close(zones[1]);
    return n;
}

static void test_follow(void **state)
{
    struct limit_def def = def_of("n", UNIT_USD, 1, "day"), other;

    (void)state;
    def.match[def.n_match++] = (struct tag){STRV("team"), STRV("search")};
    def.match[def.n_match++] = (struct tag){STRV("x"), STRV("1")};
    def.per[def.n_per++] = STRV("team");
    other = def;
    other.limit = 2; /* as do mode and the like, it leaves the counters */
    other.mode = LIMIT_WARN;
    other.match[0] = def.match[1];
    other.match[1] = def.match[0];
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 0);
    assert_int_equal(followed(&def, "UTC", &other, "Etc/UTC"), 0);
    assert_int_equal(followed(&def, "UTC", &other, "Asia/Kathmandu"), 1);
    other.name = "m";
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 1);
    other = def;
    other.unit = UNIT_TOKENS;
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 1);
    other = def;
    other.period = PERIOD_MONTH;
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 1);
    other = def;
    other.match[1].value = STRV("2");
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 1);
    other = def;
    other.n_per = 0;
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 1);
    other = def;
    other.unit = UNIT_CONCURRENT; /* nothing of it is spent: nothing is to be told */
    assert_int_equal(followed(&def, "UTC", &other, "UTC"), 0);
}

/* What a request that ended late owes a set beside what it was charged to. */
static void test_late(void **state)
{
    struct limit_def defs[2] = {def_of("old", UNIT_USD, 1, "day"), def_of("new", UNIT_USD, 1, "day")};
    struct zone *utc = zone_open("UTC");
    struct limit_set *before = limit_set_new(defs, 1, utc), *set = limit_set_new(defs, 2, utc);
    struct subject s = subject_of("search", "chat");
    const struct admission *charged[1];
    struct late_request request = {.start_us = time_of("2026-03-29T12:00:00Z"),
                                   .charged = charged,
                                   .n_charged = 1};
    struct admission own = {0}, late = {0};
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    request.ended_us = request.start_us + 1000;
    assert_int_equal(admission_init(&own, before, &s, &(struct limit_amounts){0}, &request.id,
                                    request.start_us, &arena),
                     RC_OK);
    charged[0] = &own;
    assert_int_equal(limit_set_follow(set, before, request.start_us, 3), 1);
    assert_false(admission_late(&late, set, &s, &request, &arena)); /* not told since when */
    limit_set_since(set, request.ended_us + 1);
    assert_false(admission_late(&late, set, &s, &request, &arena)); /* the ledger's */
    limit_set_since(set, request.ended_us);
    assert_true(admission_late(&late, set, &s, &request, &arena));
    assert_int_equal(late.n_claims, 1);
    assert_string_equal(limit_set_at(set, late.claims[0].limit)->name, "new");
    assert_non_null(strstr(late.claims[0].key.p, "new=i3:usd:day:"));
    assert_int_equal(admission_state(&late), LIMIT_UNKNOWN);
    limit_set_tell(set, LIMIT_KNOWN);
    assert_int_equal(admission_state(&late), LIMIT_KNOWN);
    arena_release(&arena);
    limit_set_free(before);
    limit_set_free(set);
    zone_close(utc);
}

static void test_scopes_of_others(void **state)
{
    static const char *const wrong[] = {"",         "team=a,",   "feature=a", "team=a,feature=b",
                                        "team",     "team=%2",   "team=%zz",  "team=(sha256=00)",
                                        "=a",       "sha256=00", "*"};
    struct limit_def def = def_of("n", UNIT_USD, 1, "total");
    struct strv value;
    struct arena arena;

    (void)state;
    def.per[def.n_per++] = STRV("team");
    arena_init(&arena, 64 << 10);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (limit_scope_values(&def, strv_z(wrong[i]), &arena, &value) != RC_BAD)
            fail_msg("\"%s\"", wrong[i]);
    }
    arena_release(&arena);
}

/* However long names and values are, keys are bounded and still tell scopes apart. */
static void test_long_scopes(void **state)
{
    static char name[300], value[2][TAG_VALUE_MAX_BYTES * 4];
    char key[4][LIMIT_KEY_MAX_BYTES + 1];
    struct limit_def def;
    struct subject s = {0};

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    memset(value[0], '%', sizeof(value[0]) - 1);
    memset(value[1], '%', sizeof(value[1]) - 1);
    value[1][700] = 'x';
    def = def_of(name, UNIT_USD, 1, "total");
    for (int d = 0; d < DIM_COUNT; d++)
        def.per[def.n_per++] = strv_z(dimension_name((enum dimension)d));
    for (int k = 0; k < 2; k++) {
        for (int d = 0; d < DIM_COUNT; d++)
            s.dim[d] = strv_make(value[0], TAG_VALUE_MAX_BYTES);
        s.dim[DIM_MODEL] = strv_z(value[k]);
        claim_text(&def, &s, "2026-03-29T12:00:00Z", key[k], sizeof(key[k]));
        def.n_per = 1; /* a single one over the maximum of a value */
        def.per[0] = STRV("model");
        claim_text(&def, &s, "2026-03-29T12:00:00Z", key[2 + k], sizeof(key[2 + k]));
        def.n_per = DIM_COUNT;
        def.per[0] = STRV("team");
    }
    assert_true(strlen(key[0]) <= LIMIT_KEY_MAX_BYTES);
    assert_non_null(strstr(key[0], ":sha256="));
    assert_non_null(strstr(key[2], "model=(sha256="));
    assert_string_not_equal(key[0], key[1]);
    assert_string_not_equal(key[2], key[3]);
}

static void test_maxima(void **state)
{
    struct limit_def defs[LIMIT_CLAIMS_MAX + 1];
    struct zone *zone = zone_open("UTC");
    struct subject s = subject_of("t", "k");
    struct limit_amounts worst = amounts(1, 1, 1, 1);
    struct limit_set *set;
    struct admission a = {0};
    struct arena arena, tiny;
    struct uuid id;

    (void)state;
    for (int i = 0; i <= LIMIT_CLAIMS_MAX; i++)
        defs[i] = def_of("same", UNIT_USD, UINT64_MAX, "total");
    arena_init(&arena, 1 << 16);
    arena_init(&tiny, 8);
    uuid7_make(&id, 0);
    set = limit_set_new(defs, LIMIT_CLAIMS_MAX, zone);
    assert_int_equal(limit_set_count(set), LIMIT_CLAIMS_MAX);
    assert_int_equal(limit_set_at(set, 0)->limit, LIMIT_VALUE_MAX);
    assert_int_equal(admission_init(&a, set, &s, &worst, &id, 0, &arena), RC_OK);
    assert_int_equal(a.n_claims, LIMIT_CLAIMS_MAX);
    /* the same name: counters of their own */
    assert_false(strv_eq(a.claims[0].key, a.claims[1].key));
    assert_int_equal(admission_init(&a, set, &s, &worst, &id, 0, &tiny), RC_LIMIT);
    limit_set_free(set);
    set = limit_set_new(defs, LIMIT_CLAIMS_MAX + 1, zone);
    assert_int_equal(admission_init(&a, set, &s, &worst, &id, 0, &arena), RC_LIMIT);
    limit_set_free(set);
    limit_set_free(NULL);
    arena_release(&arena);
    arena_release(&tiny);
    zone_close(zone);
}

/* Every instant falls in the window that the zone gives, also from the cache. */
static void test_windows(void **state)
{
    static const char *const windows[] = {"hour", "day", "week", "month", "quarter", "year"};
    struct zone *zone = zone_open("America/New_York");
    struct subject s = subject_of("t", "k");
    struct limit_def defs[6];
    struct limit_set *set;
    unsigned checked = 0;

    (void)state;
    for (int i = 0; i < 6; i++)
        defs[i] = def_of(windows[i], UNIT_USD, 1, windows[i]);
    set = limit_set_new(defs, 6, zone);
    for (int64_t at = time_of("2026-02-27T00:00:00Z"); at < time_of("2026-04-03T00:00:00Z");
         at += INT64_C(1717) * US_PER_SECOND) {
        for (int64_t jitter = -1; jitter <= 1; jitter++) { /* clocks of workers differ */
            struct request r;

            request_init(&r, set, &s, amounts(1, 1, 1, 1), at + jitter * 700 * US_PER_SECOND);
            for (int i = 0; i < 6; i++) {
                int64_t start, end;

                zone_period(zone, defs[i].period, at + jitter * 700 * US_PER_SECOND, &start,
                            &end);
                assert_int_equal(r.a.claims[i].start_us, start);
                assert_int_equal(r.a.claims[i].end_us, end);
                checked++;
            }
            request_fini(&r);
        }
    }
    print_message("%u windows\n", checked);
    limit_set_free(set);
    zone_close(zone);
}

/* A key is read back as the counter that it was made for, in its window alone. */
static void test_match_keys(void **state)
{
    struct zone *zone = zone_open("UTC");
    struct subject s = subject_of("t:1", "k");
    struct limit_def defs[] = {def_of("a", UNIT_USD, 1, "day"),
                               def_of("a:usd", UNIT_USD, 1, "day")};
    struct limit_set *set;
    int64_t now = time_of("2026-11-21T12:00:00Z");
    struct limit_counter c;
    struct request r;

    (void)state;
    defs[0].per[defs[0].n_per++] = STRV("team");
    set = limit_set_new(defs, 2, zone);
    request_init(&r, set, &s, amounts(1, 1, 1, 1), now);
    for (unsigned i = 0; i < 2; i++) {
        char key[LIMIT_KEY_MAX_BYTES];
        struct claim_ref ref;

        assert_true(limit_key_match(set, r.a.claims[i].key, now, &c));
        assert_int_equal(c.limit, i);
        assert_true(strv_eq(c.scope, r.a.claims[i].scope));
        assert_int_equal(c.start_us, r.a.claims[i].start_us);
        assert_true(limit_counter_ref(set, &c, key, &ref));
        assert_true(strv_eq(ref.key, r.a.claims[i].key));
        assert_false(limit_key_match(set, r.a.claims[i].key, now + US_PER_DAY, &c));
    }
    assert_false(limit_key_match(set, STRV("b:usd:day:0:"), now, &c));
    assert_false(limit_key_match(set, STRV(""), now, &c));
    request_fini(&r);
    limit_set_free(set);
    zone_close(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_claims),
        cmocka_unit_test(test_follow),      cmocka_unit_test(test_late),
        cmocka_unit_test(test_scopes_of_others),
        cmocka_unit_test(test_long_scopes), cmocka_unit_test(test_maxima),
        cmocka_unit_test(test_windows),     cmocka_unit_test(test_match_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
