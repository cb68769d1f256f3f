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
    SENTINEL_PORT = 26379,
    REDIS_DB_MAX = 65535,
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

bool redis_place_set(struct redis_place *place, struct strv host, int64_t port)
{
    if (host.n == 0 || host.n > REDIS_HOST_MAX_BYTES || port <= 0 || port > UINT16_MAX)
        return false;
    *place = (struct redis_place){.port = (int)port};
    memcpy(place->host, host.p, host.n);
    if (address_is_numeric(place->host))
        memcpy(place->address, place->host, strnlen(place->host, ADDRESS_TEXT - 1));
    return true;
}

static const char *parse_place(struct strv text, uint64_t port, struct redis_place *out)
{
    struct strv host;
    size_t colon;

    if (strv_starts(text, STRV("["))) {
        colon = strv_find(text, ']');
        if (colon == text.n)
            return "the address has no closing ]";
        host = strv_make(text.p + 1, colon - 1);
        text = strv_skip(text, colon + 1);
        colon = 0;
        if (text.n > 0 && text.p[0] != ':')
            return "a port must follow ]";
    } else {
        colon = strv_find(text, ':');
        host = strv_head(text, colon);
    }
    if (colon < text.n &&
        (!strv_parse_u64(strv_skip(text, colon + 1), UINT16_MAX, &port) || port == 0))
        return "the port is not a number from 1 to 65535";
    if (!redis_place_set(out, host, (int64_t)port))
        return "the host is empty or too long";
    return NULL;
}

static const char *parse_places(struct strv text, uint64_t port, struct redis_target *t)
{
    const char *wrong = NULL;

    do {
        size_t comma = strv_find(text, ',');

        if (t->n_places == REDIS_SEEDS_MAX)
            return "it names more than 16 hosts";
        wrong = parse_place(strv_head(text, comma), port, &t->places[t->n_places++]);
        text = strv_skip(text, comma + 1);
        if (comma == 0 || t->kind == REDIS_SINGLE)
            break;
    } while (!wrong && text.n > 0);
    return wrong;
}

static const char *parse_single(struct strv rest, struct redis_target *t)
{
    const char *wrong = parse_login(&rest, t);
    size_t slash = strv_find(rest, '/');
    struct strv db = strv_skip(rest, slash + 1);

    if (wrong)
        return wrong;
    if (db.n > 0 && (wrong = parse_db(db, t)))
        return wrong;
    if (strv_find(strv_head(rest, slash), ',') < slash)
        return "several hosts: write redis+cluster:// or redis+sentinel://";
    return parse_places(strv_head(rest, slash), REDIS_PORT, t);
}

static const char *parse_cluster(struct strv rest, struct redis_target *t)
{
    const char *wrong = parse_login(&rest, t);
    size_t slash = strv_find(rest, '/');

    t->kind = REDIS_CLUSTER;
    if (wrong)
        return wrong;
    if (strv_skip(rest, slash + 1).n > 0 && !strv_eq(strv_skip(rest, slash + 1), STRV("0")))
        return "a cluster has the database 0 alone";
    return parse_places(strv_head(rest, slash), REDIS_PORT, t);
}

/* "user=u&password=p": the Sentinels' own. */
static const char *parse_guards(struct strv query, struct redis_target *t)
{
    while (query.n > 0) {
        size_t end = strv_find(query, '&');
        struct strv option = strv_head(query, end);
        char **into = NULL;

        if (strv_starts(option, STRV("sentinel_user=")))
            into = &t->guard_user;
        else if (strv_starts(option, STRV("sentinel_password=")))
            into = &t->guard_password;
        if (!into || *into)
            return "the only options are ?sentinel_user= and &sentinel_password=, once each";
        if (!(*into = decode(strv_skip(option, strv_find(option, '=') + 1))))
            return "the Sentinels' user or password is not percent-encoded";
        query = strv_skip(query, end + 1);
    }
    if (t->guard_user && !t->guard_password)
        return "the Sentinels' user has no password";
    return NULL;
}

static const char *parse_sentinel(struct strv rest, struct redis_target *t)
{
    const char *wrong = parse_login(&rest, t);
    size_t slash = strv_find(rest, '/'), end;
    struct strv hosts = strv_head(rest, slash);

    t->kind = REDIS_SENTINEL;
    rest = strv_skip(rest, slash + 1);
    end = strv_find(rest, '?');
    if (!wrong)
        wrong = parse_guards(strv_skip(rest, end + 1), t);
    rest = strv_head(rest, end);
    end = strv_find(rest, '/');
    if (!wrong && strv_skip(rest, end + 1).n > 0)
        wrong = parse_db(strv_skip(rest, end + 1), t);
    if (!wrong && end == 0)
        wrong = "the master's name is missing: write redis+sentinel://host[,host]/name";
    if (!wrong && !(t->master = decode(strv_head(rest, end))))
        wrong = "the master's name is not percent-encoded";
    return wrong ? wrong : parse_places(hosts, SENTINEL_PORT, t);
}

/* "rediss" for "redis" in front, in all that have hosts; the text goes on behind it. */
static bool take_secure(struct strv *text)
{
    struct strv rest = strv_skip(*text, 6);

    if (!strv_starts(*text, STRV("rediss")) ||
        (!strv_starts(rest, STRV("://")) && !strv_starts(rest, STRV("+"))))
        return false;
    *text = rest;
    return true;
}

const char *redis_target_parse(const char *url, struct redis_target *target)
{
    static const struct {
        const char *scheme;
        const char *(*parse)(struct strv rest, struct redis_target *t);
    } schemes[] = {{"://", parse_single},
                   {"+cluster://", parse_cluster},
                   {"+sentinel://", parse_sentinel}};
    const char *wrong = "it must start with redis://, redis+cluster://, redis+sentinel://, the same "
                        "with rediss, or unix://";
    struct strv text = strv_z(url);
    bool is_secure = take_secure(&text);

    *target = (struct redis_target){.is_secure = is_secure};
    if (strv_starts(text, STRV("unix://"))) {
        wrong = parse_unix(strv_skip(text, 7), target);
    } else if (is_secure || strv_starts(text, STRV("redis"))) {
        text = strv_skip(text, is_secure ? 0 : 5);
        for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
            struct strv scheme = strv_z(schemes[i].scheme);

            if (strv_starts(text, scheme))
                wrong = schemes[i].parse(strv_skip(text, scheme.n), target);
        }
    }
    if (is_secure && !secure_is_built()) /* goes before any other fault of it */
        wrong = SECURE_MISSING;
    if (wrong)
        redis_target_release(target);
    return wrong;
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void redis_target_release(struct redis_target *t)
{
    wipe(t->password);
    wipe(t->guard_password);
    free(t->path);
    free(t->master);
    free(t->user);
    free(t->guard_user);
    *t = (struct redis_target){0};
}

bool redis_moved_parse(struct strv error, const struct redis_place *asked,
                       struct redis_place *out)
{
    struct strv text, host;
    uint64_t port;
    size_t colon;

    if (!strv_starts(error, STRV("MOVED ")))
        return false;
    text = strv_skip(error, 6);
    text = strv_skip(text, strv_find(text, ' ') + 1);
    colon = text.n; /* the last one: an IPv6 address has others */
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == ':')
            colon = i;
    }
    host = strv_head(text, colon);
    if (host.n == 0)
        host = strv_z(asked->host);
    return strv_parse_u64(strv_skip(text, colon + 1), UINT16_MAX, &port) &&
           redis_place_set(out, host, (int64_t)port);
}

const char *redis_target_open(const struct limiter_options *options, struct redis_target *target)
{
    const char *wrong = redis_target_parse(options->redis_url, target);

    if (!wrong && target->is_secure && !options->secure) {
        redis_target_release(target);
        wrong = "TLS is wanted, and there are no certificates";
    }
    if (!wrong && target->is_secure)
        target->secure = (struct secure){options->secure, options->secure_arg};
    return wrong;
}

const char *limiter_url_check(const char *url)
{
    struct redis_target t;
    const char *wrong = redis_target_parse(url, &t);

    redis_target_release(&t);
    return wrong;
}

bool limiter_url_is_secure(const char *url)
{
    struct strv text = strv_z(url);

    return take_secure(&text);
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
    char host[REDIS_HOST_MAX_BYTES + 1];
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

    memcpy(l->host, host, strnlen(host, REDIS_HOST_MAX_BYTES));
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
