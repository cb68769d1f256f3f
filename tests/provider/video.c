#include "tests/provider/video.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/provider/gemini.h"
#include "tests/provider/openai.h"
#include "tests/provider/refusal.h"

enum { ID_BYTES = 96, NUMBER_MAX = 1 << 20 };

struct job {
    uint64_t seconds, n, begun_ms;
    char size[16], model[CALL_MODEL_BYTES];
};

static uint64_t now_ms(void)
{
    return (uint64_t)clock_wall_us() / 1000;
}

static bool is_done(const struct job *job)
{
    return now_ms() >= job->begun_ms + VIDEO_WORK_MS;
}

/* ---- OpenAI ------------------------------------------------------------------------- */

/* A member of the JSON, or the field of a form. */
static void member(const struct call *c, const char *name, char *out, size_t size)
{
    struct strv value = c->json ? json_text(c->json, name) : STRV_NONE,
                body = buf_view(&c->r->body);
    char mark[64];

    out[0] = '\0';
    if (!c->json) {
        int n = snprintf(mark, sizeof(mark), "name=\"%s\"\r\n\r\n", name);
        const char *at = body.n ? memmem(body.p, body.n, mark, (size_t)n) : NULL;

        if (at) {
            value = strv_skip(body, (size_t)(at - body.p) + (size_t)n);
            value = strv_head(value, strv_find(value, '\r'));
        }
    }
    if (value.n > 0 && value.n < size) {
        memcpy(out, value.p, value.n);
        out[value.n] = '\0';
    }
}

static void put_job(struct call *c, const struct job *job, const char *id)
{
    bool done = is_done(job);
    char seconds[24];
    struct jsonw w;

    openai_headers(c);
    event_start(c, &w);
    put_text(&w, "id", strv_z(id));
    put_text(&w, "object", STRV("video"));
    put_number(&w, "created_at", job->begun_ms / 1000);
    put_text(&w, "status", done ? STRV("completed") : STRV("queued"));
    put_text(&w, "model", strv_z(job->model));
    put_number(&w, "progress", done ? 100 : 0);
    (void)snprintf(seconds, sizeof(seconds), "%" PRIu64, job->seconds);
    put_text(&w, "seconds", strv_z(seconds));
    put_text(&w, "size", strv_z(job->size));
    document_end(c, &w);
}

static bool copy(struct strv from, char *to, size_t size)
{
    if (from.n == 0 || from.n >= size)
        return false;
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return true;
}

/* video_SECONDS_SIZE_BEGUN_NUMBER_MODEL */
static bool read_job(struct strv id, struct job *job)
{
    struct strv part[5];

    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        if (!strv_split(&id, '_', &part[i]))
            return false;
    }
    return strv_eq(part[0], STRV("video")) &&
           strv_parse_u64(part[1], NUMBER_MAX, &job->seconds) &&
           copy(part[2], job->size, sizeof(job->size)) &&
           strv_parse_u64(part[3], UINT64_MAX, &job->begun_ms) &&
           copy(id, job->model, sizeof(job->model));
}

static void begin_job(struct call *c)
{
    struct job job = {.begun_ms = now_ms()};
    char id[ID_BYTES + CALL_MODEL_BYTES], seconds[16];

    member(c, "model", job.model, 64);
    member(c, "seconds", seconds, sizeof(seconds));
    member(c, "size", job.size, sizeof(job.size));
    if (!job.model[0])
        memcpy(job.model, "sora-2", sizeof("sora-2"));
    if (!job.size[0])
        memcpy(job.size, "720x1280", sizeof("720x1280"));
    if (!strv_parse_u64(strv_z(seconds), NUMBER_MAX, &job.seconds))
        job.seconds = 4;
    (void)snprintf(id, sizeof(id), "video_%" PRIu64 "_%s_%" PRIu64 "_%" PRIu64 "_%s",
                   job.seconds, job.size, job.begun_ms, books_next(), job.model);
    put_job(c, &job, id);
}

bool openai_videos(struct call *c)
{
    struct strv path = c->r->path, mark = STRV("/videos");
    const char *at = memmem(path.p, path.n, mark.p, mark.n);
    struct strv rest = at ? strv_skip(path, (size_t)(at - path.p) + mark.n) : STRV_NONE;
    struct job job = {.n = 1};
    char id[ID_BYTES];

    if (!at || (rest.n > 0 && rest.p[0] != '/'))
        return false;
    c->endpoint = STRV("videos");
    call_ids(c, "req_sim_", "");
    if (rest.n == 0 && strv_eq(c->r->method, STRV("POST"))) {
        begin_job(c);
        return true;
    }
    rest = strv_skip(rest, 1);
    rest = strv_head(rest, strv_find(rest, '/'));
    if (!read_job(rest, &job)) {
        refuse(c->reply, c->r, DIALECT_OPENAI, 404, STRV("no such video"));
        return true;
    }
    (void)snprintf(id, sizeof(id), "%.*s", (int)rest.n, rest.p);
    put_job(c, &job, id);
    return true;
}

/* ---- Google ------------------------------------------------------------------------- */

static void put_operation(struct call *c, const struct job *job, const char *name)
{
    struct jsonw w;

    reply_header(c->reply, "server-timing: gfet4t7; dur=100");
    event_start(c, &w);
    put_text(&w, "name", strv_z(name));
    if (is_done(job)) {
        jsonw_key(&w, STRV("done"));
        jsonw_bool(&w, true);
        jsonw_key(&w, STRV("response"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("generateVideoResponse"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("generatedSamples"));
        jsonw_array(&w);
        for (uint64_t i = 0; i < job->n; i++) {
            jsonw_object(&w);
            jsonw_key(&w, STRV("video"));
            jsonw_object(&w);
            put_text(&w, "uri", STRV("https://example.test/video.mp4"));
            jsonw_end(&w);
            jsonw_end(&w);
        }
        jsonw_end(&w);
        jsonw_end(&w);
        jsonw_end(&w);
    }
    document_end(c, &w);
}

static bool read_operation(struct strv name, struct job *job)
{
    struct strv part[3];
    size_t at;

    while ((at = strv_find(name, '/')) < name.n)
        name = strv_skip(name, at + 1);
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        if (!strv_split(&name, '-', &part[i]))
            return false;
    }
    return strv_eq(part[0], STRV("op")) && strv_parse_u64(part[1], NUMBER_MAX, &job->n) &&
           strv_parse_u64(part[2], UINT64_MAX, &job->begun_ms);
}

static void no_operation(struct call *c)
{
    refuse(c->reply, c->r, DIALECT_GEMINI, 404, STRV("no such operation"));
}

void gemini_video(struct call *c, struct strv model, bool begin)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(c->json, "parameters");
    struct job job = {.n = json_number(parameters, "sampleCount", 1), .begun_ms = now_ms()};
    struct strv asked = json_text(c->json, "operationName");
    char name[512];

    if (!begin && !read_operation(asked, &job)) {
        no_operation(c);
        return;
    }
    if (begin)
        (void)snprintf(name, sizeof(name),
                       "models/%.*s/operations/op-%" PRIu64 "-%" PRIu64 "-%" PRIu64,
                       (int)model.n, model.p, job.n, job.begun_ms, books_next());
    else
        (void)snprintf(name, sizeof(name), "%.*s", (int)(asked.n < 500 ? asked.n : 500),
                       asked.p);
    put_operation(c, &job, name);
}

bool gemini_operation(struct call *c)
{
    struct strv path = c->r->path;
    const char *at = memmem(path.p, path.n, "/models/", 8);
    struct job job = {.n = 1};
    char name[512];

    if (!at || !memmem(path.p, path.n, "/operations/", 12))
        return false;
    path = strv_skip(path, (size_t)(at - path.p) + 1);
    call_ids(c, "", "simresp");
    if (!read_operation(path, &job)) {
        no_operation(c);
        return true;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(path.n < 500 ? path.n : 500), path.p);
    put_operation(c, &job, name);
    return true;
}
