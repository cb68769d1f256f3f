/*
 * limit_secure.c - TLS on a connection to Redis, by hiredis' own way of it (libhiredis_ssl).
 *
 * hiredis reads and writes by way of OpenSSL as it would otherwise of the socket, but takes an error
 * that another connection of the thread left behind for its own, and forgets why a handshake failed.
 * Its reading and writing are therefore called by ours.  Without libhiredis_ssl nothing here can be
 * reached: such a URL is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#ifdef HAVE_HIREDIS_SSL
#include <hiredis/hiredis_ssl.h>
#endif
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/limits/limit_int.h"

static bool is_end(const struct redisContext *redis)
{
    return redis->err == 0 || redis->err == REDIS_ERR_EOF ||
           (redis->err == REDIS_ERR_IO && strncmp(redis->errstr, "could not ", 10) != 0);
}

void redis_reason(const struct redisContext *redis, bool is_secure, bool has_answered,
                  char out[LIMIT_WHY_BYTES])
{
    const char *said = redis->err != 0 && redis->errstr[0] != '\0' ? redis->errstr : "closed";
    const char *hint = "";

    /* Redis says nothing to who speaks the other way, and its alert may be lost with the line. */
    if (!has_answered && is_end(redis))
        hint = is_secure ? ", before any answer: does it want a client's certificate?"
                         : ", before any answer: does it want TLS (rediss://)?";
    (void)snprintf(out, LIMIT_WHY_BYTES, "%s%s", said, hint);
}

#ifdef HAVE_HIREDIS_SSL

/* What a connection's functions are: hiredis', but for ours in front of two of them. */
struct secured {
    redisContextFuncs funcs;
    const redisContextFuncs *theirs;
    redisContext *redis;
    SSL *ssl; /* a reference */
};

bool secure_is_built(void)
{
    return true;
}

/* Why what was just tried failed; empties the queue.  False: TLS itself has nothing to say. */
static bool explain(const SSL *ssl, char *out, size_t size)
{
    const char *doing = SSL_is_init_finished(ssl) ? "go on in TLS" : "finish the TLS handshake";
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verdict = SSL_get_verify_result(ssl);

    ERR_clear_error();
    if (!reason)
        return false;
    if (verdict != X509_V_OK && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        (void)snprintf(out, size, "could not %s: %s: %s", doing, reason,
                       X509_verify_cert_error_string(verdict));
    else
        (void)snprintf(out, size, "could not %s: %s", doing, reason);
    return true;
}

/* hiredis has noted that it failed; what it noted beyond is of errno alone. */
static void note(const struct secured *s, redisContext *redis)
{
    if (!explain(s->ssl, redis->errstr, sizeof(redis->errstr)) && errno == 0)
        (void)snprintf(redis->errstr, sizeof(redis->errstr), "%s",
                       SSL_is_init_finished(s->ssl) ? "closed"
                                                    : "closed in the TLS handshake");
}

static ssize_t read_secured(redisContext *redis, char *out, size_t size)
{
    const struct secured *s = redis->privdata;
    ssize_t n;

    ERR_clear_error();
    errno = 0;
    n = s->theirs->read(redis, out, size);
    if (n < 0)
        note(s, redis);
    return n;
}

static ssize_t write_secured(redisContext *redis)
{
    const struct secured *s = redis->privdata;
    ssize_t n;

    ERR_clear_error();
    errno = 0;
    n = s->theirs->write(redis);
    if (n < 0)
        note(s, redis);
    return n;
}

/* hiredis frees what is its own after this. */
static void free_secured(void *privdata)
{
    struct secured *s = privdata;

    s->redis->funcs = s->theirs;
    SSL_free(s->ssl);
    free(s);
}

static SSL *begin(redisContext *redis, const struct secure *by, const char *host,
                  char why[LIMIT_WHY_BYTES])
{
    const redisContextFuncs *plain = redis->funcs;
    SSL *ssl = by->make(by->arg, host, why);
    struct secured *s;

    if (!ssl)
        return NULL;
    /* An event tells of what the socket has, never of what was read of it ahead. */
    SSL_set_read_ahead(ssl, 0);
    ERR_clear_error();
    if (redisInitiateSSL(redis, ssl) != REDIS_OK) {
        if (!explain(ssl, why, LIMIT_WHY_BYTES))
            (void)snprintf(why, LIMIT_WHY_BYTES, "could not begin the TLS handshake");
        SSL_free(ssl);         /* hiredis keeps none that failed, */
        redis->funcs = plain; /* and would go on to use it */
        return NULL;
    }
    ASSERT(SSL_up_ref(ssl) == 1);
    s = xcalloc(1, sizeof(*s));
    s->theirs = redis->funcs;
    s->funcs = *redis->funcs;
    s->funcs.read = read_secured;
    s->funcs.write = write_secured;
    s->redis = redis;
    s->ssl = ssl;
    redis->funcs = &s->funcs;
    redis->privdata = s;
    redis->free_privdata = free_secured;
    return ssl;
}

bool secure_begin(struct redisContext *redis, const struct secure *by, const char *host,
                  char why[LIMIT_WHY_BYTES])
{
    return begin(redis, by, host, why) != NULL;
}

/* Until there is something to go on with; false: there was nothing until then. */
static bool wait_for(int fd, short what, int64_t until_us)
{
    struct pollfd one = {.fd = fd, .events = what};
    int n;

    do {
        int64_t left_us = until_us - clock_mono_us();

        n = left_us > 0 ? poll(&one, 1, (int)(left_us / 1000) + 1) : 0;
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

static bool shake_hands(const redisContext *redis, SSL *ssl, char why[LIMIT_WHY_BYTES])
{
    int64_t until_us = clock_mono_us() + SECURE_TIMEOUT_MS * 1000;

    for (;;) {
        int result, error;

        ERR_clear_error();
        errno = 0;
        result = SSL_do_handshake(ssl);
        if (result == 1)
            return true;
        error = SSL_get_error(ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            if (!explain(ssl, why, LIMIT_WHY_BYTES))
                (void)snprintf(why, LIMIT_WHY_BYTES, "could not finish the TLS handshake: %s",
                               errno != 0 ? strerror(errno) : "closed");
            return false;
        }
        if (!wait_for(redis->fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_us)) {
            (void)snprintf(why, LIMIT_WHY_BYTES, "%s", SECURE_SILENCE);
            return false;
        }
    }
}

bool secure_wait(struct redisContext *redis, const struct secure *by, const char *host,
                 char why[LIMIT_WHY_BYTES])
{
    int flags = fcntl(redis->fd, F_GETFL);
    SSL *ssl = NULL;
    bool good = flags >= 0 && fcntl(redis->fd, F_SETFL, flags | O_NONBLOCK) == 0;

    /* hiredis' handshake would wait anew for each byte that comes. */
    redis->flags &= ~REDIS_BLOCK;
    if (good)
        ssl = begin(redis, by, host, why);
    else
        (void)snprintf(why, LIMIT_WHY_BYTES, "%s", strerror(errno));
    good = ssl && shake_hands(redis, ssl, why);
    redis->flags |= REDIS_BLOCK;
    return good && fcntl(redis->fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

#else

bool secure_is_built(void)
{
    return false;
}

bool secure_begin(struct redisContext *redis, const struct secure *by, const char *host,
                  char why[LIMIT_WHY_BYTES])
{
    (void)redis;
    (void)by;
    (void)host;
    (void)snprintf(why, LIMIT_WHY_BYTES, "%s", SECURE_MISSING);
    return false;
}

bool secure_wait(struct redisContext *redis, const struct secure *by, const char *host,
                 char why[LIMIT_WHY_BYTES])
{
    return secure_begin(redis, by, host, why);
}

#endif
