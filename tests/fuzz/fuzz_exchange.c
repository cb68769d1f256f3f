/*
 * fuzz_exchange.c - whole exchanges: a real worker (event loop, exchange machine, limits in
 * memory, journal in a folder) between clients and upstreams that say whatever the input says,
 * in whatever order, while time passes and ends close.
 *
 * Holds, whatever they say:
 *   once both sides have left, no exchange, connection, byte held or descriptor is left;
 *   each BEGIN of the journal has one END, and each END one BEGIN;
 *   each request that an upstream has seen whole is recorded;
 *   nothing stays reserved;
 *   an upstream sees no internal field and no credential but its own;
 *   an answer of an upstream's that the client has whole is the upstream's, byte for byte, and
 *   what it has of one that is not whole is its beginning.
 *
 * The input is a script: a byte that says what to do and with whom, and what it needs besides.
 * Its first byte chooses the client's protocol and bounds.
 */
#include "tests/fuzz/fuzz_exchange.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_net.h"

#include <netinet/in.h>

#include "base/clock.h"
#include "base/held.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/segment_record.h"
#include "proxy/addresses.h"
#include "proxy/auth.h"
#include "proxy/collected.h"
#include "proxy/conn.h"
#include "proxy/http1.h"
#include "proxy/memory.h"
#include "proxy/repeats.h"
#include "proxy/server_int.h"
#include "proxy/ws_handshake.h"
#include "proxy/xchg.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum {
    INPUT_MAX_BYTES = 16 << 10,
    CLIENTS_MAX = 4,
    RECORDS_MAX = 512,
    LAST_TURNS = 200, /* in which all must end once both sides have left */
    BEGINS_MAX = 1 + 20, /* of a stream that grows, with each step (xchg_grow.c) */
    WHO = 7,          /* what addresses.h would call each client */
};

enum op {
    OP_CLIENT_SAYS = 0, /* two bytes of length, bytes */
    OP_UPSTREAM_SAYS,
    OP_CLIENT_PIECE, /* a byte: one of the well-formed pieces of fuzz_exchange.h */
    OP_UPSTREAM_PIECE,
    OP_CLOSE, /* a byte: which side, and how */
    OP_TIME,  /* a byte: how long */
    OP_HEARING, /* a byte: who reads no more, or again */
    OP_TURNS,
    OP_COUNT,
};

struct client {
    struct far far;
    bool left; /* before the end of the script */
};

struct recorded {
    struct uuid id;
    unsigned begins, ends;
};

static struct server server;
static struct generation *generations[2]; /* with wide and with narrow bounds */
static struct client clients[CLIENTS_MAX];
static size_t n_clients;
static struct recorded records[RECORDS_MAX];
static size_t n_records;
static unsigned run_number;

/* ---- once ------------------------------------------------------------------------------------ */

static struct generation *load(const char *name, const char *bounds)
{
    struct generation *g = xcalloc(1, sizeof(*g));
    struct problems problems;
    char *text = xasprintf(FUZZ_CONFIG, bounds);

    fuzz_write(name, text, strlen(text));
    free(text);
    problems_init(&problems);
    atomic_init(&g->refs, 1);
    g->tickets = tls_tickets_new();
    g->server = SSL_CTX_new(TLS_server_method()); /* asks for no certificates, makes nothing */
    g->config = config_load(fuzz_path(name), &problems);
    for (size_t i = 0; i < problems.n; i++)
        fprintf(stderr, "%s\n", problem_text(&problems.at[i]));
    ASSERT(g->config && problems.total == 0);
    problems_release(&problems);
    g->clients = xcalloc(g->config->n_upstreams, sizeof(SSL_CTX *));
    return g;
}

static void clean_up(void)
{
    generation_unref(generations[0]);
    generation_unref(generations[1]);
    collected_close(server.collected);
    repeats_free(server.repeats);
    addresses_free(server.addresses);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct fail fail;

    (void)argc;
    (void)argv;
    log_setup(getenv("FUZZ_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_LOGFMT);
    fuzz_h2_make();
    fuzz_folder_make();
    ASSERT(mkdir(fuzz_path("var"), 0700) == 0);
    generations[0] = load("wide.json", FUZZ_WIDE);
    generations[1] = load("narrow.json", FUZZ_NARROW);
    pthread_mutex_init(&server.lock, NULL);
    server.current = generations[0];
    server.repeats = repeats_new();
    server.addresses = addresses_new();
    ASSERT(collected_open(fuzz_path("var"), &server.collected, &fail) == RC_OK);
    atexit(clean_up);
    return 0;
}

/* ---- the script -------------------------------------------------------------------------------- */

struct script {
    const uint8_t *at;
    size_t left;
    bool h2;
};

static unsigned next_byte(struct script *s)
{
    if (s->left == 0)
        return 0;
    s->left--;
    return *s->at++;
}

static struct strv next_bytes(struct script *s)
{
    size_t n = next_byte(s);
    struct strv out;

    n |= (size_t)next_byte(s) << 8;
    n = n < s->left ? n : s->left;
    out = strv_make((const char *)s->at, n);
    s->at += n;
    s->left -= n;
    return out;
}

static void turns(struct worker *w, int n)
{
    while (n-- > 0) {
        worker_turn(w, false);
        for (size_t i = 0; i < n_clients; i++)
            far_read(&clients[i].far);
        for (size_t i = 0; i < n_fars; i++)
            far_read(&fars[i]);
    }
}

/* A further client, where there is room. */
static void call(struct worker *w, bool h2)
{
    struct conn *c;
    int fd;

    if (n_clients == CLIENTS_MAX)
        return;
    far_pair(&clients[n_clients].far, &fd);
    clients[n_clients++].left = false;
    ASSERT(server_connections_add(&server, CLIENTS_MAX));
    ASSERT(addresses_add(server.addresses, WHO, CLIENTS_MAX));
    c = conn_open(w, fd, NULL, WHO);
    c->wants_h2 = h2;
}

static struct far *client_of(struct worker *w, const struct script *s, unsigned who)
{
    while (n_clients <= who % CLIENTS_MAX)
        call(w, s->h2);
    return &clients[who % CLIENTS_MAX].far;
}

/* 0: the newest connection, 1: the one before, and so on; NULL: there is none. */
static struct far *upstream_of(unsigned who)
{
    return n_fars > 0 ? &fars[n_fars - 1 - who % n_fars] : NULL;
}

/* The answer to a handshake, as far as it is to be had. */
static void say_accept(struct far *f)
{
    struct http1_header head_lines[HTTP1_HEADERS_MAX];
    struct http1_head head = {.headers = head_lines};
    char accept[WS_ACCEPT_TEXT], text[512];
    struct strv key;
    int n;

    if (buf_len(&f->got) == 0 ||
        http1_parse_request(buf_view(&f->got), FAR_BYTES, HTTP1_HEADERS_MAX, &head) !=
            PARSE_DONE)
        return;
    key = http1_value(&head, STRV("sec-websocket-key"));
    if (key.n != WS_KEY_TEXT - 1)
        return;
    ws_accept_make(key, accept);
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    far_send(f, text, (size_t)n);
}

static void say_piece(struct far *f, const struct fuzz_pieces *pieces, unsigned which)
{
    const struct fuzz_piece *piece = &pieces->at[which % pieces->n];

    if (!f)
        return;
    if (piece->n == 0)
        say_accept(f);
    far_send(f, piece->text, piece->n);
}

static void close_one(struct worker *w, const struct script *s, unsigned who, unsigned how)
{
    struct far *f = how & 1 ? client_of(w, s, who) : upstream_of(who);
    struct linger now = {.l_onoff = 1};

    if (!f || f->fd < 0)
        return;
    if (how & 1)
        clients[who % CLIENTS_MAX].left = true;
    if (how & 2) {
        shutdown(f->fd, SHUT_WR);
    } else {
        if (how & 4)
            (void)setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        far_close(f);
    }
}

static void step(struct worker *w, struct script *s)
{
    static const int64_t SPANS_MS[] = {1, 60, 1100, 16000, 61000, 130000, 700000, 4000000};
    unsigned first = next_byte(s), who = first >> 5, byte;
    struct strv bytes;

    switch ((enum op)(first % OP_COUNT)) {
    case OP_CLIENT_SAYS:
        bytes = next_bytes(s);
        far_send(client_of(w, s, who), bytes.p, bytes.n);
        break;
    case OP_UPSTREAM_SAYS:
        bytes = next_bytes(s);
        if (upstream_of(who))
            far_send(upstream_of(who), bytes.p, bytes.n);
        break;
    case OP_CLIENT_PIECE:
        byte = next_byte(s);
        say_piece(client_of(w, s, who), s->h2 ? &fuzz_h2_pieces : &fuzz_client_pieces, byte);
        break;
    case OP_UPSTREAM_PIECE:
        say_piece(upstream_of(who), &fuzz_upstream_pieces, next_byte(s));
        break;
    case OP_CLOSE:
        close_one(w, s, who, next_byte(s));
        break;
    case OP_TIME:
        pass_time(SPANS_MS[next_byte(s) % (sizeof(SPANS_MS) / sizeof(SPANS_MS[0]))]);
        break;
    case OP_HEARING:
        byte = next_byte(s);
        if (byte & 2)
            refuse_connect = byte & 4;
        else if (byte & 1)
            client_of(w, s, who)->deaf = byte & 4;
        else if (upstream_of(who))
            upstream_of(who)->deaf = byte & 4;
        break;
    case OP_TURNS:
        if (first >> 3 == 31)
            worker_post(w, LETTER_DRAIN, NULL);
        turns(w, 4);
        break;
    case OP_COUNT:
        break;
    }
    turns(w, 2);
}

/* Both sides leave; the worker comes to rest. */
static void leave(struct worker *w)
{
    int64_t moved;

    for (size_t i = 0; i < n_clients; i++)
        clients[i].far.deaf = false;
    for (size_t i = 0; i < n_fars; i++)
        fars[i].deaf = false;
    turns(w, 8); /* what was said is heard */
    pass_time(1100);
    turns(w, 8);
    for (size_t i = 0; i < n_clients; i++)
        far_close(&clients[i].far);
    for (size_t i = 0; i < n_fars; i++)
        far_close(&fars[i]);
    refuse_connect = true;
    for (int i = 0; i < LAST_TURNS; i++) {
        if (w->n_running == 0 && list_is_empty(&w->conns))
            break;
        moved = i < 100 ? 100 : 30000;
        pass_time(moved);
        turns(w, 2);
    }
    ASSERT(w->n_running == 0 && list_is_empty(&w->conns) && list_is_empty(&w->live));
    turns(w, 2);
    ASSERT(list_is_empty(&w->dead_conns) && list_is_empty(&w->later) && w->n_draining == 0);
    ASSERT(atomic_load(&server.connections) == 0);
}

/* ---- what must hold --------------------------------------------------------------------------- */

static struct recorded *recorded(const struct uuid *id, bool add)
{
    for (size_t i = 0; i < n_records; i++) {
        if (memcmp(&records[i].id, id, sizeof(*id)) == 0)
            return &records[i];
    }
    if (!add)
        return NULL;
    ASSERT(n_records < RECORDS_MAX);
    records[n_records] = (struct recorded){.id = *id};
    return &records[n_records++];
}

static void read_segment(int dir_fd, const char *name)
{
    struct fail fail;
    struct segment *s = segment_open(dir_fd, name, &fail);
    struct segment_window window;
    struct segment_entry entry;
    enum rc rc;

    ASSERT(s != NULL);
    segment_window_init(&window);
    while ((rc = segment_next(s, &window, &entry, &fail)) == RC_OK) {
        struct stored_record stored;
        struct record r;

        if (entry.kind != JOURNAL_BEGIN && entry.kind != JOURNAL_END)
            continue;
        ASSERT(segment_record(s, &entry, &stored, &fail) == RC_OK);
        ASSERT(record_decode_stored(&stored, &r) == RC_OK);
        if (entry.kind == JOURNAL_BEGIN)
            recorded(&r.id, true)->begins++;
        else
            recorded(&r.id, true)->ends++;
    }
    ASSERT(rc == RC_EOF);
    segment_window_release(&window);
    segment_close(s);
}

/* What has a BEGIN has one END, and the other way round. */
static void check_journal(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    ASSERT(dir != NULL);
    n_records = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (segment_name_is_valid(entry->d_name))
            read_segment(dirfd(dir), entry->d_name);
    }
    closedir(dir);
    for (size_t i = 0; i < n_records; i++)
        ASSERT(records[i].begins >= 1 && records[i].begins <= BEGINS_MAX && records[i].ends == 1);
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    (void)arg;
    ASSERT(c->reserved == 0);
}

static void check_request(const struct http1_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http1_header *h = &head->headers[i];

        ASSERT(!auth_is_internal_header(h->name) ||
               (ws_is_upgrade(head) && ws_is_handshake_header(h->name)));
        ASSERT(!auth_is_credential_header(h->name) ||
               strv_ends(h->value, STRV(FUZZ_PROVIDER_KEY)));
    }
}

/* A message's payload, as far as it is there. */
struct body {
    struct buf bytes;
    size_t used; /* of the message */
    bool whole, bad;
};

static void read_body(struct strv in, const struct http1_framing *framing, bool ended,
                      struct body *out)
{
    struct http1_chunked chunked = {0};
    enum parse_status status = PARSE_MORE;

    buf_init(&out->bytes, 2 * FAR_BYTES);
    out->whole = framing->body == BODY_NONE || (framing->body == BODY_CLOSE && ended);
    out->bad = false;
    out->used = 0;
    if (framing->body == BODY_LENGTH || framing->body == BODY_CLOSE) {
        out->used = framing->body == BODY_LENGTH && framing->length < in.n
                        ? (size_t)framing->length
                        : in.n;
        ASSERT(buf_append(&out->bytes, in.p, out->used) == RC_OK);
        out->whole = out->whole || (framing->body == BODY_LENGTH && out->used == framing->length);
    }
    while (framing->body == BODY_CHUNKED && status == PARSE_MORE && out->used < in.n) {
        struct strv data = STRV_NONE;
        size_t used = 0;

        status = http1_chunked_read(&chunked, strv_skip(in, out->used), &used, &data);
        ASSERT(buf_append_strv(&out->bytes, data) == RC_OK);
        out->used += used;
        out->whole = status == PARSE_DONE;
        out->bad = status == PARSE_BAD;
    }
}

/* The requests on one connection of an upstream; how many were whole. */
static size_t read_requests(const struct far *f, struct http1_head *first)
{
    struct strv in = buf_view(&f->got);
    size_t n = 0;

    while (in.n > 0) {
        struct http1_header head_lines[HTTP1_HEADERS_MAX];
        struct http1_head head = {.headers = head_lines};
        struct http1_framing framing;
        struct body body;
        enum parse_status status =
            http1_parse_request(in, FAR_BYTES, HTTP1_HEADERS_MAX, &head);

        ASSERT(status != PARSE_BAD);
        if (status == PARSE_MORE)
            break;
        check_request(&head);
        ASSERT(http1_frame(&head, true, STRV_NONE, &framing) == HTTP1_OK);
        in = strv_skip(in, head.bytes);
        read_body(in, &framing, false, &body);
        ASSERT(!body.bad);
        in = strv_skip(in, body.used);
        if (n == 0) {
            struct http1_header *lines = first->headers;

            memcpy(lines, head_lines, sizeof(head_lines));
            *first = head;
            first->headers = lines;
        }
        n += body.whole;
        buf_release(&body.bytes);
        if (!body.whole || ws_is_upgrade(&head))
            break; /* frames follow */
    }
    return n;
}

/* The final response in what one side has sent; false: none that can be read. */
static bool read_response(struct strv in, struct strv method, bool ended,
                          struct http1_head *head, struct body *body)
{
    struct http1_framing framing;

    for (;;) {
        *head = (struct http1_head){.headers = head->headers};
        if (in.n == 0 ||
            http1_parse_response(in, FAR_BYTES, HTTP1_HEADERS_MAX, head) != PARSE_DONE)
            return false;
        in = strv_skip(in, head->bytes);
        if (head->status >= 200)
            break;
        if (head->status == 101)
            return false;
    }
    if (http1_frame(head, false, method, &framing) != HTTP1_OK)
        return false;
    read_body(in, &framing, ended, body);
    return true;
}

/* Where one request went to one upstream: what the client has of the answer is the upstream's. */
static void check_relayed(const struct client *c, const struct far *up,
                          const struct http1_head *request)
{
    struct http1_header told_lines[HTTP1_HEADERS_MAX], had_lines[HTTP1_HEADERS_MAX];
    struct http1_head told = {.headers = told_lines}, had = {.headers = had_lines};
    struct body told_body, had_body;
    struct uuid id;
    size_t n;

    if (strv_starts(request->target, STRV("/asks/"))) /* the usage that we asked for stays here */
        return;
    if (!read_response(buf_view(&up->sent), request->method, false, &told, &told_body))
        return;
    if (read_response(buf_view(&c->far.got), request->method, c->far.ended, &had, &had_body)) {
        if (uuid_parse(http1_value(&had, STRV("x-tollgate-request-id")), &id) &&
            recorded(&id, false) && !http1_find(&had, STRV("x-tollgate-denied"))) {
            n = buf_len(&told_body.bytes) < buf_len(&had_body.bytes) ? buf_len(&told_body.bytes)
                                                                     : buf_len(&had_body.bytes);
            ASSERT(had.status == told.status && !had_body.bad);
            ASSERT(strv_eq(strv_head(buf_view(&told_body.bytes), n),
                           strv_head(buf_view(&had_body.bytes), n)));
            if (told_body.whole && had_body.whole && told.minor == 1)
                ASSERT(buf_len(&told_body.bytes) == buf_len(&had_body.bytes));
        }
        buf_release(&had_body.bytes);
    }
    buf_release(&told_body.bytes);
}

static void check_wires(bool h2)
{
    struct http1_header request_lines[HTTP1_HEADERS_MAX];
    struct http1_head request = {.headers = request_lines};
    size_t seen = 0;

    for (size_t i = 0; i < n_fars; i++)
        seen += read_requests(&fars[i], &request);
    ASSERT(seen <= n_records);
    if (!h2 && n_clients == 1 && !clients[0].left && n_fars == 1 && seen == 1 && n_records == 1)
        check_relayed(&clients[0], &fars[0], &request);
}

/* ---- a run -------------------------------------------------------------------------------------- */

static int listen_somewhere(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ASSERT(fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0);
    ASSERT(listen(fd, 1) == 0);
    return fd;
}

static int lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct script s;
    struct limiter_options memory = {.redis_url = NULL};
    int fd_before = lowest_free_fd();
    int64_t held_before = held_now();
    struct generation *g;
    struct worker *w;
    char journal[FUZZ_PATH_BYTES];

    if (n < 2 || n > INPUT_MAX_BYTES)
        return 0;
    s = (struct script){bytes + 1, n - 1, bytes[0] & 1};
    g = generations[bytes[0] >> 1 & 1];
    snprintf(journal, sizeof(journal), "%s/journal%u", fuzz_folder, run_number++ % 2);
    n_clients = n_fars = 0;
    refuse_connect = false;
    server.limit_memory = limit_memory_new();
    w = worker_new(&server, 0, listen_somewhere(), g, journal);
    ASSERT(w != NULL);
    while (s.left > 0)
        step(w, &s);
    leave(w);
    ASSERT(limit_read(&memory, server.limit_memory, g->config->limits, clock_wall_us(),
                      on_counter, NULL) == RC_OK);
    worker_free(w);
    limit_memory_free(server.limit_memory);
    check_journal(journal);
    check_wires(s.h2);
    fuzz_remove(journal);
    for (size_t i = 0; i < n_clients; i++)
        far_forget(&clients[i].far);
    for (size_t i = 0; i < n_fars; i++)
        far_forget(&fars[i]);
    ASSERT(lowest_free_fd() == fd_before);
    ASSERT(held_now() == held_before);
    return 0;
}
