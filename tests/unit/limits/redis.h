/* redis.h - a real redis-server of the test's own, on a unix socket; an event loop. */
#ifndef TESTS_UNIT_LIMITS_REDIS_H
#define TESTS_UNIT_LIMITS_REDIS_H

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/hiredis.h>

#include "tests/unit/limits/util.h"

struct redis_server {
    char folder[64];
    char url[128];
    char socket[96];
    pid_t pid;
};

static inline int redis_attach(struct redisAsyncContext *redis, void *loop)
{
    return redisLibeventAttach(redis, loop) == REDIS_OK ? 0 : -1;
}

/* One command on a connection of its own; its integer, or 0. */
__attribute__((format(printf, 2, 3))) static inline long long
redis_ask(const struct redis_server *s, const char *format, ...)
{
    redisContext *c = redisConnectUnix(s->socket);
    redisReply *reply = NULL;
    long long n = -1;
    va_list args;

    va_start(args, format);
    if (c && c->err == 0)
        reply = redisvCommand(c, format, args);
    va_end(args);
    if (reply && reply->type != REDIS_REPLY_ERROR)
        n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    if (reply)
        freeReplyObject(reply);
    if (c)
        redisFree(c);
    return n;
}

static inline void redis_run(struct redis_server *s)
{
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        char log[128];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(log, sizeof(log), "%s/log", s->folder);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->socket,
               "--save", "", "--appendonly", "no", "--dir", s->folder, "--logfile", log,
               (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        if (redis_ask(s, "PING") >= 0)
            return;
        usleep(10000);
    }
    fail_msg("redis-server did not start");
}

static inline void redis_kill(struct redis_server *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGCONT);
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
    unlink(s->socket);
}

/* False where there is no redis-server: tests then skip. */
static inline bool redis_open(struct redis_server *s)
{
    *s = (struct redis_server){0};
    if (system("redis-server --version >/dev/null 2>&1") != 0)
        return false;
    memcpy(s->folder, "/tmp/limits-XXXXXX", sizeof("/tmp/limits-XXXXXX"));
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->socket, sizeof(s->socket), "%s/s", s->folder);
    snprintf(s->url, sizeof(s->url), "unix://%s", s->socket);
    redis_run(s);
    return true;
}

static inline void redis_close(struct redis_server *s)
{
    char log[128];

    redis_kill(s);
    snprintf(log, sizeof(log), "%s/log", s->folder);
    unlink(log);
    rmdir(s->folder);
}

/* One turn of the loop for some limiters. */
static inline void turn(struct event_base *base, struct limiter **limiters, size_t n)
{
    struct timeval pause = {.tv_usec = 1000};

    for (size_t i = 0; i < n; i++)
        limiter_run(limiters[i]);
    event_base_loopexit(base, &pause);
    event_base_loop(base, EVLOOP_ONCE);
}

#endif
