/*
 * test_trail.c - the trail of changes: what is noted is told in order; a line that was altered,
 * taken out or left half written, and a change by another hand, are found.
 */
#include "reports/trail.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "tests/unit/proxy/scratch_dir.h"
#include "tests/unit/unit.h"

static struct scratch_dir dir;
static char path[256];

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    (void)scratch_path(&dir, "trail.jsonl", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&dir);
    return 0;
}

enum { TOLD_MAX = 16 };
struct told {
    size_t n;
    enum trail_status status[TOLD_MAX];
    char action[TOLD_MAX][32], before[TOLD_MAX][SHA256_HEX], detail[TOLD_MAX][2048];
    char head[SHA256_HEX];
};

static enum rc take(const struct trail_change *c, enum trail_status status, void *arg)
{
    struct told *t = arg;

    assert_true(t->n < TOLD_MAX);
    t->status[t->n] = status;
    (void)snprintf(t->action[t->n], sizeof(t->action[0]), "%s", c->action ? c->action : "");
    (void)snprintf(t->before[t->n], sizeof(t->before[0]), "%s", c->before ? c->before : "");
    (void)snprintf(t->detail[t->n], sizeof(t->detail[0]), "%s", c->detail ? c->detail : "");
    t->n++;
    return RC_OK;
}

static struct told told(void)
{
    struct told t = {.n = 0};
    struct fail fail;

    assert_int_equal(trail_read(dir.path, take, &t, t.head, &fail), RC_OK);
    return t;
}

static void note(const char *action, const char *object, const char *before, const char *after)
{
    const struct trail_change c = {
        .action = action, .object = object, .before = before, .after = after};
    struct fail fail;

    assert_int_equal(trail_append(dir.path, &c, &fail), RC_OK);
}

static void observe(const char *object, const char *after)
{
    const struct trail_change c = {.action = "start", .object = object, .after = after};
    struct fail fail;

    assert_int_equal(trail_observe(dir.path, &c, &fail), RC_OK);
}

static char *file_text(void)
{
    FILE *file = fopen(path, "re");
    static char text[64 << 10];
    size_t n = fread(text, 1, sizeof(text) - 1, file);

    (void)fclose(file);
    text[n] = '\0';
    return text;
}

static void nothing_yet(void **state)
{
    struct told t = told();

    (void)state;
    assert_int_equal(t.n, 0);
    assert_string_equal(t.head, "");
}

static void what_is_noted_is_told(void **state)
{
    struct stat st;
    struct told t;
    char *last;
    char hash[SHA256_HEX];

    (void)state;
    note("import", "books/plan", NULL, "aa");
    note("import", "books/plan", "aa", "bb");
    note("import", "books/plan", "bb", "bb"); /* nothing changed */
    note("budget raise", "limit/x", NULL, NULL);
    t = told();
    assert_int_equal(t.n, 3);
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(t.status[i], TRAIL_GOOD);
    assert_string_equal(t.before[1], "aa");
    assert_string_equal(t.action[2], "budget raise");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* The head is what anybody computes: sha256 of the last line without its end. */
    last = file_text();
    last[strlen(last) - 1] = '\0';
    trail_hash(strv_z(strrchr(last, '\n') + 1), hash);
    assert_string_equal(hash, t.head);
}

static void what_is_observed_is_a_change(void **state)
{
    struct told t;

    (void)state;
    observe("configuration", "aa");
    observe("configuration", "aa");
    observe("keys", NULL); /* there are none, and were none */
    observe("configuration", "bb");
    observe("keys", "cc");
    observe("keys", NULL); /* gone */
    observe("keys", NULL);
    t = told();
    assert_int_equal(t.n, 4);
    assert_string_equal(t.before[1], "aa");
    assert_string_equal(t.before[2], "");
    assert_string_equal(t.before[3], "cc");
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(t.status[i], TRAIL_GOOD);
}

static void another_hand_is_a_gap(void **state)
{
    struct told t;

    (void)state;
    note("key create", "keys", NULL, "aa");
    note("key create", "keys", "bb", "cc"); /* somebody made bb of aa */
    note("key create", "keys", NULL, "dd"); /* somebody took cc away */
    note("import", "books/plan", "ee", "ff"); /* the first one that is known */
    t = told();
    assert_int_equal(t.n, 4);
    assert_int_equal(t.status[0], TRAIL_GOOD);
    assert_int_equal(t.status[1], TRAIL_GAP);
    assert_int_equal(t.status[2], TRAIL_GAP);
    assert_int_equal(t.status[3], TRAIL_GOOD);
}

static void rewrite(const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void four(void)
{
    note("one", "a", NULL, "11");
    note("two", "b", NULL, "22");
    note("three", "c", NULL, "33");
    note("four", "d", NULL, "44");
}

static void an_altered_line_breaks_the_chain(void **state)
{
    struct told t;
    char *text;

    (void)state;
    four();
    text = strdup(file_text());
    memcpy(strstr(text, "\"22\""), "\"23\"", 4);
    rewrite(text);
    free(text);
    t = told();
    assert_int_equal(t.n, 4);
    assert_int_equal(t.status[1], TRAIL_GOOD); /* it follows the first: the next tells */
    assert_int_equal(t.status[2], TRAIL_ALTERED);
    assert_int_equal(t.status[3], TRAIL_GOOD);
}

static void a_line_taken_out_breaks_the_chain(void **state)
{
    struct told t;
    char *text, *line;

    (void)state;
    four();
    text = strdup(file_text());
    line = strchr(text, '\n') + 1;
    memmove(line, strchr(line, '\n') + 1, strlen(strchr(line, '\n') + 1) + 1);
    rewrite(text);
    t = told();
    assert_int_equal(t.n, 3);
    assert_int_equal(t.status[1], TRAIL_ALTERED);
    /* The first as well. */
    rewrite(line);
    free(text);
    t = told();
    assert_int_equal(t.n, 2);
    assert_int_equal(t.status[0], TRAIL_ALTERED);
}

static void what_cannot_be_read_is_told(void **state)
{
    struct told t;

    (void)state;
    rewrite("{\"at\":\"2026-11-03T10:00:00Z\",\"actor\":\"a\",\"action\":\"b\"}\n\n[]\nnothing\n");
    t = told();
    assert_int_equal(t.n, 4);
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(t.status[i], TRAIL_ALTERED);
    note("one", "a", NULL, NULL); /* goes on behind it */
    t = told();
    assert_int_equal(t.n, 5);
    assert_int_equal(t.status[4], TRAIL_GOOD);
}

static void half_a_line_was_never_noted(void **state)
{
    struct told t;
    FILE *file;

    (void)state;
    note("one", "a", NULL, "11");
    file = fopen(path, "ae");
    assert_true(fputs("{\"at\":\"2026-11-", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(told().n, 1);
    note("two", "a", "11", "22");
    t = told();
    assert_int_equal(t.n, 2);
    assert_int_equal(t.status[1], TRAIL_GOOD);
}

static void long_texts_are_cut(void **state)
{
    char text[3 * TRAIL_TEXT_MAX_BYTES];
    struct trail_change c = {.action = "one", .object = "a", .detail = text};
    struct fail fail;
    struct told t;

    (void)state;
    memset(text, '\1', sizeof(text)); /* six bytes each as JSON */
    text[sizeof(text) - 1] = '\0';
    c.actor = c.action = c.object = c.before = text;
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_OK);
    t = told();
    assert_int_equal(t.n, 1);
    assert_int_equal(strlen(t.detail[0]), TRAIL_TEXT_MAX_BYTES);
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3); /* whole characters alone */
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_OK);
    assert_int_equal(strlen(told().detail[1]), TRAIL_TEXT_MAX_BYTES / 3 * 3);
}

static void there_is_a_most(void **state)
{
    static const struct trail_change c = {.action = "one", .object = "a"};
    struct fail fail;
    char line[1 << 16];
    FILE *file = fopen(path, "we");

    (void)state;
    memset(line, ' ', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (size_t n = 0; n < TRAIL_MAX_BYTES; n += sizeof(line))
        assert_int_equal(fwrite(line, 1, sizeof(line), file), sizeof(line));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_LIMIT);
    assert_int_equal(truncate(path, TRAIL_MAX_BYTES - (int)sizeof(line)), 0);
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_OK);
}

static void who_holds_the_lock_is_waited_for(void **state)
{
    static const struct trail_change c = {.action = "one", .object = "a"};
    struct fail fail;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_TIMEOUT);
    (void)close(fd);
    assert_int_equal(trail_append(dir.path, &c, &fail), RC_OK);
}

/* Who called sudo; nobody else can say so. */
static void the_actor_is_who_called(void **state)
{
    char actor[TRAIL_ACTOR_TEXT];

    (void)state;
    assert_int_equal(setenv("SUDO_USER", "ann", 1), 0);
    trail_actor(actor);
    assert_int_equal(strcmp(actor, "ann") == 0, geteuid() == 0);
    assert_int_equal(unsetenv("SUDO_USER"), 0);
    trail_actor(actor);
    assert_true(actor[0] && strcmp(actor, "ann") != 0);
}

enum { WRITERS = 4, EACH = 10 };

static void *write_some(void *arg)
{
    for (int i = 0; i < EACH; i++)
        note("one", arg, NULL, NULL);
    return NULL;
}

static enum rc count(const struct trail_change *c, enum trail_status status, void *arg)
{
    (void)c;
    assert_int_equal(status, TRAIL_GOOD);
    ++*(int *)arg;
    return RC_OK;
}

static void writers_do_not_mix(void **state)
{
    static char name[] = "a";
    pthread_t thread[WRITERS];
    struct fail fail;
    int n = 0;

    (void)state;
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_some, name), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(trail_read(dir.path, count, &n, NULL, &fail), RC_OK);
    assert_int_equal(n, WRITERS * EACH);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_yet),
        CASE(what_is_noted_is_told),
        CASE(what_is_observed_is_a_change),
        CASE(another_hand_is_a_gap),
        CASE(an_altered_line_breaks_the_chain),
        CASE(a_line_taken_out_breaks_the_chain),
        CASE(what_cannot_be_read_is_told),
        CASE(half_a_line_was_never_noted),
        CASE(long_texts_are_cut),
        CASE(there_is_a_most),
        CASE(who_holds_the_lock_is_waited_for),
        CASE(the_actor_is_who_called),
        CASE(writers_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
