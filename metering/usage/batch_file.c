#include "metering/usage/batch_file.h"

#include <string.h>

#include "metering/usage/jscan.h"

enum node { N_SKIP = JSCAN_SKIP, N_ROOT, N_BODY, N_URL, N_COUNT };

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("body", N_BODY),
    JSCAN_EDGE("url", N_URL),
};
static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, 0},
    [N_BODY] = {.flags = JSCAN_ENTER},
    [N_URL] = {.flags = JSCAN_WANT},
};

struct request {
    uint64_t from, to; /* where its body stands in the line */
    char url[64];
};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct request *request = arg;

    if (e->node == N_BODY && e->what == JSCAN_AT_ENTER) {
        request->from = e->begin;
    } else if (e->node == N_BODY && e->what == JSCAN_AT_LEAVE) {
        request->to = e->end;
    } else if (e->node == N_URL && e->type == JSCAN_STRING && !e->escaped && !e->cut &&
               e->text.n < sizeof(request->url)) {
        memcpy(request->url, e->text.p, e->text.n);
        request->url[e->text.n] = '\0';
    }
}

/* Where the request would have gone by itself. A batch that says so once is one of chats. */
static void find_route(const struct protocol *p, const char *url, struct route *out)
{
    protocol_route(p, STRV("POST"), url[0] ? strv_z(url) : STRV("/v1/chat/completions"),
                   STRV_NONE, out);
    if (out->endpoint->kind != ENDPOINT_METERED)
        protocol_route(p, STRV("POST"), STRV("/v1/chat/completions"), STRV_NONE, out);
}

/* False where it is no request. */
static bool read_line(struct batch_file *f)
{
    struct strv line = buf_view(&f->line);
    struct request request = {.to = 0};
    struct request_facts facts;
    struct route route;
    struct jscan scan;

    jscan_start(&scan, NODES, N_ROOT, false, on_event, &request);
    if (jscan_whole(&scan, line) != RC_OK || request.to <= request.from || request.to > line.n)
        return false;
    find_route(f->protocol, request.url, &route);
    line = strv_make(line.p + request.from, (size_t)(request.to - request.from));
    if (route.endpoint->kind != ENDPOINT_METERED ||
        protocol_scan_request(f->protocol, &route, line, NULL, &facts) != RC_OK)
        return false;
    f->fn(f->arg, &facts);
    return true;
}

static void tell_length(struct batch_file *f)
{
    struct request_facts facts;

    memset(&facts, 0, sizeof(facts));
    facts.choices = 1;
    facts.text_bytes = f->line_bytes;
    f->fn(f->arg, &facts);
}

static void end_line(struct batch_file *f)
{
    if (f->in_line &&
        (f->line_bytes > buf_len(&f->line) || (!read_line(f) && f->is_part)))
        tell_length(f);
    buf_clear(&f->line);
    f->line_bytes = 0;
    f->in_line = false;
    f->between = true;
}

/* What is kept of a line is what fits. */
static void keep(struct batch_file *f, struct strv bytes)
{
    size_t room = BATCH_LINE_MAX_BYTES - buf_len(&f->line);

    f->line_bytes += bytes.n;
    if (f->line_bytes <= BATCH_LINE_MAX_BYTES && bytes.n <= room &&
        buf_append(&f->line, bytes.p, bytes.n) != RC_OK)
        buf_clear(&f->line);
}

void batch_file_start(struct batch_file *f, const struct protocol *protocol, bool is_part,
                      batch_line_fn *fn, void *arg)
{
    *f = (struct batch_file){.protocol = protocol,
                             .fn = fn,
                             .arg = arg,
                             .between = true,
                             .is_part = is_part,
                             .in_heads = is_part};
    buf_init(&f->line, BATCH_LINE_MAX_BYTES);
}

/* What a reader of JSON may pass over before a document: blanks, a byte order mark. */
static bool is_blank(char c)
{
    return c != '\0' && strchr(" \t\r\xef\xbb\xbf", c) != NULL;
}

/* A line that begins with c is one of the file's. A form's heads end at an empty line, its
 * parts at one that begins with hyphens, as no JSON does. */
static bool begins_line(struct batch_file *f, char c)
{
    if (f->in_heads && c == '\n')
        f->in_heads = false;
    return c == '{' || (f->is_part && !f->in_heads && c != '-' && c != '\n');
}

void batch_file_feed(struct batch_file *f, struct strv bytes)
{
    while (bytes.n > 0) {
        size_t end;

        if (f->between && is_blank(bytes.p[0])) {
            bytes = strv_skip(bytes, 1);
            continue;
        }
        if (f->between)
            f->in_line = begins_line(f, bytes.p[0]);
        f->between = false;
        end = strv_find(bytes, '\n');
        if (f->in_line)
            keep(f, strv_head(bytes, end));
        if (end == bytes.n)
            return;
        end_line(f);
        bytes = strv_skip(bytes, end + 1);
    }
}

void batch_file_finish(struct batch_file *f)
{
    end_line(f);
}

void batch_file_release(struct batch_file *f)
{
    buf_release(&f->line);
}
