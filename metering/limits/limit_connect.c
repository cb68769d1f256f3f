#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/limits/limit_int.h"

enum {
    REDIS_PORT = 6379,
    REDIS_DB_MAX = 65535,
    HOST_MAX_BYTES = 255,
    PATH_MAX_BYTES = 107, /* of a sockaddr_un */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decoded; NULL where it is not well-formed or holds a NUL. */
static char *decode(struct strv s)
{
    char *out = xmalloc(s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];

        if (c == '%') {
            int high = i + 2 < s.n || i + 2 == s.n - 1 ? hex_digit(s.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;

            if (low < 0 || (high == 0 && low == 0)) {
                free(out);
                return NULL;
            }
            c = high * 16 + low;
            i += 2;
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return out;
}

/* "[user]:password@" or "user@" in front; the rest stays in *rest. */
static const char *parse_login(struct strv *rest, struct redis_target *t)
{
    size_t end = rest->n, colon;
    struct strv login;

    for (size_t i = 0; i < rest->n && rest->p[i] != '/'; i++) {
        if (rest->p[i] == '@')
            end = i; /* the last one: a password may hold others unencoded */
    }
    if (end == rest->n)
        return NULL;
    login = strv_head(*rest, end);
    *rest = strv_skip(*rest, end + 1);
    colon = strv_find(login, ':');
    if (colon == login.n)
        return "the user has no password: write user:password@";
    if (colon > 0 && !(t->user = decode(strv_head(login, colon))))
        return "the user is not percent-encoded";
    if (!(t->password = decode(strv_skip(login, colon + 1))))
        return "the password is not percent-encoded";
    return NULL;
}

static const char *parse_db(struct strv text, struct redis_target *t)
{
    uint64_t db;

    if (!strv_parse_u64(text, REDIS_DB_MAX, &db))
        return "the database is not a number";
    t->db = (int)db;
    return NULL;
}

static const char *parse_unix(struct strv rest, struct redis_target *t)
{
    size_t query;
    const char *wrong = parse_login(&rest, t);

    if (wrong)
        return wrong;
    query = strv_find(rest, '?');
    if (query < rest.n) {
        struct strv db = strv_skip(rest, query + 1);

        if (!strv_starts(db, STRV("db=")))
            return "the only option is ?db=";
        wrong = parse_db(strv_skip(db, 3), t);
        rest = strv_head(rest, query);
    }
    if (!wrong && (rest.n < 2 || rest.p[0] != '/'))
        wrong = "the socket's path must start with /";
    if (!wrong && rest.n > PATH_MAX_BYTES)
        wrong = "the socket's path is too long";
    if (!wrong)
        t->path = xmemdupz(rest.p, rest.n);
    return wrong;
}

static const char *parse_tcp(struct strv rest, struct redis_target *t)
{
    const char *wrong = parse_login(&rest, t);
    size_t slash = strv_find(rest, '/'), colon;
    struct strv host = strv_head(rest, slash), db = strv_skip(rest, slash + 1);
    uint64_t port = REDIS_PORT;

    if (wrong)
        return wrong;
    if (db.n > 0 && (wrong = parse_db(db, t)))
        return wrong;
    if (strv_starts(host, STRV("["))) {
        colon = strv_find(host, ']');
        if (colon == host.n)
            return "the address has no closing ]";
        t->host = xmemdupz(host.p + 1, colon - 1);
        host = strv_skip(host, colon + 1);
        colon = 0;
        if (host.n > 0 && host.p[0] != ':')
            return "a port must follow ]";
    } else {
        colon = strv_find(host, ':');
        t->host = xmemdupz(host.p, colon);
    }
    if (colon < host.n &&
        (!strv_parse_u64(strv_skip(host, colon + 1), 65535, &port) || port == 0))
        return "the port is not a number from 1 to 65535";
    t->port = (int)port;
    if (t->host[0] == '\0' || strlen(t->host) > HOST_MAX_BYTES)
        return "the host is empty or too long";
    return NULL;
}

const char *redis_target_parse(const char *url, struct redis_target *target)
{
    struct strv text = strv_z(url);
    const char *wrong;

    *target = (struct redis_target){0};
    if (strv_starts(text, STRV("redis://")))
        wrong = parse_tcp(strv_skip(text, 8), target);
    else if (strv_starts(text, STRV("unix://")))
        wrong = parse_unix(strv_skip(text, 7), target);
    else if (strv_starts(text, STRV("rediss://")))
        wrong = "TLS to Redis is not supported: use redis:// over a private network or unix://";
    else
        wrong = "it must start with redis:// or unix://";
    if (wrong)
        redis_target_release(target);
    return wrong;
}

void redis_target_release(struct redis_target *t)
{
    if (t->password)
        explicit_bzero(t->password, strlen(t->password));
    free(t->path);
    free(t->host);
    free(t->user);
    free(t->password);
    *t = (struct redis_target){0};
}

const char *limiter_url_check(const char *url)
{
    struct redis_target t;
    const char *wrong = redis_target_parse(url, &t);

    redis_target_release(&t);
    return wrong;
}

/* ---- names --------------------------------------------------------------------- */

bool address_is_numeric(const char *host)
{
    unsigned char any[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, any) == 1 || inet_pton(AF_INET6, host, any) == 1;
}

bool address_find(const char *host, char out[ADDRESS_TEXT])
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool is_found = false;

    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    is_found = getnameinfo(found->ai_addr, found->ai_addrlen, out, ADDRESS_TEXT, NULL, 0,
                           NI_NUMERICHOST) == 0;
    freeaddrinfo(found);
    return is_found;
}

struct lookup {
    atomic_int refs; /* the thread and whoever asked */
    atomic_bool is_over;
    bool is_found;
    char host[HOST_MAX_BYTES + 1];
    char address[ADDRESS_TEXT];
};

static void lookup_unref(struct lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) == 1)
        free(l);
}

static void *lookup_run(void *arg)
{
    struct lookup *l = arg;

    l->is_found = address_find(l->host, l->address);
    atomic_store(&l->is_over, true);
    lookup_unref(l);
    return NULL;
}

struct lookup *lookup_start(const char *host)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    pthread_attr_t attributes;
    pthread_t thread;
    int failed;

    memcpy(l->host, host, strnlen(host, HOST_MAX_BYTES));
    atomic_init(&l->refs, 2);
    atomic_init(&l->is_over, false);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    failed = pthread_create(&thread, &attributes, lookup_run, l);
    pthread_attr_destroy(&attributes);
    if (failed) {
        free(l);
        return NULL;
    }
    return l;
}

bool lookup_poll(struct lookup *l, bool *found, char out[ADDRESS_TEXT])
{
    if (!atomic_load(&l->is_over))
        return false;
    *found = l->is_found;
    if (l->is_found)
        memcpy(out, l->address, ADDRESS_TEXT);
    return true;
}

void lookup_free(struct lookup *l)
{
    if (l)
        lookup_unref(l);
}
