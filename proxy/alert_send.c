#include "proxy/alert_send.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "proxy/libcurl.h"

#if LIBCURL_VERSION_NUM < 0x080200 /* it was misspelt */
#define CURLOPT_MAIL_RCPT_ALLOWFAILS CURLOPT_MAIL_RCPT_ALLLOWFAILS
#endif

enum { BODY_MAX_BYTES = 64 << 10, POLL_MS = 500, HEADERS_MAX = 8 };

/* One delivery under way. */
struct sending {
    struct alert_delivery *d;
    const struct libcurl *curl;
    CURL *easy;
    struct curl_slist *headers, *to;
    struct buf body;
    size_t read; /* of the body, by SMTP */
    char answer[ALERT_ANSWER_MAX];
    size_t n_answer;
};

/* ---- addresses --------------------------------------------------------------------------- */

/* Of this machine, of private networks (RFC 1918, 6598), link-local, multicast and above. */
static bool is_private_v4(uint32_t a)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } nets[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x7f000000, 8}, {0xac100000, 12},
                {0xc0a80000, 16}, {0xa9fe0000, 16}, {0x64400000, 10}};

    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        if ((a ^ nets[i].net) >> (32 - nets[i].bits) == 0)
            return true;
    }
    return a >= 0xe0000000;
}

static bool is_private(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof(in));
        return is_private_v4(ntohl(in.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        const unsigned char *b = in.sin6_addr.s6_addr;
        memcpy(&in, addr, sizeof(in));
        if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr))
            return is_private_v4((uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 |
                                 (uint32_t)b[14] << 8 | b[15]);
        return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr) ||
               (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff;
    }
    return true;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct sending *s = arg;

    (void)purpose;
    if (!s->d->channel->allow_private && is_private(&address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- one delivery ------------------------------------------------------------------------ */

static size_t take_answer(char *bytes, size_t size, size_t n, void *arg)
{
    struct sending *s = arg;
    size_t room = sizeof(s->answer) - 1 - s->n_answer, take = n < room ? n : room;

    (void)size; /* 1 */
    memcpy(s->answer + s->n_answer, bytes, take);
    s->n_answer += take;
    return n;
}

static size_t give_body(char *to, size_t size, size_t n, void *arg)
{
    struct sending *s = arg;
    struct strv rest = strv_skip(buf_view(&s->body), s->read);
    size_t give = rest.n < size * n ? rest.n : size * n;

    if (give)
        memcpy(to, rest.p, give);
    s->read += give;
    return give;
}

void alert_signature(const struct alert_channel *channel, int64_t unix_s, struct strv body,
                     char out[256])
{
    const char *const secrets[] = {channel->secret, channel->old_secret};
    char *text = xasprintf("%" PRId64 "." STRV_FMT, unix_s, STRV_ARG(body));
    int n = snprintf(out, 256, "t=%" PRId64, unix_s);

    for (size_t i = 0; i < 2; i++) {
        unsigned char mac[SHA256_BYTES];
        char hex[SHA256_HEX];
        if (!secrets[i] || !secrets[i][0])
            continue;
        digest_hmac_sha256(strv_z(secrets[i]), strv_z(text), mac);
        digest_hex(mac, sizeof(mac), hex);
        n += snprintf(out + n, 256 - (size_t)n, ",v1=%s", hex);
    }
    free(text);
}

static void add_header(struct sending *s, const char *name, const char *value)
{
    char line[512];

    (void)snprintf(line, sizeof(line), "%s:%s%s", name, value[0] ? " " : "", value);
    s->headers = s->curl->slist_append(s->headers, line);
}

static void prepare_http(struct sending *s)
{
    const struct alert_channel *channel = s->d->channel;

    add_header(s, "Content-Type", "application/json");
    add_header(s, "Expect", "");
    if (channel->kind == ALERT_WEBHOOK) {
        char signature[256];
        alert_signature(channel, clock_wall_us() / US_PER_SECOND, buf_view(&s->body),
                        signature);
        add_header(s, "X-Tollgate-Signature", signature);
        add_header(s, "Idempotency-Key", s->d->alert->id);
    }
    s->curl->easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
    s->curl->easy_setopt(s->easy, CURLOPT_POSTFIELDS, buf_view(&s->body).p);
    s->curl->easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)buf_len(&s->body));
    s->curl->easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "https,http");
}

static void prepare_mail(struct sending *s)
{
    const struct alert_channel *channel = s->d->channel;

    for (size_t i = 0; i < channel->n_to; i++)
        s->to = s->curl->slist_append(s->to, channel->to[i].p); /* terminated: the arena's */
    s->curl->easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    s->curl->easy_setopt(s->easy, CURLOPT_MAIL_FROM, channel->from);
    s->curl->easy_setopt(s->easy, CURLOPT_MAIL_RCPT, s->to);
    s->curl->easy_setopt(s->easy, CURLOPT_MAIL_RCPT_ALLOWFAILS,
                         s->d->without_refused ? 1L : 0L);
    s->curl->easy_setopt(s->easy, CURLOPT_USE_SSL,
                     channel->require_tls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_TRY);
    if (channel->user)
        s->curl->easy_setopt(s->easy, CURLOPT_USERNAME, channel->user);
    if (channel->password)
        s->curl->easy_setopt(s->easy, CURLOPT_PASSWORD, channel->password);
    s->curl->easy_setopt(s->easy, CURLOPT_UPLOAD, 1L);
    s->curl->easy_setopt(s->easy, CURLOPT_READFUNCTION, give_body);
    s->curl->easy_setopt(s->easy, CURLOPT_READDATA, s);
}

static bool prepare(struct sending *s)
{
    const struct alert_channel *channel = s->d->channel;

    buf_init(&s->body, BODY_MAX_BYTES);
    s->easy = s->curl->easy_init();
    if (!s->easy || !channel->url || alert_body(s->d->alert, channel, s->d->node, &s->body) != RC_OK)
        return false;
    s->curl->easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    s->curl->easy_setopt(s->easy, CURLOPT_URL, channel->url);
    s->curl->easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    s->curl->easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)ALERT_SEND_MS);
    s->curl->easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)ALERT_CONNECT_MS);
    s->curl->easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take_answer);
    s->curl->easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    s->curl->easy_setopt(s->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    s->curl->easy_setopt(s->easy, CURLOPT_OPENSOCKETDATA, s);
    if (channel->ca_file)
        s->curl->easy_setopt(s->easy, CURLOPT_CAINFO, channel->ca_file);
    if (channel->kind == ALERT_EMAIL)
        prepare_mail(s);
    else
        prepare_http(s);
    return true;
}

/* ---- what came of it ------------------------------------------------------------------------
 */

static void judge_status(struct sending *s, long status)
{
    struct alert_delivery *d = s->d;
    curl_off_t after = 0;
    bool good = status >= 200 && status < 300;

    if (d->channel->kind == ALERT_EMAIL) {
        d->verdict = good ? ALERT_SENT : status >= 500 ? ALERT_REFUSED : ALERT_RETRY;
        /* Somebody who left does not silence the others. */
        d->some_refused = d->verdict == ALERT_REFUSED && d->channel->n_to > 1 &&
                          !d->without_refused;
        if (d->some_refused)
            d->verdict = ALERT_RETRY;
    } else if (good) {
        d->verdict = ALERT_SENT;
    } else if (status == 408 || status == 429 || status >= 500) {
        d->verdict = ALERT_RETRY;
        if (s->curl->easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
            d->retry_after_s =
                after < ALERT_RETRY_AFTER_MAX_S ? (int)after : ALERT_RETRY_AFTER_MAX_S;
    } else {
        d->verdict = ALERT_REFUSED;
    }
    if (d->verdict != ALERT_SENT)
        (void)snprintf(d->why, sizeof(d->why), "status %ld", status);
}

static void judge(struct sending *s, CURLcode code)
{
    long status = 0;

    (void)s->curl->easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK || (s->d->channel->kind == ALERT_EMAIL && status >= 400)) {
        judge_status(s, status);
        return;
    }
    s->d->verdict = ALERT_RETRY;
    (void)snprintf(s->d->why, sizeof(s->d->why), "%s", s->curl->easy_strerror(code));
}

static void release(struct sending *s)
{
    if (s->easy)
        s->curl->easy_cleanup(s->easy);
    s->curl->slist_free_all(s->headers);
    s->curl->slist_free_all(s->to);
    buf_release(&s->body);
}

static void wait_for_all(const struct libcurl *curl, CURLM *multi)
{
    int64_t until = clock_mono_us() + (ALERT_SEND_MS + 1000) * INT64_C(1000);
    int running = 1, left;
    CURLMsg *message;

    while (running > 0 && clock_mono_us() < until) {
        if (curl->multi_perform(multi, &running) != CURLM_OK)
            break;
        while ((message = curl->multi_info_read(multi, &left))) {
            char *of = NULL;
            if (message->msg != CURLMSG_DONE)
                continue;
            (void)curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &of);
            judge((struct sending *)(void *)of, message->data.result);
        }
        if (running > 0)
            (void)curl->multi_poll(multi, NULL, 0, POLL_MS, NULL);
    }
}

static void send_all(const struct libcurl *curl, struct alert_delivery *deliveries, size_t n)
{
    struct sending *all = xcalloc(n, sizeof(*all));
    CURLM *multi = curl->multi_init();

    for (size_t i = 0; i < n; i++) {
        struct sending *s = &all[i];

        s->d = &deliveries[i];
        s->curl = curl;
        if (prepare(s) && multi)
            (void)curl->multi_add_handle(multi, s->easy);
    }
    if (multi)
        wait_for_all(curl, multi);
    for (size_t i = 0; i < n; i++) {
        if (multi && all[i].easy)
            (void)curl->multi_remove_handle(multi, all[i].easy);
        release(&all[i]);
    }
    if (multi)
        (void)curl->multi_cleanup(multi);
    free(all);
}

bool alert_send(struct alert_delivery *deliveries, size_t n)
{
    const struct libcurl *curl = libcurl();

    if (!curl)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct alert_delivery *d = &deliveries[i];

        d->verdict = ALERT_RETRY;
        d->retry_after_s = 0;
        d->some_refused = false;
        (void)snprintf(d->why, sizeof(d->why), "no answer in time");
    }
    send_all(curl, deliveries, n);
    return true;
}
