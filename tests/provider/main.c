/*
 * The simulated provider: answers as OpenAI, Anthropic and Gemini do, keeps its own
 * books, and misbehaves where a request asks it to.  For tests, demonstration and
 * benchmarks; see docs/testing.md.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/thread.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "base/strv.h"
#include "tests/provider/books.h"
#include "tests/provider/conn.h"
#include "tests/provider/memo.h"

enum {
    THREADS_MAX = 64,
    BACKLOG = 4096,
    RECORD_DEFAULT = 500,
    RECORD_MAX = 100000,
    ACCEPT_BATCH = 64,
    EXIT_USAGE = 2,
};

struct options {
    const char *address;
    int port;
    const char *cert;
    const char *key;
    size_t threads;
    size_t record;
    bool plain;
    struct settings settings;
};

struct thread {
    pthread_t id;
    struct worker worker;
    int listener;
    int stop[2]; /* a byte ends the loop */
};

static const char USAGE[] =
    "usage: provider [--port N] [--address A] --cert FILE --key FILE [--plain]\n"
    "                [--threads N] [--key-secret SECRET]... [--aws-key ID:SECRET:REGION]...\n"
    "                [--replay DIR] [--record N]\n"
    "  --key-secret  the key that it accepts, as often as there are; also taken from\n"
    "                PROVIDER_KEY; without any, every key is accepted\n"
    "  --aws-key     an account that may sign requests to Bedrock instead\n"
    "  --replay      folder of recorded answers for X-Sim-Replay\n"
    "  --record      how many requests are kept for /_sim/requests (0: none, and no\n"
    "                single bills either: for benchmarks)\n";

static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    if (strv_parse_u64(strv_z(text), max, out))
        return true;
    fprintf(stderr, "provider: '%s' is not a number of 0 to %llu\n", text,
            (unsigned long long)max);
    return false;
}

static bool add_secret(struct settings *s, const char *secret)
{
    if (s->n_secrets == SECRETS_MAX)
        return false;
    s->secrets[s->n_secrets++] = secret;
    return true;
}

static bool add_account(struct settings *s, const char *text)
{
    return s->n_accounts < SECRETS_MAX && aws_account_parse(text, &s->accounts[s->n_accounts++]);
}

static bool take_option(struct options *o, int option)
{
    uint64_t n = 0;
    switch (option) {
    case 'p':
        if (!parse_number(optarg, UINT16_MAX, &n))
            return false;
        o->port = (int)n;
        return true;
    case 'a':
        o->address = optarg;
        return true;
    case 'c':
        o->cert = optarg;
        return true;
    case 'k':
        o->key = optarg;
        return true;
    case 't':
        if (!parse_number(optarg, THREADS_MAX, &n) || n == 0)
            return false;
        o->threads = (size_t)n;
        return true;
    case 'n':
        if (!parse_number(optarg, RECORD_MAX, &n))
            return false;
        o->record = (size_t)n;
        return true;
    case 'x':
        o->plain = true;
        return true;
    case 's':
        return add_secret(&o->settings, optarg);
    case 'w':
        return add_account(&o->settings, optarg);
    case 'r':
        o->settings.replay_dir = optarg;
        return true;
    default:
        return false;
    }
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"port", required_argument, NULL, 'p'},    {"address", required_argument, NULL, 'a'},
        {"cert", required_argument, NULL, 'c'},    {"key", required_argument, NULL, 'k'},
        {"threads", required_argument, NULL, 't'}, {"record", required_argument, NULL, 'n'},
        {"plain", no_argument, NULL, 'x'},         {"key-secret", required_argument, NULL, 's'},
        {"replay", required_argument, NULL, 'r'},  {"aws-key", required_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    *o = (struct options){.address = "127.0.0.1", .threads = 1, .record = RECORD_DEFAULT};
    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;)
        if (!take_option(o, option))
            return false;
    const char *secret = getenv("PROVIDER_KEY");
    if (secret != NULL && secret[0] != 0 && !add_secret(&o->settings, secret))
        return false;
    return optind == argc && (o->plain || (o->cert != NULL && o->key != NULL));
}

static SSL_CTX *make_tls(const struct options *o)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    ASSERT(tls != NULL);
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_SERVER);
    (void)SSL_CTX_set_session_id_context(tls, (const unsigned char *)"provider", 8);
    if (SSL_CTX_use_certificate_chain_file(tls, o->cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, o->key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "provider: cannot use certificate '%s' with key '%s'\n", o->cert,
                o->key);
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}

/* A listening socket; *port is the one it got. */
static int listen_on(const char *address, int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t size = sizeof(at);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1)
        goto fail;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        goto fail;
    *port = ntohs(at.sin_port);
    return fd;

fail:
    fprintf(stderr, "provider: cannot listen on %s:%d: %s\n", address, *port, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct thread *thread = arg;
    (void)what;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int on = 1;
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0)
            return;
        (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn_open(&thread->worker, client);
    }
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct thread *thread = arg;
    (void)fd;
    (void)what;
    event_base_loopbreak(thread->worker.base);
}

static void *run_thread(void *arg)
{
    struct thread *thread = arg;
    struct worker *worker = &thread->worker;
    struct event *accepting =
        event_new(worker->base, thread->listener, EV_READ | EV_PERSIST, on_accept, thread);
    struct event *stopping =
        event_new(worker->base, thread->stop[0], EV_READ | EV_PERSIST, on_stop, thread);
    ASSERT(accepting != NULL && stopping != NULL);
    event_add(accepting, NULL);
    event_add(stopping, NULL);
    event_base_dispatch(worker->base);
    conn_close_all(worker);
    event_free(accepting);
    event_free(stopping);
    return NULL;
}

static bool start_thread(struct thread *thread, const struct options *o, SSL_CTX *tls,
                         int *port)
{
    thread->listener = listen_on(o->address, port);
    if (thread->listener < 0 || pipe(thread->stop) != 0)
        return false;
    thread->worker.base = event_base_new();
    thread->worker.tls = tls;
    thread->worker.settings = &o->settings;
    thread->worker.memo = memo_new();
    list_init(&thread->worker.conns);
    ASSERT(thread->worker.base != NULL);
    return pthread_create(&thread->id, NULL, run_thread, thread) == 0;
}

static void stop_thread(struct thread *thread)
{
    ASSERT(write(thread->stop[1], "x", 1) == 1);
    pthread_join(thread->id, NULL);
    event_base_free(thread->worker.base);
    memo_free(thread->worker.memo);
    close(thread->listener);
    close(thread->stop[0]);
    close(thread->stop[1]);
}

int main(int argc, char **argv)
{
    static struct thread threads[THREADS_MAX];
    struct options o;
    SSL_CTX *tls = NULL;
    sigset_t stop;
    int caught = 0;
    if (!parse_options(argc, argv, &o)) {
        fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    if (!o.plain && (tls = make_tls(&o)) == NULL)
        return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    books_init(o.record);
    for (size_t i = 0; i < o.threads; i++)
        if (!start_thread(&threads[i], &o, tls, &o.port))
            return EXIT_FAILURE;
    printf("ready %s://%s:%d\n", o.plain ? "http" : "https", o.address, o.port);
    fflush(stdout);
    sigwait(&stop, &caught);
    for (size_t i = 0; i < o.threads; i++)
        stop_thread(&threads[i]);
    books_free();
    SSL_CTX_free(tls);
    return EXIT_SUCCESS;
}
