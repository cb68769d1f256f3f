#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "proxy/tags.h"
#include "tests/unit/proxy/request_head.h"

#define VALUE(n, v)                                                                            \
    {                                                                                          \
        .name = {n, sizeof(n) - 1}, .value = { v, sizeof(v) - 1 }                              \
    }
#define LOCKED(n, v)                                                                           \
    {                                                                                          \
        .name = {n, sizeof(n) - 1}, .value = {v, sizeof(v) - 1}, .locked = true                \
    }

static struct config config;
static struct key_config key;
static struct arena arena;
static struct request_tags tags;
static struct tags_refusal refusal;

static bool read_tags(const char *lines)
{
    struct http1_head head;

    request_head(&head, lines);
    arena_reset(&arena);
    memset(&refusal, 0, sizeof(refusal));
    return tags_read(&config, &key, &head, &arena, &tags, &refusal);
}

static int setup(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&key, 0, sizeof(key));
    key.name = (char *)(uintptr_t) "k1";
    memset(config.user_salt, 7, sizeof(config.user_salt));
    arena_init(&arena, 1 << 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void expect(const char *name, const char *value)
{
    struct strv got = subject_value(&tags.subject, strv_z(name));

    if (!strv_eq(got, strv_z(value)))
        fail_msg("%s is \"" STRV_FMT "\", not \"%s\"", name, STRV_ARG(got), value);
}

/* What the caller says, from every place. */
static void test_sources(void **state)
{
    static const struct {
        const char *lines, *name, *value;
        bool aliases;
    } cases[] = {
        {"X-Tollgate-Team: search\n", "team", "search", false},
        {"x-tollgate-feature: f\n", "feature", "f", false},
        {"X-Tollgate-Environment: prod\n", "environment", "prod", false},
        {"X-Tollgate-Task: t-1\n", "task", "t-1", false},
        {"X-Tollgate-Task-Type: triage\n", "task_type", "triage", false},
        {"X-Tollgate-Customer: ACME \xc3\xa9\n", "customer", "ACME \xc3\xa9", false},
        {"X-Tollgate-Team:\n", "team", "", false},
        {"X-Tollgate-Tags: a=1, b = 2 ,,c=x%2Cy%25\n", "c", "x,y%", false},
        {"X-Tollgate-Tags: a=1, b = 2\n", "b", "2", false},
        {"X-Tollgate-Tags: a=x=y\n", "a", "x=y", false},
        {"X-Tollgate-Tags: a=1\nX-Tollgate-Tags: b=2\n", "b", "2", false},
        {"X-Tollgate-Tags: a=1, a=1\n", "a", "1", false},
        {"X-Tollgate-Tags: team=search\n", "team", "search", false},
        {"X-Tollgate-Team: own\nX-Tollgate-Tags: team=list\n", "team", "own", false},
        {"X-Tollgate-Tags: team=list\nX-Tollgate-Team: own\n", "team", "own", false},
        {"baggage: x=1,tollgate.team=b%20c;p=1, tollgate.zone=eu\n", "team", "b c", false},
        {"baggage: x=1,tollgate.team=b, tollgate.zone=eu\n", "zone", "eu", false},
        {"baggage: x=%zz,team=b\n", "team", "", false},
        {"baggage: tollgate.team=b\nX-Tollgate-Team: own\n", "team", "own", false},
        {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", "task",
         "0af7651916cd43dd8448eb211c80319c", false},
        {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
         "X-Tollgate-Task: t\n",
         "task", "t", false},
        {"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\n", "task", "",
         false},
        {"traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", "task", "",
         false},
        {"traceparent: 00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", "task", "",
         false},
        {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x\n", "task", "",
         false},
        {"traceparent: 00\n", "task", "", false},
        {"Helicone-Property-App: x\n", "app", "", false},
        {"Helicone-Property-App: x\n", "app", "x", true},
        {"Helicone-Property-Team: x\n", "team", "x", true},
        {"Helicone-Property-Team: x\nX-Tollgate-Team: own\n", "team", "own", true},
        {"Helicone-Session-Id: s1\n", "task", "s1", true},
        {"Helicone-Session-Id: s1\n"
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
         "task", "s1", true},
        {"x-portkey-metadata: {\"Team\":\"p\",\"n\":3,\"b\":true,\"z\":null}\n", "team", "p",
         true},
        {"x-portkey-metadata: {\"Team\":\"p\",\"n\":3,\"b\":true,\"z\":null}\n", "n", "3",
         true},
        {"x-portkey-metadata: {\"Team\":\"p\",\"n\":3,\"b\":true,\"z\":null}\n", "b", "true",
         true},
        {"x-portkey-metadata: {broken\n", "team", "", false},
        {"cf-aig-metadata: {\"user_tier\":\"gold\"}\n", "user_tier", "gold", true},
        {"x-litellm-tags: batch, job:42,env=x\n", "batch", "true", true},
        {"x-litellm-tags: batch, job:42,env=x\n", "job", "42", true},
        {"x-litellm-tags: batch, job:42,env=x\n", "env", "x", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        config.tags.aliases = cases[i].aliases;
        if (!read_tags(cases[i].lines))
            fail_msg("%s: %s", cases[i].lines, refusal.message);
        expect(cases[i].name, cases[i].value);
    }
}

static void test_faults(void **state)
{
    static const struct {
        const char *lines, *named;
    } cases[] = {
        {"X-Tollgate-Team: a\nX-Tollgate-Team: b\n", "\"team\""},
        {"X-Tollgate-Team: a\x01\n", "\"team\""},
        {"X-Tollgate-Feature: \xff\n", "\"feature\""},
        {"X-Tollgate-Tags: novalue\n", "\"novalue\""},
        {"X-Tollgate-Tags: Caps=1\n", "\"Caps\""},
        {"X-Tollgate-Tags: a b=1\n", "\"a b\""},
        {"X-Tollgate-Tags: =1\n", "\"\""},
        {"X-Tollgate-Tags: a=1,a=2\n", "\"a\""},
        {"X-Tollgate-Tags: a=%\n", "\"a\""},
        {"X-Tollgate-Tags: a=%0\n", "\"a\""},
        {"X-Tollgate-Tags: a=%0g\n", "\"a\""},
        {"X-Tollgate-Tags: a=%00\n", "\"a\""},
        {"X-Tollgate-Tags: a=%0d%0a\n", "\"a\""},
        {"X-Tollgate-Tags: model=x\n", "\"model\""},
        {"X-Tollgate-Tags: key=x\n", "\"key\""},
        {"X-Tollgate-Attempt: 0\n", "\"attempt\""},
        {"X-Tollgate-Attempt: -1\n", "\"attempt\""},
        {"X-Tollgate-Attempt: 1000001\n", "\"attempt\""},
        {"X-Tollgate-Attempt: 1\nX-Tollgate-Attempt: 2\n", "\"attempt\""},
        {"baggage: tollgate.Team=x\n", "\"Team\""},
        {"baggage: tollgate.team=%zz\n", "\"team\""},
        {"x-portkey-metadata: [1]\n", "x-portkey-metadata"},
        {"x-portkey-metadata: {\"a\":{}}\n", "x-portkey-metadata"},
        {"cf-aig-metadata: {\"a\":1}x\n", "cf-aig-metadata"},
        {"x-litellm-tags: two words\n", "\"two words\""},
    };

    (void)state;
    config.tags.aliases = true;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (read_tags(cases[i].lines))
            fail_msg("accepted: %s", cases[i].lines);
        assert_int_equal(refusal.code, REFUSE_INVALID_TAG);
        if (!strstr(refusal.message, cases[i].named))
            fail_msg("%s: %s", cases[i].lines, refusal.message);
    }
}

/* The named maxima, one below and one above. */
static void test_bounds(void **state)
{
    char lines[20000];
    size_t n;

    (void)state;
    n = (size_t)snprintf(lines, sizeof(lines), "X-Tollgate-Team: ");
    memset(lines + n, 'v', TAG_VALUE_MAX_BYTES + 1);
    lines[n + TAG_VALUE_MAX_BYTES] = '\0';
    assert_true(read_tags(lines));
    lines[n + TAG_VALUE_MAX_BYTES] = 'v';
    lines[n + TAG_VALUE_MAX_BYTES + 1] = '\0';
    assert_false(read_tags(lines));

    n = (size_t)snprintf(lines, sizeof(lines), "X-Tollgate-Tags: ");
    memset(lines + n, 'n', TAG_NAME_MAX_BYTES + 1);
    memcpy(lines + n + TAG_NAME_MAX_BYTES, "=1", 3);
    assert_true(read_tags(lines));
    memcpy(lines + n + TAG_NAME_MAX_BYTES, "n=1", 4);
    assert_false(read_tags(lines));

    n = (size_t)snprintf(lines, sizeof(lines), "X-Tollgate-Tags: ");
    for (int i = 0; i < FREE_TAGS_MAX; i++)
        n += (size_t)snprintf(lines + n, sizeof(lines) - n, "t%02d=%d,", FREE_TAGS_MAX - i, i);
    assert_true(read_tags(lines));
    assert_int_equal(tags.subject.n_free, FREE_TAGS_MAX);
    for (unsigned i = 1; i < tags.subject.n_free; i++)
        assert_true(strv_cmp(tags.subject.free[i - 1].name, tags.subject.free[i].name) < 0);
    snprintf(lines + n, sizeof(lines) - n, "more=1");
    assert_false(read_tags(lines));
    assert_non_null(strstr(refusal.message, "16"));

    n = (size_t)snprintf(lines, sizeof(lines), "X-Tollgate-Tags: a=1");
    memset(lines + n, ',', TAGS_HEADER_MAX_BYTES);
    lines[n + TAGS_HEADER_MAX_BYTES] = '\0';
    assert_false(read_tags(lines));
}

static void test_precedence(void **state)
{
    static struct tag_value of_key[] = {LOCKED("team", "locked"), VALUE("feature", "kf"),
                                        VALUE("zone", "kz"), LOCKED("plan", "gold")};
    static struct tag_value defaults[] = {VALUE("team", "dt"), VALUE("feature", "df"),
                                          VALUE("environment", "dev"), VALUE("zone", "dz"),
                                          VALUE("site", "ds")};

    (void)state;
    key.tags = of_key;
    key.n_tags = 4;
    config.tags.defaults = defaults;
    config.tags.n_defaults = 5;
    assert_true(read_tags("X-Tollgate-Team: mine\nX-Tollgate-Tags: plan=free\n"));
    expect("team", "locked");
    expect("feature", "kf");
    expect("environment", "dev");
    expect("zone", "kz");
    expect("plan", "gold");
    expect("site", "ds");
    expect("customer", "");
    expect("key", "k1");
    assert_int_equal(tags.subject.source[DIM_TEAM], TAG_SOURCE_KEY);
    assert_int_equal(tags.subject.source[DIM_FEATURE], TAG_SOURCE_KEY);
    assert_int_equal(tags.subject.source[DIM_ENVIRONMENT], TAG_SOURCE_DEFAULT);
    assert_int_equal(tags.subject.source[DIM_CUSTOMER], TAG_SOURCE_NONE);
    assert_true(
        read_tags("X-Tollgate-Feature: f\nX-Tollgate-Tags: zone=us, environment=prod\n"));
    expect("feature", "f");
    expect("zone", "us");
    expect("environment", "prod");
    assert_int_equal(tags.subject.source[DIM_FEATURE], TAG_SOURCE_HEADER);
    assert_int_equal(tags.subject.source[DIM_ENVIRONMENT], TAG_SOURCE_HEADER);
}

static void test_allowed(void **state)
{
    static struct strv config_values[] = {{"prod", 4}, {"dev", 3}};
    static struct strv key_values[] = {{"team-*", 6}};
    static struct tag_allowed config_lists[] = {{{"environment", 11}, config_values, 2}};
    static struct tag_allowed key_lists[] = {{{"team", 4}, key_values, 1}};

    (void)state;
    config.tags.allowed = config_lists;
    config.tags.n_allowed = 1;
    key.allowed = key_lists;
    key.n_allowed = 1;
    assert_true(read_tags(""));
    assert_true(read_tags("X-Tollgate-Environment: dev\nX-Tollgate-Team: team-a\n"));
    assert_false(read_tags("X-Tollgate-Environment: test\n"));
    assert_int_equal(refusal.code, REFUSE_TAG_NOT_ALLOWED);
    assert_non_null(strstr(refusal.message, "environment"));
    assert_false(read_tags("X-Tollgate-Team: b\n"));
    assert_int_equal(refusal.code, REFUSE_TAG_NOT_ALLOWED);
}

static void test_required(void **state)
{
    static struct strv required[] = {{"team", 4}, {"cost-centre", 11}};

    (void)state;
    config.tags.required = required;
    config.tags.n_required = 2;
    assert_true(read_tags(""));
    config.tags.on_missing = ON_MISSING_REJECT;
    assert_false(read_tags("X-Tollgate-Tags: cost-centre=1\n"));
    assert_int_equal(refusal.code, REFUSE_MISSING_TAG);
    assert_non_null(strstr(refusal.message, "X-Tollgate-Team"));
    assert_false(read_tags("X-Tollgate-Team: a\n"));
    assert_non_null(strstr(refusal.message, "cost-centre"));
    assert_true(read_tags("X-Tollgate-Team: a\nX-Tollgate-Tags: cost-centre=1\n"));
}

static void test_attempt(void **state)
{
    (void)state;
    assert_true(read_tags(""));
    assert_int_equal(tags.attempt, 0);
    assert_true(read_tags("X-Stainless-Retry-Count: 0\n"));
    assert_int_equal(tags.attempt, 1);
    assert_true(read_tags("X-Stainless-Retry-Count: 2\n"));
    assert_int_equal(tags.attempt, 3);
    assert_true(read_tags("X-Stainless-Retry-Count: many\n"));
    assert_int_equal(tags.attempt, 0);
    assert_true(read_tags("X-Stainless-Retry-Count: 2\nX-Tollgate-Attempt: 7\n"));
    assert_int_equal(tags.attempt, 7);
    assert_true(read_tags("X-Tollgate-Attempt: 7\nX-Stainless-Retry-Count: 2\n"));
    assert_int_equal(tags.attempt, 7);
    assert_true(read_tags("amz-sdk-request: attempt=1\n"));
    assert_int_equal(tags.attempt, 1);
    assert_true(read_tags("amz-sdk-request: ttl=20261122T000000Z; attempt=2; max=3\n"));
    assert_int_equal(tags.attempt, 2);
    assert_true(read_tags("amz-sdk-request: attempt=0; max=attempt=4; attempt=x\n"));
    assert_int_equal(tags.attempt, 0);
    assert_true(read_tags("amz-sdk-request: attempt=2\nX-Tollgate-Attempt: 7\n"));
    assert_int_equal(tags.attempt, 7);
}

/* A user is never kept as such, and hashes differ by salt alone. */
static void test_user(void **state)
{
    char first[TAGS_USER_HEX_BYTES + 1], second[TAGS_USER_HEX_BYTES + 1];

    (void)state;
    assert_true(read_tags("X-Tollgate-User: alice@example.com\n"));
    assert_int_equal(tags.subject.dim[DIM_USER].n, TAGS_USER_HEX_BYTES);
    tags_hash_user(config.user_salt, STRV("alice@example.com"), first);
    expect("user", first);
    memset(config.user_salt, 8, sizeof(config.user_salt));
    tags_hash_user(config.user_salt, STRV("alice@example.com"), second);
    assert_string_not_equal(first, second);
}

static void test_key_lists(void **state)
{
    static struct strv models[] = {{"gpt-4o*", 7}, {"claude-*", 8}};
    static struct strv upstreams[] = {{"openai", 6}};

    (void)state;
    assert_true(key_allows_model(&key, STRV("any")));
    assert_true(key_allows_model(&key, STRV_NONE));
    assert_true(key_allows_upstream(&key, STRV("any")));
    key.models = models;
    key.n_models = 2;
    key.upstreams = upstreams;
    key.n_upstreams = 1;
    assert_true(key_allows_model(&key, STRV("gpt-4o-mini")));
    assert_true(key_allows_model(&key, STRV("claude-x")));
    assert_false(key_allows_model(&key, STRV("gpt-4")));
    assert_false(key_allows_model(&key, STRV_NONE));
    assert_true(key_allows_upstream(&key, STRV("openai")));
    assert_false(key_allows_upstream(&key, STRV("openai2")));
}

/* A full arena is a refusal, never a crash or a silent loss. */
static void test_full_arena(void **state)
{
    struct http1_head head;

    (void)state;
    request_head(&head, "X-Tollgate-Team: team\nX-Tollgate-Tags: a=1%20,b=2\n"
                        "X-Tollgate-User: u\n");
    for (size_t max = 0;; max += 8) {
        struct arena small;
        bool good;

        arena_init(&small, max);
        good = tags_read(&config, &key, &head, &small, &tags, &refusal);
        arena_release(&small);
        if (good)
            break;
        assert_int_equal(refusal.code, REFUSE_INVALID_TAG);
        assert_true(max < 4096);
    }
}

/* Values, which may be personal, are in no message. */
static void test_canary(void **state)
{
    static const char *const lines[] = {
        "X-Tollgate-User: CANARY\x01\n",
        "X-Tollgate-Tags: a=CANARY,a=CANARY2\n",
        "X-Tollgate-Tags: a=CANARY%\n",
        "X-Tollgate-Attempt: CANARY\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_false(read_tags(lines[i]));
        assert_null(strstr(refusal.message, "CANARY"));
    }
}

int main(void)
{
#define WITH_KEY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_KEY(test_sources),    WITH_KEY(test_faults),  WITH_KEY(test_bounds),
        WITH_KEY(test_precedence), WITH_KEY(test_allowed), WITH_KEY(test_required),
        WITH_KEY(test_attempt),    WITH_KEY(test_user),    WITH_KEY(test_key_lists),
        WITH_KEY(test_full_arena), WITH_KEY(test_canary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
