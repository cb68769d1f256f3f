#include "tests/unit/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/log.h"
#include "proxy/auth.h"
#include "proxy/config.h"
#include "proxy/keys.h"
#include "proxy/config_fields.h"
#include "proxy/tags.h"
#include "tests/unit/proxy/scratch_dir.h"

/* A part of the book is enough, and quick. */
#define BOOK                                                                                   \
    "\"prices\": { \"book\": [\"%s/pricing/book/common.json\", "                               \
    "\"%s/pricing/book/openai.json\"] %s }"
#define UPSTREAM                                                                               \
    "{ \"name\": \"openai\", \"protocol\": \"openai\", \"base_url\": "                         \
    "\"https://api.openai.com\" }"

static struct scratch_dir dir;
static struct problems problems;

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    problems_init(&problems);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    problems_release(&problems);
    scratch_remove(&dir);
    return 0;
}

static struct config *load_text(const char *text)
{
    char path[256];

    problems_release(&problems);
    scratch_write(&dir, "config.json", text, strlen(text));
    return config_load(scratch_path(&dir, "config.json", path), &problems);
}

/* A good file with `members` added on the second line; prices may get more. */
static struct config *load_members(const char *members, const char *upstreams,
                                   const char *prices)
{
    char root[PATH_MAX];
    char text[65536];

    assert_non_null(getcwd(root, sizeof(root)));
    snprintf(text, sizeof(text), "{ " BOOK ",\n%s%s\"upstreams\": [%s] }", root, root, prices,
             members, *members ? "," : "", upstreams);
    return load_text(text);
}

static void print_problems(void)
{
    for (size_t i = 0; i < problems.n; i++) {
        char *text = problem_text(&problems.at[i]);

        print_error("%s\n", text);
        free(text);
    }
}

static bool told(int line, const char *part)
{
    for (size_t i = 0; i < problems.n; i++) {
        if (strstr(problems.at[i].text, part) && (line < 0 || problems.at[i].line == line))
            return true;
    }
    return false;
}

/* ---- what is understood -------------------------------------------------------- */

static void test_defaults(void **state)
{
    struct config *c = load_members("", UPSTREAM, "");
    char path[256];

    (void)state;
    if (!c)
        print_problems();
    assert_non_null(c);
    assert_string_equal(c->proxy.address, "0.0.0.0");
    assert_int_equal(c->proxy.port, 8443);
    assert_string_equal(c->admin.address, "127.0.0.1");
    assert_int_equal(c->admin.port, 9443);
    assert_string_equal(c->proxy.certificate, scratch_path(&dir, "tls/server.pem", path));
    assert_string_equal(c->admin.certificate, c->proxy.certificate);
    assert_string_equal(c->admin.private_key, c->proxy.private_key);
    assert_string_equal(c->admin.token_file, scratch_path(&dir, "var/admin.token", path));
    assert_string_equal(c->state_dir, scratch_path(&dir, "var", path));
    assert_string_equal(c->ledger_path, scratch_path(&dir, "var/ledger.db", path));
    assert_true(c->workers >= 1);
    assert_true(strlen(c->node) > 0);
    assert_int_equal(c->drain_seconds, 30);
    assert_true(c->counters_redis);
    assert_string_equal(c->redis_url, "redis://127.0.0.1:6379/0");
    assert_string_equal(c->counters_namespace, "tollgate");
    assert_true(c->counters_leases);
    assert_int_equal(c->counters_timeout_ms, 50);
    assert_int_equal(c->counters_on_failure, ON_FAILURE_LOCAL);
    assert_int_equal(c->ledger_sync, SYNC_INTERVAL);
    assert_int_equal(c->ledger_sync_interval_ms, 200);
    assert_string_equal(zone_name(c->zone), "UTC");
    assert_int_equal(c->tags.on_missing, ON_MISSING_ACCEPT);
    assert_false(c->tags.aliases);
    assert_int_equal(c->bounds.head_bytes, 65536);
    assert_int_equal(c->bounds.headers, 128);
    assert_int_equal(c->bounds.body_bytes, 64 << 20);
    assert_int_equal(c->bounds.connections, 20000);
    assert_int_equal(c->bounds.hold_bytes, 256 << 10);
    assert_int_equal(c->on_unpriced, ON_UNPRICED_FLAG);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->log_format, LOG_LOGFMT);
    assert_int_equal(c->n_upstreams, 1);
    assert_int_equal(c->upstreams[0].connect_timeout_ms, 5000);
    assert_int_equal(c->upstreams[0].first_byte_timeout_ms, 600000);
    assert_int_equal(c->upstreams[0].idle_timeout_ms, 120000);
    assert_true(c->upstreams[0].inject_usage);
    assert_true(c->upstreams[0].tls_verify);
    assert_false(c->upstreams[0].allow_unknown_endpoints);
    assert_int_equal(c->upstreams[0].on_client_gone, CLIENT_GONE_AUTO);
    assert_int_equal(c->upstreams[0].drain_ms, 30000);
    assert_int_equal(c->upstreams[0].drain_max_bytes, 16 << 20);
    assert_true(strv_eq(c->upstreams[0].provider, STRV("openai")));
    assert_null(c->upstreams[0].api_key);
    config_free(c);
}

static const char everything[] =
    "// the whole of it /* not a comment */\n"
    "{ /* \"x\": 1, // */\n"
    "  \"listen\": {\n"
    "    \"proxy\": { \"address\": \"127.0.0.1\", \"port\": 0, \"certificate\": "
    "\"/abs/c.pem\",\n"
    "                 \"private_key\": \"k//ey.pem\" },  // a \"quoted\" remark\n"
    "    \"admin\": { \"address\": \"::1\", \"port\": 9, \"token_file\": \"tok\" } },\n"
    "  \"workers\": 3, \"state_dir\": \"state\", \"drain_seconds\": 5, \"node\": \"n1\",\n"
    "  \"counters\": { \"backend\": \"memory\", \"url\": \"redis://h:1/2\", \"timeout_ms\": "
    "7,\n"
    "    \"on_failure\": \"refuse\", \"namespace\": \"ns\" },\n"
    "  \"ledger\": { \"backend\": \"sqlite\", \"path\": \"l.db\", \"sync\": \"always\",\n"
    "    \"sync_interval_ms\": 9 },\n"
    "  \"timezone\": \"Europe/Berlin\",\n"
    "  \"tags\": { \"on_missing\": \"reject\", \"required\": [\"team\"], \"aliases\": true,\n"
    "    \"defaults\": { \"environment\": \"dev\" },\n"
    "    \"allowed\": { \"environment\": [\"prod\", \"staging\", \"dev\", \"eval\"] } },\n"
    "  \"log\": { \"level\": \"debug\", \"format\": \"json\" },\n"
    "  \"bounds\": { \"head_bytes\": 2048 },\n"
    "  \"upstreams\": [\n"
    "    { \"name\": \"openai\", \"protocol\": \"openai\", \"base_url\": "
    "\"https://API.OpenAI.com/\",\n"
    "      \"api_key\": \"${TEST_CONFIG_KEY}\", \"ca_file\": null, \"connect_timeout_ms\": 1,\n"
    "      \"first_byte_timeout_ms\": 2, \"idle_timeout_ms\": 3, \"inject_usage\": false,\n"
    "      \"on_client_gone\": \"drain\", \"unknown_endpoints\": \"allow\", \"tls_verify\": "
    "false,\n"
    "      \"drain_ms\": 4, \"drain_max_bytes\": 5, \"max_connections\": 6 },\n"
    "    { \"name\": \"six\", \"protocol\": \"anthropic\", \"base_url\": "
    "\"http://[::1]:8080/a/b//\",\n"
    "      \"credentials\": \"client\", \"ca_file\": \"ca.pem\" }\n"
    "  ],\n"
    "  \"keys\": [\n"
    "    { \"name\": \"search-prod\",\n"
    "      \"hash\": "
    "\"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015AD\",\n"
    "      \"tags\": { \"team\": \"search\", \"environment\": \"prod\", \"zone\": \"eu\" },\n"
    "      \"locked\": [\"team\", \"zone\"], \"allowed\": { \"feature\": [\"f-*\"] },\n"
    "      \"models\": [\"gpt-4o*\", \"claude-*\"], \"upstreams\": [\"openai\"],\n"
    "      \"expires\": \"2027-01-01T00:00:00Z\" },\n"
    "    { \"name\": \"plain\", \"secret\": \"${TEST_CONFIG_SECRET}\", \"enabled\": false }\n"
    "  ],\n"
    "  \"limits\": [\n"
    "    { \"name\": \"a\", \"match\": { \"team\": \"search\" }, \"unit\": \"usd\", \"limit\": "
    "\"500.000000001\",\n"
    "      \"window\": \"month\", \"mode\": \"enforce\", \"alerts\": [50, 80, 100] },\n"
    "    { \"name\": \"b\", \"match\": { \"environment\": \"prod\" }, \"per\": [\"team\", "
    "\"feature\"],\n"
    "      \"unit\": \"usd\", \"limit\": 20, \"window\": \"day\", \"mode\": \"warn\" },\n"
    "    { \"name\": \"c\", \"per\": [\"key\"], \"unit\": \"requests\", \"limit\": 600, "
    "\"window\": \"60s\",\n"
    "      \"on_failure\": \"allow\" },\n"
    "    { \"name\": \"d\", \"match\": { \"zone\": \"eu\", \"key\": \"search-*\" }, \"per\": "
    "[\"key\"],\n"
    "      \"unit\": \"concurrent\", \"limit\": 8 },\n"
    "    { \"name\": \"e\", \"match\": { \"user\": \"alice\" }, \"unit\": \"tokens\", "
    "\"limit\": 0,\n"
    "      \"window\": \"total\" }\n"
    "  ],\n"
    "  \"prices\": { \"book\": [\"%s/pricing/book/common.json\", "
    "\"%s/pricing/book/openai.json\"],\n"
    "    \"on_unpriced\": \"refuse\",\n"
    "    \"rules\": [ { \"match\": { \"upstream\": \"openai\", \"model\": \"gpt-4o*\" },\n"
    "                   \"multiplier\": \"0.93\" } ] }\n"
    "}\n"
    "// and a remark at the end";

static struct config *load_everything(void)
{
    char root[PATH_MAX];
    char text[16384];

    assert_non_null(getcwd(root, sizeof(root)));
    setenv("TEST_CONFIG_KEY", "sk-from-the-environment", 1);
    setenv("TEST_CONFIG_SECRET", "a secret", 1);
    snprintf(text, sizeof(text), everything, root, root);
    return load_text(text);
}

static void check_everything_upstreams(const struct config *c)
{
    const struct upstream_config *up = &c->upstreams[0];
    char path[256];

    assert_string_equal(up->scheme_host, "https://api.openai.com");
    assert_string_equal(up->host, "api.openai.com");
    assert_string_equal(up->host_header, "api.openai.com");
    assert_string_equal(up->base_path, "");
    assert_int_equal(up->port, 443);
    assert_true(up->tls);
    assert_false(up->tls_verify);
    assert_string_equal(up->api_key, "sk-from-the-environment");
    assert_null(up->ca_file);
    assert_int_equal(up->connect_timeout_ms, 1);
    assert_int_equal(up->first_byte_timeout_ms, 2);
    assert_int_equal(up->idle_timeout_ms, 3);
    assert_int_equal(up->drain_ms, 4);
    assert_int_equal(up->drain_max_bytes, 5);
    assert_int_equal(up->max_connections, 6);
    assert_false(up->inject_usage);
    assert_true(up->allow_unknown_endpoints);
    assert_int_equal(up->on_client_gone, CLIENT_GONE_DRAIN);
    up = config_upstream(c, STRV("six"));
    assert_ptr_equal(up, &c->upstreams[1]);
    assert_string_equal(up->scheme_host, "http://[::1]:8080");
    assert_string_equal(up->host, "::1");
    assert_string_equal(up->host_header, "[::1]:8080");
    assert_string_equal(up->base_path, "/a/b");
    assert_int_equal(up->port, 8080);
    assert_false(up->tls);
    assert_int_equal(up->credentials, CREDENTIALS_CLIENT);
    assert_string_equal(up->ca_file, scratch_path(&dir, "ca.pem", path));
    assert_string_equal(protocol_name(up->protocol), "anthropic");
    assert_null(config_upstream(c, STRV("seven")));
}

static void check_everything_keys(const struct config *c)
{
    const struct key_config *key =
        key_table_find(c->key_table, STRV("abc")); /* whose SHA-256 is in FIPS 180 */

    assert_int_equal(c->n_keys, 2);
    assert_ptr_equal(key, &c->keys[0]);
    assert_string_equal(key->name, "search-prod");
    assert_int_equal(key->n_tags, 3);
    assert_true(key->tags[0].locked);
    assert_false(key->tags[1].locked);
    assert_true(key->tags[2].locked);
    assert_int_equal(key->n_allowed, 1);
    assert_int_equal(key->n_models, 2);
    assert_int_equal(key->n_upstreams, 1);
    assert_int_equal(key->expires_us, INT64_C(1798761600) * 1000000);
    assert_false(key->disabled);
    key = key_table_find(c->key_table, STRV("a secret"));
    assert_string_equal(key->name, "plain");
    assert_true(key->disabled);
    assert_true(key->expires_us == INT64_MAX);
    assert_null(key_table_find(c->key_table, STRV("a secret ")));
    assert_null(key_table_find(c->key_table, STRV("")));
}

static void check_everything_limits(const struct config *c)
{
    const struct limit_def *def = limit_set_at(c->limits, 0);
    char user[TAGS_USER_HEX_BYTES + 1];

    assert_int_equal(limit_set_count(c->limits), 5);
    assert_true(def->limit == UINT64_C(500000000001));
    assert_int_equal(def->period, PERIOD_MONTH);
    assert_int_equal(def->n_alerts, 3);
    assert_int_equal(def->alerts[2], 100);
    assert_int_equal(def->on_failure, ON_FAILURE_REFUSE);
    def = limit_set_at(c->limits, 1);
    assert_true(def->limit == UINT64_C(20000000000));
    assert_int_equal(def->mode, LIMIT_WARN);
    assert_int_equal(def->n_per, 2);
    def = limit_set_at(c->limits, 2);
    assert_true(def->rolling && def->rolling_s == 60 && def->limit == 600);
    assert_int_equal(def->on_failure, ON_FAILURE_ALLOW);
    def = limit_set_at(c->limits, 3);
    assert_int_equal(def->unit, UNIT_CONCURRENT);
    assert_int_equal(def->n_match, 2);
    def = limit_set_at(c->limits, 4);
    assert_int_equal(def->limit, 0);
    tags_hash_user(c->user_salt, STRV("alice"), user);
    assert_true(strv_eq(def->match[0].value, strv_z(user)));
}

static void test_everything(void **state)
{
    struct config *c = load_everything();
    char path[256];

    (void)state;
    if (!c)
        print_problems();
    assert_non_null(c);
    assert_int_equal(problems.total, 0);
    assert_string_equal(c->proxy.certificate, "/abs/c.pem");
    assert_string_equal(c->proxy.private_key, scratch_path(&dir, "k//ey.pem", path));
    assert_string_equal(c->admin.address, "::1");
    assert_string_equal(c->admin.token_file, scratch_path(&dir, "tok", path));
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->node, "n1");
    assert_false(c->counters_redis);
    assert_string_equal(c->redis_url, "redis://h:1/2");
    assert_int_equal(c->counters_timeout_ms, 7);
    assert_int_equal(c->counters_on_failure, ON_FAILURE_REFUSE);
    assert_int_equal(c->ledger_sync, SYNC_ALWAYS);
    assert_string_equal(c->ledger_path, scratch_path(&dir, "l.db", path));
    assert_string_equal(zone_name(c->zone), "Europe/Berlin");
    assert_int_equal(c->tags.on_missing, ON_MISSING_REJECT);
    assert_true(c->tags.aliases);
    assert_int_equal(c->tags.n_required, 1);
    assert_int_equal(c->tags.n_defaults, 1);
    assert_int_equal(c->tags.n_allowed, 1);
    assert_int_equal(c->tags.allowed[0].n_values, 4);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->log_format, LOG_JSON);
    assert_int_equal(c->bounds.head_bytes, 2048);
    assert_int_equal(c->on_unpriced, ON_UNPRICED_REFUSE);
    check_everything_upstreams(c);
    check_everything_keys(c);
    check_everything_limits(c);
    config_free(c);
}

/* The program's own book is found from any folder. */
static void test_own_book(void **state)
{
    struct config *c = load_text("{ \"upstreams\": [" UPSTREAM "] }");

    (void)state;
    if (!c)
        print_problems();
    assert_non_null(c);
    assert_true(book_model_count(c->book) > 100);
    config_free(c);
}

static void test_variables(void **state)
{
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"${TEST_CONFIG_A}", "alpha"},
        {"x${TEST_CONFIG_A}y", "xalphay"},
        {"${TEST_CONFIG_A}${TEST_CONFIG_A}", "alphaalpha"},
        {"$${TEST_CONFIG_A}", "${TEST_CONFIG_A}"},
        {"$5", "$5"},
        {"a$", "a$"},
        {"$$", "$$"},
        {"${TEST_CONFIG_NESTED}", "${TEST_CONFIG_A}"},
    };
    static const char *const bad[] = {
        "${TEST_CONFIG_MISSING}", "${", "${}", "${A", "${A B}", "${1A}"};

    (void)state;
    setenv("TEST_CONFIG_A", "alpha", 1);
    setenv("TEST_CONFIG_NESTED", "${TEST_CONFIG_A}", 1);
    unsetenv("TEST_CONFIG_MISSING");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char members[256];
        struct config *c;

        snprintf(members, sizeof(members), "\"node\": \"%s\"", cases[i].text);
        c = load_members(members, UPSTREAM, "");
        if (!c)
            print_problems();
        assert_non_null(c);
        assert_string_equal(c->node, cases[i].value);
        config_free(c);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char members[256];

        snprintf(members, sizeof(members), "\"node\": \"%s\"", bad[i]);
        assert_null(load_members(members, UPSTREAM, ""));
        assert_true(told(2, "node"));
    }
}

/* Variables cannot make the configuration grow without bound. */
static void test_growth(void **state)
{
    enum { LARGE = 60000, TIMES = CONFIG_TEXTS_MAX_BYTES / LARGE + 1, ITEM_BYTES = 24 };
    char *value = malloc(LARGE + 1);
    size_t size = TIMES * ITEM_BYTES + 100;
    char *members = malloc(size);
    size_t n;

    (void)state;
    assert_non_null(value);
    assert_non_null(members);
    memset(value, 'v', LARGE);
    value[LARGE] = '\0';
    setenv("TEST_CONFIG_LARGE", value, 1);
    n = (size_t)snprintf(members, size, "{ \"tags\": { \"allowed\": { \"team\": [");
    for (int i = 0; i < TIMES; i++)
        n +=
            (size_t)snprintf(members + n, size - n, "%s\"${TEST_CONFIG_LARGE}\"", i ? "," : "");
    snprintf(members + n, size - n, "] } } }");
    assert_null(load_text(members));
    assert_true(told(1, "all texts together"));
    unsetenv("TEST_CONFIG_LARGE");
    free(members);
    free(value);
}

/* Commands that call no provider need no secrets, and take no other variable for granted. */
static void test_without_secrets(void **state)
{
    char path[256];
    struct config *c = load_everything();

    (void)state;
    config_free(c);
    unsetenv("TEST_CONFIG_KEY");
    unsetenv("TEST_CONFIG_SECRET");
    c = config_load_without_secrets(scratch_path(&dir, "config.json", path), &problems);
    if (!c)
        print_problems();
    assert_non_null(c);
    assert_string_equal(c->upstreams[0].api_key, "");
    assert_int_equal(c->n_keys, 2);
    assert_null(key_table_find(c->key_table, STRV("")));
    config_free(c);
    assert_null(config_load(scratch_path(&dir, "config.json", path), &problems));
    assert_true(told(20, "TEST_CONFIG_KEY is not set"));
    assert_true(told(34, "TEST_CONFIG_SECRET is not set"));
    assert_int_equal(problems.total, 2);
    problems_release(&problems);
    assert_null(load_members("\"node\": \"${TEST_CONFIG_MISSING}\"", UPSTREAM, ""));
    assert_null(
        config_load_without_secrets(scratch_path(&dir, "config.json", path), &problems));
}

/* ---- what is refused ----------------------------------------------------------- */

static void test_syntax(void **state)
{
    static const struct {
        const char *text;
        int line;
        const char *part;
    } cases[] = {
        {"", 1, "not JSON"},
        {"[]", 1, "not an object"},
        {"\n\n1", 3, "not an object"},
        {"{\n\"workers\": 1,\n}", 3, "not JSON"},
        {"{\n\"workers\" 1}", 2, "not JSON"},
        {"{} {}", 1, "behind the end"},
        {"{}\n x", 2, "behind the end"},
        {"{ /* \n\n", 1, "comment without end"},
        {"{ \"a", 1, "string without end"},
        {"{ \"a\n\": 1}", 1, "line end inside a string"},
        {"{ \"node\": \"a\\u0000b\" }", 1, "u0000"},
        {"{ \"a\": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]] }", 1, "too deeply"},
        {"\n{ \"workers\": 1, \n \"workers\": 2 }", 3, "given twice"},
        {"{ // x\n/* y\n\n*/ \"wokers\": 1 }", 4, "\"workers\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_null(load_text(cases[i].text));
        if (!told(cases[i].line, cases[i].part)) {
            print_problems();
            fail_msg("%s", cases[i].text);
        }
    }
    scratch_write(&dir, "config.json", "{\0}", 3);
    {
        char path[256];

        problems_release(&problems);
        assert_null(config_load(scratch_path(&dir, "config.json", path), &problems));
        assert_true(told(1, "NUL"));
        problems_release(&problems);
        assert_null(config_load(scratch_path(&dir, "missing.json", path), &problems));
        assert_true(told(0, "could not open"));
        problems_release(&problems);
        assert_null(config_load(dir.path, &problems));
        assert_true(told(0, "not an ordinary file"));
    }
}

/* All on the second line of the file, which is where `members` stand. */
static void test_faults(void **state)
{
    static const struct {
        const char *members, *part;
    } cases[] = {
        {"\"lisen\": {}", "nearest known one is \"listen\""},
        {"\"listen\": { \"proxy\": { \"prot\": 1 } }",
         "in listen.proxy: the nearest known one is "
         "\"port\""},
        {"\"listen\": 5", "listen must be an object"},
        {"\"listen\": { \"proxy\": { \"port\": 65536 } }", "listen.proxy.port is 65536"},
        {"\"listen\": { \"proxy\": { \"port\": -1 } }", "from 0 to 65535"},
        {"\"listen\": { \"proxy\": { \"port\": 1.5 } }", "whole number"},
        {"\"listen\": { \"proxy\": { \"port\": \"1\" } }", "whole number"},
        {"\"listen\": { \"proxy\": { \"port\": 1e300 } }", "whole number"},
        {"\"workers\": true", "workers must be"},
        {"\"state_dir\": \"\"", "state_dir is empty"},
        {"\"state_dir\": 5", "state_dir must be a string"},
        {"\"node\": \"a\\u0007\"", "control characters"},
        {"\"node\": \"\xff\"", "not UTF-8"},
        {"\"timezone\": \"Europe/Atlantis\"", "timezone is not known"},
        {"\"counters\": { \"backend\": \"rediss\" }", "nearest is \"redis\""},
        {"\"counters\": { \"timeout_ms\": 0 }", "counters.timeout_ms is 0"},
        {"\"ledger\": { \"sync\": \"sometimes\" }", "ledger.sync must be one of"},
        {"\"tags\": { \"on_missing\": \"drop\" }", "tags.on_missing"},
        {"\"tags\": { \"required\": [\"Team\"] }", "tags.required"},
        {"\"tags\": { \"required\": [\"model\"] }", "set by the gateway"},
        {"\"tags\": { \"required\": 5 }", "list of strings"},
        {"\"tags\": { \"defaults\": { \"team\": \"\" } }", "tags.defaults"},
        {"\"tags\": { \"defaults\": { \"team\": \"a\", \"team\": \"b\" } }", "given twice"},
        {"\"tags\": { \"defaults\": { \"team\": \"a\" }, \"allowed\": { \"team\": [\"b\"] } }",
         "not in its list"},
        {"\"tags\": { \"aliases\": 1 }", "true or false"},
        {"\"bounds\": { \"head_bytes\": 10 }", "bounds.head_bytes is 10"},
        {"\"log\": { \"level\": \"inf\" }", "nearest is \"info\""},
        {"\"keys\": {}", "must be a list"},
        {"\"keys\": [ 5 ]", "must be an object"},
        {"\"keys\": [ { \"name\": \"a\" } ]", "either \"hash\" or \"secret\""},
        {"\"keys\": [ { \"name\": \"a\", \"hash\": null } ]", "either \"hash\" or \"secret\""},
        {"\"keys\": [ { \"secret\": \"12345678\" } ]", "keys[].name is missing"},
        {"\"keys\": [ { \"name\": \"a\", \"hash\": \"sha256:12\" } ]", "64 hex digits"},
        {"\"keys\": [ { \"name\": \"a\", \"hash\": \"x\", \"secret\": \"12345678\" } ]",
         "either"},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"abc\" } ]", "keys[].secret"},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"expires\": \"soon\" } ]",
         "keys[].expires"},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"locked\": [\"team\"] } ]",
         "no value in \"tags\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"upstreams\": [\"opnai\"] "
         "} ]",
         "no upstream \"opnai\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"team\": \"x\" "
         "}, "
         "\"allowed\": { \"team\": [\"y\"] } } ]",
         "not in its list"},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\" }, { \"name\": \"a\", "
         "\"secret\": \"87654321\" } ]",
         "key \"a\" is there twice"},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\" }, { \"name\": \"b\", "
         "\"secret\": \"12345678\" } ]",
         "same secret"},
        {"\"limits\": [ {} ]", "limits[].name is missing"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"window\":\"day\"} ]",
         "limits[].limit is missing"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"euro\",\"limit\":1,\"window\":\"day\"} ]",
         "limits[].unit"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"limit\":0.1,\"window\":\"day\"} ]",
         "write it as a string"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"limit\":\"-1\",\"window\":\"day\"} "
         "]",
         "dollars"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"limit\":\"1e3\",\"window\":\"day\"} "
         "]",
         "dollars"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"limit\":\"9000000000.1\",\"window\":"
         "\"day\"} ]",
         "dollars"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"usd\",\"limit\":\"0.0000000001\",\"window\":"
         "\"day\"} ]",
         "nine decimals"},
        {"\"limits\": [ "
         "{\"name\":\"l\",\"unit\":\"tokens\",\"limit\":\"1.5\",\"window\":\"day\"} ]",
         "whole number of tokens"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":-1,\"window\":\"day\"} ]",
         "whole number of tokens"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1} ]",
         "window is missing"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"60\"} ]",
         "limits[].window"},
        {"\"limits\": [ "
         "{\"name\":\"l\",\"unit\":\"concurrent\",\"limit\":1,\"window\":\"day\"} ]",
         "no window"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\","
         "\"match\":{\"upstream\":\"x\"}} ]",
         "no upstream \"x\""},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":"
         "\"day\",\"match\":{\"upstream\":\"opnai\"}} ]",
         "nearest is \"openai\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"], \"models\": [\"gpt-4*\"], \"allowed"
         "\": { \"feature\": [\"chat\", \"s-*\"] } } ], \"limits\": [ {\"name\":\"l"
         "\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\",\"match\":{\"key\":"
         "\"b\"}} ]",
         "no key \"b\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"], \"models\": [\"gpt-4*\"], \"allowed"
         "\": { \"feature\": [\"chat\", \"s-*\"] } } ], \"limits\": [ {\"name\":\"l"
         "\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\",\"match\":{\"team\":"
         "\"y\"}} ]",
         "no key can carry \"y\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"], \"models\": [\"gpt-4*\"], \"allowed"
         "\": { \"feature\": [\"chat\", \"s-*\"] } } ], \"limits\": [ {\"name\":\"l"
         "\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\",\"match\":{\"team\":"
         "\"y*\"}} ]",
         "no key can carry \"y*\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"], \"models\": [\"gpt-4*\"], \"allowed"
         "\": { \"feature\": [\"chat\", \"s-*\"] } } ], \"limits\": [ {\"name\":\"l"
         "\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\",\"match\":{\"model\""
         ":\"o3*\"}} ]",
         "no key can carry \"o3*\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"], \"models\": [\"gpt-4*\"], \"allowed"
         "\": { \"feature\": [\"chat\", \"s-*\"] } } ], \"limits\": [ {\"name\":\"l"
         "\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\",\"match\":{\"feature"
         "\":\"chart\"}} ]",
         "nearest is \"chat\""},
        {"\"tags\": { \"allowed\": { \"environment\": [\"prod\", \"dev\"] } }, \"lim"
         "its\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day"
         "\",\"match\":{\"environment\":\"prd\"}} ]",
         "tags.allowed has no value \"prd\""},
        {"\"tags\": { \"allowed\": { \"environment\": [\"prod\", \"dev\"] } }, \"lim"
         "its\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day"
         "\",\"match\":{\"environment\":\"p?\"}} ]",
         "nearest is \""},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":"
         "\"day\",\"match\":{\"enviroment\":\"prod\"}} ]",
         "write \"environment\""},
        {"\"keys\": [ { \"name\": \"a\", \"secret\": \"12345678\", \"tags\": { \"tea"
         "m\": \"x\" }, \"locked\": [\"team\"] }, { \"name\": \"b\", \"secret\": \"1"
         "2345679\", \"tags\": { \"team\": \"y\" }, \"locked\": [\"team\"] } ], \"li"
         "mits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day"
         "\",\"match\":{\"key\":\"a\",\"team\":\"y\"}} ]",
         "no key can carry all of this"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\","
         "\"per\":[\"Team\"]} ]",
         "limits[].per"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\","
         "\"per\":[\"team\",\"team\"]} ]",
         "twice"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\","
         "\"alerts\":[80,50]} ]",
         "rising"},
        {"\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\"},"
         "{\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\"} ]",
         "limit \"l\" is there twice"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = load_members(cases[i].members, UPSTREAM, "");

        if (c || !told(2, cases[i].part)) {
            print_problems();
            fail_msg("%s", cases[i].members);
        }
    }
}

#define CLOUD(members)                                                                         \
    "{ \"name\": \"a\", \"protocol\": \"bedrock\", \"base_url\": \"https://h\", " members " }"

/* Credentials in their places, regions from hosts, names of deployments. */
static void test_clouds(void **state)
{
    static const struct {
        const char *upstream;
        const char *header, *prefix, *region, *aws_region;
    } CASES[] = {
        {"\"protocol\": \"bedrock\", \"base_url\": \"https://bedrock-runtime.eu-west-1.amazonaws.com"
         "\", \"aws\": { \"access_key_id\": \"A\", \"secret_access_key\": \"S\" }",
         "authorization", "Bearer ", "eu-west-1", "eu-west-1"},
        {"\"protocol\": \"bedrock\", \"base_url\": "
         "\"https://vpce-1.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com\"",
         "authorization", "Bearer ", "us-gov-west-1", NULL},
        {"\"protocol\": \"openai\", \"base_url\": \"https://bedrock-mantle.us-east-1.api.aws\", "
         "\"region\": \"x\", \"aws\": { \"access_key_id\": \"A\", \"secret_access_key\": \"S\", "
         "\"region\": \"y\" }",
         "authorization", "Bearer ", "x", "y"},
        {"\"protocol\": \"azure-openai\", \"base_url\": \"https://h\", \"region\": \"eu\"",
         "api-key", "", "eu", NULL},
        {"\"protocol\": \"azure-openai\", \"base_url\": \"https://h\", \"key_header\": "
         "\"authorization\"",
         "authorization", "Bearer ", "", NULL},
        {"\"protocol\": \"azure-openai\", \"base_url\": \"https://h\", \"entra\": { "
         "\"tenant_id\": \"t\", \"client_id\": \"c\", \"client_secret\": \"s\" }",
         "authorization", "Bearer ", "", NULL},
        {"\"protocol\": \"deepgram\", \"base_url\": \"https://h\"", "authorization", "Token ", "",
         NULL},
        {"\"protocol\": \"deepgram\", \"base_url\": \"https://h\", \"key_header\": "
         "\"authorization\"",
         "authorization", "Token ", "", NULL},
        {"\"protocol\": \"raw\", \"base_url\": \"https://h\", \"key_header\": \"xi-api-key\"",
         "xi-api-key", "", "", NULL},
        {"\"protocol\": \"vertex\", \"base_url\": \"https://h\", \"key_header\": "
         "\"x-goog-api-key\"",
         "x-goog-api-key", "", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[1024];
        const struct upstream_config *up;
        struct config *c;

        snprintf(text, sizeof(text),
                 "{ \"name\": \"a\", %s, \"deployments\": { \"z\": \"mz\", \"a\": \"ma\", "
                 "\"ab\": \"mab\" } }",
                 CASES[i].upstream);
        c = load_members("", text, "");
        if (!c)
            print_problems();
        assert_non_null(c);
        up = &c->upstreams[0];
        assert_true(strv_eq(up->key_header, strv_z(CASES[i].header)));
        assert_true(strv_eq(up->key_prefix, strv_z(CASES[i].prefix)));
        assert_true(strv_eq(up->region, strv_z(CASES[i].region)));
        if (CASES[i].aws_region)
            assert_string_equal(up->aws.region, CASES[i].aws_region);
        assert_true(strv_eq(config_deployment(up, STRV("a")), STRV("ma")));
        assert_true(strv_eq(config_deployment(up, STRV("ab")), STRV("mab")));
        assert_true(strv_eq(config_deployment(up, STRV("z")), STRV("mz")));
        assert_int_equal(config_deployment(up, STRV("b")).n, 0);
        assert_int_equal(config_deployment(up, STRV_NONE).n, 0);
        config_free(c);
    }
}

static void test_upstream_faults(void **state)
{
    static const struct {
        const char *upstreams, *part;
    } cases[] = {
        {"", "\"upstreams\" is empty"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\" }", "upstreams[].base_url is missing"},
        {"{ \"name\": \"A\", \"protocol\": \"openai\", \"base_url\": \"https://h\" }",
         "upstreams[].name"},
        {"{ \"name\": \"_tollgate\", \"protocol\": \"openai\", \"base_url\": \"https://h\" }",
         "belongs to the gateway"},
        {"{ \"name\": \"a\", \"protocol\": \"opena\", \"base_url\": \"https://h\" }",
         "nearest is \"openai\""},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"ftp://h\" }",
         "does not begin with https://"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://\" }",
         "no host"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h:0\" }",
         "port"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h:65536\" }",
         "port"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h:x\" }",
         "port"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://u:p@h\" }",
         "user information"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://[::1\" }", "]"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h h\" }",
         "no host name has"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h/?a\" }",
         "query"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h/ a\" }",
         "percent-encoded"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h\", "
         "\"provider\": "
         "\"nobody\" }",
         "not in the price book"},
        {"{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h\", "
         "\"api_key\": "
         "\"k\", \"credentials\": \"client\" }",
         "api_key is not used"},
        {UPSTREAM "," UPSTREAM, "there twice"},
        {CLOUD("\"aws\": {}"), "needs access_key_id"},
        {CLOUD("\"aws\": { \"access_key_id\": \"A\", \"secret_access_key\": \"S\" }"),
         "aws.region is missing"},
        {CLOUD("\"aws\": { \"access_key_id\": \"A\", \"secret_access_key\": \"S\", \"region\": "
               "\"r\" }, \"api_key\": \"k\""),
         "exclude each other"},
        {CLOUD("\"google\": {}"), "google.credentials is missing"},
        {CLOUD("\"google\": { \"credentials\": \"k.json\" }, \"credentials\": \"client\""),
         "google is not used"},
        {CLOUD("\"entra\": { \"tenant_id\": \"t\" }"), "needs tenant_id, client_id"},
        {CLOUD("\"entra\": { \"tenant_id\": \"t\", \"client_id\": \"c\", \"client_secret\": "
               "\"s\", \"authority\": \"http://a\" }"),
         "authority must begin with https://"},
        {CLOUD("\"key_header\": \"x-apikey\""), "nearest is \"x-api-key\""},
        {CLOUD("\"deployments\": []"), "deployments is an object"},
        {CLOUD("\"deployments\": { \"a\": \"m\", \"a\": \"n\" }"), "given twice"},
        {CLOUD("\"deployments\": { \"a\": \"\" }"), "is empty"},
        {CLOUD("\"deployments\": { \"a\": 7 }"), "deployments"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = load_members("", cases[i].upstreams, "");

        if (c || !told(2, cases[i].part)) {
            print_problems();
            fail_msg("%s", cases[i].upstreams);
        }
    }
    assert_null(load_text("{}"));
    assert_true(told(0, "\"upstreams\" is missing"));
}

static void test_price_faults(void **state)
{
    static const struct {
        const char *prices, *part;
    } cases[] = {
        {", \"on_unpriced\": \"zero\"", "prices.on_unpriced"},
        {", \"rules\": [ {} ]", "neither \"multiplier\" nor \"rates\""},
        {", \"rules\": [ { \"multiplier\": 0.93 } ]", "write it as a string"},
        {", \"rules\": [ { \"multiplier\": \"0.93\", \"match\": { \"upstrem\": \"x\" } } ]",
         "\"upstream\""},
        {", \"rules\": [ { \"multiplier\": \"0.93\", \"match\": { \"upstream\": \"x\" } } ]",
         "no upstream's name"},
        {", \"rules\": [ { \"rates\": { \"inn\": \"1\" } } ]", "no such meter"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = load_members("", UPSTREAM, cases[i].prices);

        if (c || !told(1, cases[i].part)) {
            print_problems();
            fail_msg("%s", cases[i].prices);
        }
    }
}

/* What no request can be; a glob meets what some value can be, and no lock is none. */
static void test_possible_matches(void **state)
{
    static const char limits[] =
        "\"limits\": [ {\"name\":\"l\",\"unit\":\"tokens\",\"limit\":1,\"window\":\"day\","
        "\"match\":{%s}} ]%s";
    static const struct {
        const char *match, *more, *prices, *part; /* NULL: it loads */
    } cases[] = {
        {"\"model\":\"gpt-nothing\"", "", ", \"on_unpriced\": \"refuse\"", "has no price"},
        {"\"model\":\"gpt-4o\"", "", ", \"on_unpriced\": \"refuse\"", NULL},
        {"\"model\":\"gpt-nothing\"", "", "", NULL},
        {"\"team\":\"s*ch\"", "", "", NULL},
        {"\"team\":\"s*ch\"",
         ", \"keys\": [ {\"name\":\"a\",\"secret\":\"12345678\",\"tags\":{\"team\":\"search\"},"
         "\"locked\":[\"team\"],\"enabled\":false} ]",
         "", NULL},
        {"\"feature\":\"*b?d\"",
         ", \"tags\": {\"allowed\":{\"feature\":[\"x\",\"a*e\"]}}", "", "tags.allowed"},
        {"\"feature\":\"*b?d\"",
         ", \"tags\": {\"allowed\":{\"feature\":[\"x\",\"a*e?\"]}}", "", NULL},
        {"\"teams\":\"x\"", "", "", "write \"team\""},
        {"\"teams\":\"x\"", ", \"tags\": {\"allowed\":{\"teams\":[\"x\"]}}", "", NULL},
        {"\"region\":\"eu\"", "", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char members[1024];
        struct config *c;

        (void)snprintf(members, sizeof(members), limits, cases[i].match, cases[i].more);
        c = load_members(members, UPSTREAM, cases[i].prices);
        if ((c != NULL) != (cases[i].part == NULL) || (!c && !told(2, cases[i].part))) {
            print_problems();
            fail_msg("%s", members);
        }
        config_free(c);
    }
}

/* All faults are told at once, and at most so many kept. */
static void test_many(void **state)
{
    char text[65536];
    size_t n = 0;

    (void)state;
    n += (size_t)snprintf(text, sizeof(text), "{");
    for (int i = 0; i < PROBLEMS_MAX + 50; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\"field%d\": 1,\n", i);
    snprintf(text + n, sizeof(text) - n, "\"upstreams\": [" UPSTREAM "] }");
    assert_null(load_text(text));
    assert_int_equal(problems.n, PROBLEMS_MAX);
    assert_int_equal(problems.total, PROBLEMS_MAX + 50);
    assert_int_equal(problems.at[7].line, 8);
}

/* Secrets are in no message, wherever the fault is. */
static void test_canary(void **state)
{
    static const char *const members[] = {
        "\"keys\": [ { \"name\": \"a\", \"secret\": \"CANARY${MISSING_CANARY\" } ]",
        "\"keys\": [ { \"name\": \"a\", \"secret\": [\"CANARY\"] } ]",
        "\"keys\": [ { \"name\": \"a\", \"hash\": \"sha256:CANARY\" } ]",
        "\"counters\": { \"url\": \"http://user:CANARY@h\" }",
        "\"counters\": { \"backend\": \"CANARY\" }",
        "\"keys\": [ { \"name\": \"a\", \"secret\": \"CANARY\\u0001\" } ]",
        "\"keys\": [ { \"name\": \"a\", \"secret\": \"${TEST_CONFIG_CANARY}\", \"hash\": 5 } ]",
    };

    (void)state;
    setenv("TEST_CONFIG_CANARY", "CANARY", 1);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        assert_null(load_members(members[i], UPSTREAM, ""));
        assert_true(problems.n > 0);
        assert_false(told(-1, "CANARY"));
    }
    assert_null(load_members("",
                             "{ \"name\": \"a\", \"protocol\": \"x\", \"api_key\": \"CANARY\", "
                             "\"base_url\": \"https://u:CANARY@h\" }",
                             ""));
    assert_false(told(-1, "CANARY"));
}

/* ---- what lies beside the file --------------------------------------------------- */

static void test_state(void **state)
{
    struct config *c = load_everything();
    unsigned char salt[SHA256_BYTES];
    static const unsigned char zeros[SHA256_BYTES];
    char path[256];
    char user[TAGS_USER_HEX_BYTES + 1];
    struct stat status;

    (void)state;
    assert_non_null(c);
    assert_memory_equal(c->user_salt, zeros, SHA256_BYTES);
    assert_int_not_equal(stat(scratch_path(&dir, "state", path), &status), 0);
    assert_true(config_prepare_state(c, &problems));
    assert_memory_not_equal(c->user_salt, zeros, SHA256_BYTES);
    tags_hash_user(c->user_salt, STRV("alice"), user);
    assert_true(strv_eq(limit_set_at(c->limits, 4)->match[0].value, strv_z(user)));
    memcpy(salt, c->user_salt, sizeof(salt));
    assert_int_equal(stat(scratch_path(&dir, "state", path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(scratch_path(&dir, "state/user.salt", path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(config_prepare_state(c, &problems));
    config_free(c);
    c = load_everything(); /* another start reads the same */
    assert_memory_equal(c->user_salt, salt, SHA256_BYTES);
    scratch_write(&dir, "state/user.salt", "short", 5);
    assert_false(config_prepare_state(c, &problems));
    assert_true(told(0, "not a file of 32 bytes"));
    config_free(c);
}

/* A key pair and certificate valid from now+from to now+to seconds. */
static void make_pair(const char *certificate_name, const char *key_name, long from, long to)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    char path[256];
    FILE *file;

    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), to);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1,
                               -1, 0);
    X509_set_issuer_name(certificate, name);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    file = fopen(scratch_path(&dir, certificate_name, path), "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = fopen(scratch_path(&dir, key_name, path), "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void check_pair(const char *certificate, const char *key, const char *part)
{
    char members[512];
    struct config *c;

    snprintf(members, sizeof(members),
             "\"listen\": { \"proxy\": { \"certificate\": \"%s\", \"private_key\": \"%s\" } }",
             certificate, key);
    c = load_members(members, UPSTREAM, "");
    assert_non_null(c);
    config_check_files(c, &problems);
    if (part ? !told(0, part) : problems.total > 0) {
        print_problems();
        fail_msg("%s, %s: %s", certificate, key, part ? part : "should be good");
    }
    config_free(c);
}

static void test_files(void **state)
{
    enum { HOUR = 3600 };
    struct config *c;

    (void)state;
    make_pair("good.pem", "good.key", -HOUR, 1000 * 24 * HOUR);
    make_pair("other.pem", "other.key", -HOUR, 1000 * 24 * HOUR);
    make_pair("old.pem", "old.key", -2 * HOUR, -HOUR);
    make_pair("early.pem", "early.key", HOUR, 2 * HOUR);
    make_pair("soon.pem", "soon.key", -HOUR, HOUR);
    check_pair("good.pem", "good.key", NULL);
    check_pair("good.pem", "other.key", "is not the private key of");
    check_pair("old.pem", "old.key", "expired");
    check_pair("early.pem", "early.key", "not valid before");
    check_pair("none.pem", "good.key", "could not read the certificate");
    check_pair("good.pem", "none.key", "could not read the private key");
    check_pair("good.key", "good.key", "holds no PEM certificate");
    check_pair("good.pem", "good.pem", "holds no PEM private key");
    c = load_members(
        "\"listen\": { \"proxy\": { \"certificate\": \"soon.pem\", \"private_key\": "
        "\"soon.key\" } }, \"state_dir\": \"good.pem\"",
        "{ \"name\": \"a\", \"protocol\": \"openai\", \"base_url\": \"https://h\", "
        "\"tls_verify\": false, \"ca_file\": \"good.key\" }",
        "");
    assert_non_null(c);
    config_check_files(c, &problems);
    assert_true(told(0, "not a folder"));
    assert_true(told(0, "holds no PEM certificate"));
    problems_release(&problems);
    config_check_wisdom(c, &problems);
    assert_true(told(0, "is not verified"));
    assert_true(told(0, "expires at"));
    assert_true(told(0, "no api_key"));
    assert_true(told(0, "no key yet"));
    config_free(c);
}

/* ---- documents ------------------------------------------------------------------- */

struct document {
    char *text;
    size_t missing;
};

static void look_up(const struct config_section *section, const struct config_field *field,
                    void *arg)
{
    struct document *d = arg;
    char name[128];

    snprintf(name, sizeof(name), "`%s%s%s`", section->path, section->path[0] ? "." : "",
             field->name);
    if (!strstr(d->text, name)) {
        print_error("docs/configuration.md lacks %s\n", name);
        d->missing++;
    }
}

static void test_documents(void **state)
{
    struct document d = {.missing = 0};
    FILE *file = fopen("docs/configuration.md", "re");
    size_t n;

    (void)state;
    assert_non_null(file);
    d.text = calloc(1, 1 << 20);
    assert_non_null(d.text);
    n = fread(d.text, 1, (1 << 20) - 1, file);
    assert_true(n > 0);
    fclose(file);
    config_each_field(look_up, &d);
    free(d.text);
    assert_int_equal(d.missing, 0);
}

int main(void)
{
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_defaults),
        WITH_DIR(test_everything),
        WITH_DIR(test_own_book),
        WITH_DIR(test_variables),
        WITH_DIR(test_without_secrets),
        WITH_DIR(test_growth),
        WITH_DIR(test_syntax),
        WITH_DIR(test_faults),
        WITH_DIR(test_clouds),
        WITH_DIR(test_upstream_faults),
        WITH_DIR(test_price_faults),
        WITH_DIR(test_possible_matches),
        WITH_DIR(test_many),
        WITH_DIR(test_canary),
        WITH_DIR(test_state),
        WITH_DIR(test_files),
        WITH_DIR(test_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
