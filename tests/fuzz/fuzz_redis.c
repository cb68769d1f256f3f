/*
 * fuzz_redis.c - what a Redis, a Sentinel or a cluster answers, to the limiter's own client.
 *
 * Holds: whatever it says, and whenever it hangs up, each reservation gets its verdict in the
 * time that it may take, none after it was cancelled, and nothing is left open.
 * The first byte chooses what the limiter believes to speak to; then a script.
 */
#include "tests/fuzz/fuzz_net.h"

#include <stdlib.h>

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>

#include "base/clock.h"
#include "base/held.h"
#include "base/log.h"
#include "metering/limits/limit.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
    INPUT_MAX_BYTES = 8 << 10,
    SLOTS = 6,
    ARENA_BYTES = 64 << 10,
    TIMEOUT_MS = 50,
    LAST_TURNS = 20,
};

enum op {
    OP_SAY = 0,  /* a byte of length, bytes */
    OP_NUMBERS,  /* a byte: how many; each a byte: an array of them */
    OP_PIECE,    /* a byte: a well-formed reply */
    OP_RESERVE,  /* and the further ones: of the slot in the upper bits */
    OP_SETTLE,
    OP_CANCEL,
    OP_CLAIM,
    OP_TIME,
    OP_CLOSE,
    OP_DRAIN,
    OP_COUNT,
};

struct slot {
    struct arena arena;
    struct admission a;
    struct work_claim claim;
    bool used, claims, cancelled;
};

static struct slot slots[SLOTS];
static struct event_base *base;
static struct zone *utc;
static struct limit_set *set;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct limit_def defs[] = {
        {.name = "usd", .unit = UNIT_USD, .limit = 1000000, .period = PERIOD_DAY},
        {.name = "rate", .unit = UNIT_TOKENS, .limit = 1000, .rolling = true, .rolling_s = 60},
        {.name = "busy", .unit = UNIT_CONCURRENT, .limit = 3, .on_failure = ON_FAILURE_REFUSE},
    };

    (void)argc;
    (void)argv;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    if (!getenv("FUZZ_LOG"))
        ASSERT(freopen("/dev/null", "w", stdout) != NULL);
    utc = zone_open("UTC");
    ASSERT(utc != NULL);
    set = limit_set_new(defs, sizeof(defs) / sizeof(defs[0]), utc);
    return 0;
}

static int attach(struct redisAsyncContext *redis, void *loop)
{
    return redisLibeventAttach(redis, loop) == REDIS_OK ? 0 : -1;
}

static void on_verdict(void *arg)
{
    struct slot *s = arg;

    ASSERT(!s->cancelled && s->used);
}

static int64_t turn(struct limiter *l, int n)
{
    int64_t next = INT64_MAX;

    while (n-- > 0) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        next = limiter_run(l);
        for (size_t i = 0; i < n_fars; i++)
            far_read(&fars[i]);
    }
    return next;
}

static void reserve(struct limiter *l, struct slot *s, unsigned seed)
{
    struct limit_amounts worst = {.n = {[UNIT_USD] = seed, [UNIT_TOKENS] = seed, [UNIT_REQUESTS] = 1,
                                        [UNIT_CONCURRENT] = 1}};
    struct subject subject = {.n_free = 0};
    struct uuid id;

    if (s->used)
        return;
    memset(&s->a, 0, sizeof(s->a));
    arena_reset(&s->arena);
    uuid7_make(&id, clock_wall_us());
    ASSERT(admission_init(&s->a, set, &subject, &worst, &id, clock_wall_us(), &s->arena) ==
           RC_OK);
    s->a.wake = on_verdict;
    s->a.arg = s;
    s->used = true;
    s->cancelled = false;
    limiter_reserve(l, &s->a);
}

static void settle(struct limiter *l, struct slot *s, unsigned seed)
{
    struct limit_amounts taken = {.n = {[UNIT_USD] = seed, [UNIT_TOKENS] = seed / 2}};

    if (!s->used || s->a.verdict == LIMIT_PENDING)
        return;
    if (s->a.verdict == LIMIT_OK && (seed & 1))
        limiter_extend(l, &s->a);
    if (s->a.verdict == LIMIT_OK)
        limiter_settle(l, &s->a, &taken);
    s->used = false;
}

static void cancel(struct limiter *l, struct slot *s)
{
    if (s->used) {
        s->cancelled = true;
        limiter_cancel(l, &s->a);
    }
    if (s->claims)
        limiter_claim_cancel(&s->claim);
    s->used = s->claims = false;
}

static void on_claim(void *arg)
{
    struct slot *s = arg;

    ASSERT(s->claims && s->claim.verdict != WORK_PENDING);
    s->claims = false;
}

static void claim(struct limiter *l, struct slot *s, unsigned seed)
{
    if (s->claims)
        return;
    memset(&s->claim, 0, sizeof(s->claim));
    s->claim.work.b[0] = (unsigned char)seed;
    s->claim.to = seed % 3;
    s->claim.wake = on_claim;
    s->claim.arg = s;
    s->claims = true;
    limiter_claim(l, &s->claim);
    if (s->claim.verdict != WORK_PENDING)
        s->claims = false;
}

static void say_numbers(struct far *f, const uint8_t *numbers, size_t n)
{
    char text[16];

    far_send(f, text, (size_t)snprintf(text, sizeof(text), "*%zu\r\n", n));
    for (size_t i = 0; i < n; i++)
        far_send(f, text,
                 (size_t)snprintf(text, sizeof(text), ":%d\r\n",
                                  numbers[i] == 255 ? -1 : (int)numbers[i]));
}

static void say_piece(struct far *f, unsigned which)
{
    static const char *const PIECES[] = {
        "+OK\r\n", "-NOSCRIPT x\r\n", "-MOVED 5 127.0.0.1:7\r\n", "-ASK 5 127.0.0.1:7\r\n",
        "-TRYAGAIN x\r\n", "-READONLY x\r\n", "-ERR x\r\n", "$-1\r\n", "*-1\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n7\r\n", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
        "*1\r\n*4\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:7\r\n*2\r\n$0\r\n\r\n:8\r\n",
        "*3\r\n:0\r\n:1\r\n$1\r\na\r\n", "*1\r\n:3\r\n", "*1\r\n:2\r\n", "-NOAUTH x\r\n"};
    const char *text = PIECES[which % (sizeof(PIECES) / sizeof(PIECES[0]))];

    far_send(f, text, strlen(text));
}

static void step(struct limiter *l, const uint8_t **at, size_t *left)
{
    unsigned first = *(*at)++, arg = 0;
    struct slot *s = &slots[(first / OP_COUNT) % SLOTS];
    struct far *f = n_fars > 0 ? &fars[n_fars - 1] : NULL;
    size_t n;

    (*left)--;
    if (*left > 0) {
        arg = *(*at)++;
        (*left)--;
    }
    n = arg < *left ? arg : *left;
    switch ((enum op)(first % OP_COUNT)) {
    case OP_SAY:
    case OP_NUMBERS:
        if (f && first % OP_COUNT == OP_SAY)
            far_send(f, *at, n);
        else if (f)
            say_numbers(f, *at, n);
        *at += n;
        *left -= n;
        break;
    case OP_PIECE:
        if (f)
            say_piece(f, arg);
        break;
    case OP_RESERVE:
        reserve(l, s, arg);
        break;
    case OP_SETTLE:
        settle(l, s, arg);
        break;
    case OP_CANCEL:
        cancel(l, s);
        break;
    case OP_CLAIM:
        claim(l, s, arg);
        break;
    case OP_TIME:
        pass_time(arg < 200 ? (int64_t)arg : (int64_t)(arg - 199) * 1000);
        break;
    case OP_CLOSE:
        if (arg & 2)
            refuse_connect = arg & 1;
        else if (f)
            far_close(f);
        break;
    case OP_DRAIN:
        if (arg & 1)
            limiter_itemize(l);
        else
            limiter_drain(l);
        break;
    case OP_COUNT:
        break;
    }
    turn(l, 2);
}

static struct limiter *make(unsigned choice)
{
    static const char *const URLS[] = {
        "redis://127.0.0.1:1/0", "redis://u:p@127.0.0.1:1/2",
        "redis+cluster://127.0.0.1:1,127.0.0.2:2", "redis+sentinel://127.0.0.1:1,127.0.0.2:2/m"};
    struct limiter_options options = {
        .redis_url = URLS[choice % 4],
        .timeout_ms = TIMEOUT_MS,
        .on_failure = choice & 4 ? ON_FAILURE_REFUSE : ON_FAILURE_LOCAL,
        .attach = attach,
        .loop = base,
        .await_rebuild = choice & 8,
        .leases = choice & 16,
        .owner = choice & 32 ? "a1" : NULL,
        .start = 1,
    };

    return limiter_new(&options, NULL);
}

/* In the time that it may take, everyone has a verdict. */
static void wait_for_all(struct limiter *l)
{
    for (int i = 0; i < LAST_TURNS; i++) {
        pass_time(TIMEOUT_MS / 2);
        turn(l, 2);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        ASSERT(!slots[i].used || slots[i].a.verdict != LIMIT_PENDING);
        ASSERT(!slots[i].claims);
        settle(l, &slots[i], 3);
        cancel(l, &slots[i]);
    }
    turn(l, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *at = bytes;
    int64_t held = held_now();
    struct limiter *l;
    unsigned choice;

    if (n < 2 || n > INPUT_MAX_BYTES)
        return 0;
    n_fars = 0;
    refuse_connect = false;
    base = event_base_new();
    ASSERT(base != NULL);
    for (size_t i = 0; i < SLOTS; i++) {
        memset(&slots[i], 0, sizeof(slots[i]));
        arena_init(&slots[i].arena, ARENA_BYTES);
    }
    choice = *at++;
    n--;
    l = make(choice);
    ASSERT(l != NULL);
    turn(l, 2);
    while (n > 0)
        step(l, &at, &n);
    wait_for_all(l);
    limiter_free(l);
    event_base_loop(base, EVLOOP_NONBLOCK);
    for (size_t i = 0; i < n_fars; i++) {
        far_read(&fars[i]);
        ASSERT(fars[i].fd < 0 || fars[i].ended || fars[i].deaf);
        far_forget(&fars[i]);
    }
    for (size_t i = 0; i < SLOTS; i++)
        arena_release(&slots[i].arena);
    event_base_free(base);
    ASSERT(held_now() == held);
    return 0;
}
