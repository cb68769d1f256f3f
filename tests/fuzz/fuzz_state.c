/*
 * fuzz_state.c - files that earlier processes, commands and people left in the state folder, and
 * answers to the gateway's own questions.
 *
 * Holds: whatever they hold, they are read or refused; what was read and written again reads the
 * same.  The first byte chooses the file.
 */
#include "tests/fuzz/fuzz_folder.h"

#include <stdint.h>

#include "base/log.h"
#include "proxy/alert_store.h"
#include "proxy/changes.h"
#include "proxy/collected.h"
#include "proxy/config.h"
#include "proxy/grant.h"
#include "reports/closed.h"
#include "reports/import_csv.h"
#include "reports/import_json.h"
#include "reports/trail.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { INPUT_MAX_BYTES = 32 << 10, TEXT_BYTES = 4 << 20, ARENA_BYTES = 4 << 20 };

static const char config_text[] =
    "{\"listen\":{\"proxy\":{\"port\":0,\"certificate\":\"c\",\"private_key\":\"k\"}},"
    "\"state_dir\":\"var\",\"upstreams\":[{\"name\":\"o\",\"protocol\":\"openai\","
    "\"base_url\":\"http://127.0.0.1:9\"}],\"prices\":{\"book\":[\"pricing/book\"]}}";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    ASSERT(freopen("/dev/null", "w", stdout)); /* a file that is set aside is told of there */
    fuzz_folder_make();
    ASSERT(mkdir(fuzz_path("var"), 0700) == 0);
    fuzz_write("c.json", config_text, sizeof(config_text) - 1);
    return 0;
}

static void check_keys(struct strv text)
{
    struct problems problems;
    struct config *config;

    fuzz_write("var/keys.json", text.p, text.n);
    problems_init(&problems);
    config = config_load(fuzz_path("c.json"), &problems);
    ASSERT((config != NULL) == (problems.total == 0));
    config_free(config);
    problems_release(&problems);
    unlink(fuzz_path("var/keys.json"));
}

static void check_changes(struct strv text)
{
    struct limit_def defs[] = {{.name = "a", .limit = 5}, {.name = "b", .limit = 7}};

    fuzz_write("var/budget-changes.jsonl", text.p, text.n);
    changes_apply(fuzz_path("var"), defs, 2);
    for (int i = 0; i < 2; i++)
        ASSERT(defs[i].raised <= LIMIT_VALUE_MAX && (defs[i].limit == 5 || defs[i].limit == 7));
    unlink(fuzz_path("var/budget-changes.jsonl"));
}

/* What was read is written, and reads the same. */
static void check_alerts(struct strv text)
{
    struct alert_store a, b;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    fuzz_write("var/alerts.json", text.p, text.n);
    alert_store_open(&a, fuzz_path("var/alerts.json"));
    a.dirty = true;
    ASSERT(alert_store_save(&a) == RC_OK);
    alert_store_open(&b, fuzz_path("var/alerts.json"));
    ASSERT(a.n_firing == b.n_firing && a.n_waiting == b.n_waiting && a.digest_us == b.digest_us);
    for (size_t i = 0; i < a.n_firing; i++)
        ASSERT(strcmp(a.firing[i].group, b.firing[i].group) == 0 &&
               a.firing[i].level == b.firing[i].level);
    for (size_t i = 0; i < a.n_waiting; i++)
        ASSERT(strcmp(a.waiting[i].channel, b.waiting[i].channel) == 0 &&
               a.waiting[i].attempts == b.waiting[i].attempts);
    alert_store_close(&a);
    alert_store_close(&b);
    unlink(fuzz_path("var/alerts.json"));
    unlink(fuzz_path("var/alerts.json.bad"));
}

static void check_collected(struct strv text)
{
    struct collected *c;
    struct fail fail;
    const struct uuid record = {{1}};
    uint64_t key = collected_key(STRV("u"), STRV("a")), n;

    fuzz_write("var/collected", text.p, text.n);
    ASSERT(collected_open(fuzz_path("var"), &c, &fail) == RC_OK);
    n = collected_known(c, key);
    if (n < UINT64_MAX)
        ASSERT(collected_claim(c, key, n + 1) && !collected_claim(c, key, n + 1));
    collected_keep(c, key);
    collected_close(c);
    ASSERT(collected_open(fuzz_path("var"), &c, &fail) == RC_OK);
    n = n < UINT64_MAX ? n + 1 : n;
    ASSERT(collected_known(c, key) == n);
    collected_take_back(c, &record);
    ASSERT(collected_known(c, key) == n);
    if (n < UINT64_MAX) {
        ASSERT(collected_take(c, key, n, n + 1));
        collected_note(c, key, n, n + 1, &record);
    }
    collected_stand(c);
    collected_close(c);
    unlink(fuzz_path("var/collected"));
}

static void check_grant(struct strv text)
{
    char why[GRANT_WHY_BYTES], *token = NULL;
    int64_t life_s = 0;

    if (grant_answer(200, text, &token, &life_s, why) == RC_OK) {
        ASSERT(token && strlen(token) <= GRANT_TOKEN_BYTES);
        ASSERT(life_s >= 1 && life_s <= GRANT_LIFE_MAX_S);
        free(token);
    } else {
        ASSERT(why[0] && memchr(why, 0, sizeof(why)));
    }
}

/* A sheet that thaws, frozen again, is the same text. */
static void check_sheet(struct strv text)
{
    struct sheet a, b;
    struct buf first, second;

    sheet_init(&a);
    sheet_init(&b);
    buf_init(&first, TEXT_BYTES);
    buf_init(&second, TEXT_BYTES);
    if (sheet_thaw(text, &a) == RC_OK) {
        ASSERT(sheet_freeze(&a, &first) == RC_OK);
        ASSERT(sheet_thaw(buf_view(&first), &b) == RC_OK);
        ASSERT(sheet_freeze(&b, &second) == RC_OK);
        ASSERT(strv_eq(buf_view(&first), buf_view(&second)));
    }
    sheet_release(&a);
    sheet_release(&b);
    buf_release(&first);
    buf_release(&second);
}

static void check_tables(struct strv text)
{
    static struct import_csv csv;
    struct import_value *value = NULL;
    struct arena arena;
    const char *why = NULL;
    size_t at = 0;

    memset(&csv, 0, sizeof(csv));
    arena_init(&arena, ARENA_BYTES);
    if (import_csv_open(&csv, text, &arena)) {
        ASSERT(csv.n_columns >= 1 && csv.n_columns <= IMPORT_CSV_COLUMNS_MAX);
        while (import_csv_next(&csv))
            ASSERT(csv.at <= text.n);
    }
    arena_reset(&arena);
    while (import_json(text, &at, &arena, &value, &why) && value)
        ASSERT(at <= text.n && value->at < text.n);
    ASSERT(at <= text.n);
    arena_release(&arena);
}

struct told {
    size_t n;
    enum trail_status last;
};

static enum rc count_changes(const struct trail_change *change, enum trail_status status, void *arg)
{
    struct told *t = arg;

    ASSERT(status == TRAIL_ALTERED || (change->actor && change->action && change->object));
    t->n++;
    t->last = status;
    return RC_OK;
}

/* Whatever the trail holds, it goes on: what is noted is the last line, and follows. */
static void check_trail(struct strv text)
{
    static const struct trail_change change = {.action = "a", .object = "o"};
    struct told before = {.n = 0}, after = {.n = 0};
    char head[SHA256_HEX];
    struct fail fail;

    fuzz_write("var/trail.jsonl", text.p, text.n);
    ASSERT(trail_read(fuzz_path("var"), count_changes, &before, head, &fail) == RC_OK);
    ASSERT((before.n > 0) == (head[0] != 0));
    ASSERT(trail_append(fuzz_path("var"), &change, &fail) == RC_OK);
    ASSERT(trail_read(fuzz_path("var"), count_changes, &after, head, &fail) == RC_OK);
    ASSERT(after.n == before.n + 1 && after.last == TRAIL_GOOD);
    unlink(fuzz_path("var/trail.jsonl"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const checks[])(struct strv) = {check_keys,  check_changes, check_alerts,
                                                  check_collected, check_grant, check_sheet,
                                                  check_tables,    check_trail};

    if (n < 1 || n > INPUT_MAX_BYTES)
        return 0;
    checks[bytes[0] % (sizeof(checks) / sizeof(checks[0]))](
        strv_make((const char *)bytes + 1, n - 1));
    return 0;
}
