#include "tests/provider/socket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/call.h"
#include "tests/provider/replay.h"

enum {
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
    MESSAGE_MAX_BYTES = 64 << 20,
    QUEUE_MAX = 100000,
    KEY_CHARS = 24,
};

enum speech { RESPONSES, REALTIME, GOOGLE, RECORDED };

/* One message that waits to be sent. */
struct waiting {
    char *text;
    size_t n;
    uint64_t bill, output; /* tokens billed once it is sent */
    bool ends_bill;
};

struct session {
    enum speech speech;
    const struct settings *settings;
    struct request *request;
    uint64_t number;
    struct buf message;
    struct waiting *queue;
    size_t n_queue, at_queue;
    size_t sent_events;
    const char *end;
    bool close_sent;
    uint64_t words;   /* said so far */
    uint64_t appends; /* of sound */
    char transcriber[CALL_MODEL_BYTES];
    char model[CALL_MODEL_BYTES];
    struct strv script; /* RECORDED: the lines still to come */
    struct reply recording;
};

/* ---- frames ------------------------------------------------------------------------------ */

static void put_frame(struct buf *out, int first, const char *p, size_t n)
{
    unsigned char head[10] = {(unsigned char)first};
    size_t bytes = 2;
    if (n < 126) {
        head[1] = (unsigned char)n;
    } else if (n < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(n >> 8);
        head[3] = (unsigned char)n;
        bytes = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
        bytes = 10;
    }
    ASSERT(buf_append(out, (const char *)head, bytes) == RC_OK);
    ASSERT(buf_append(out, p, n) == RC_OK);
}

/* A text message, in as many frames as the handshake asks for. */
static void put_text_frames(struct session *s, struct buf *out, const char *p, size_t n)
{
    uint64_t most = sim_number(s->request, "Frame-Bytes", 0);
    int opcode = sim_has(s->request, "Binary") ? 2 : OP_TEXT;
    if (most == 0 || n <= most) {
        put_frame(out, 0x80 | opcode, p, n);
        return;
    }
    for (size_t at = 0; at < n; at += most) {
        size_t part = n - at < most ? n - at : most;
        bool last = at + part == n;
        put_frame(out, (last ? 0x80 : 0) | (at == 0 ? opcode : 0), p + at, part);
        if (!last && sim_has(s->request, "Ping-Between"))
            put_frame(out, 0x80 | OP_PING, "between", 7);
    }
}

static void queue_text(struct session *s, struct strv text, uint64_t bill, uint64_t output,
                       bool ends_bill)
{
    ASSERT(s->n_queue < QUEUE_MAX);
    s->queue = xrealloc(s->queue, (s->n_queue + 1) * sizeof(*s->queue));
    s->queue[s->n_queue++] = (struct waiting){.text = xmemdupz(text.p, text.n),
                                              .n = text.n,
                                              .bill = bill,
                                              .output = output,
                                              .ends_bill = ends_bill};
}

/* ---- answers ------------------------------------------------------------------------------- */

static void queue_event(struct session *s, struct call *c, struct jsonw *w, uint64_t output,
                        bool ends_bill)
{
    queue_text(s, event_end(c, w), c->reply->bill, output, ends_bill);
}

static void put_usage(struct session *s, struct call *c, struct jsonw *w)
{
    const char *in = s->speech == REALTIME ? "input_token_details" : "input_tokens_details";
    jsonw_key(w, STRV("usage"));
    jsonw_object(w);
    put_number(w, "total_tokens", c->counts.input + c->counts.output);
    put_number(w, "input_tokens", c->counts.input);
    put_number(w, "output_tokens", c->counts.output);
    jsonw_key(w, strv_z(in));
    jsonw_object(w);
    put_number(w, "cached_tokens", c->counts.cache_read);
    jsonw_end(w);
    jsonw_end(w);
}

static void put_response(struct session *s, struct call *c, struct jsonw *w, const char *status)
{
    bool done = strcmp(status, "in_progress") != 0;
    jsonw_key(w, STRV("response"));
    jsonw_object(w);
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "object", s->speech == REALTIME ? STRV("realtime.response") : STRV("response"));
    put_text(w, "status", strv_z(status));
    if (s->speech == RESPONSES) {
        put_text(w, "model", strv_z(c->model));
        jsonw_key(w, STRV("created_at"));
        jsonw_int(w, c->created);
        jsonw_key(w, STRV("parallel_tool_calls"));
        jsonw_bool(w, true);
        put_text(w, "tool_choice", STRV("auto"));
        jsonw_key(w, STRV("tools"));
        jsonw_array(w);
        jsonw_end(w);
    }
    jsonw_key(w, STRV("output"));
    jsonw_array(w);
    jsonw_end(w);
    if (done && !sim_has(c->r, "No-Usage"))
        put_usage(s, c, w);
    else
        put_null(w, "usage");
    jsonw_end(w);
}

static void event_of(struct session *s, struct call *c, struct jsonw *w, const char *type,
                     struct strv lane)
{
    char id[BOOKS_ID_BYTES];
    event_start(c, w);
    put_text(w, "type", strv_z(type));
    if (s->speech == REALTIME) {
        snprintf(id, sizeof(id), "event_%012" PRIx64, books_next());
        put_text(w, "event_id", strv_z(id));
    } else {
        put_number(w, "sequence_number", 0);
    }
    if (lane.n > 0)
        put_text(w, "stream_id", lane);
}

static void queue_answer(struct session *s, struct call *c, struct strv lane)
{
    struct jsonw w;
    uint64_t step = call_step(c);
    const char *status = c->limited ? "incomplete" : "completed";
    event_of(s, c, &w, "response.created", lane);
    put_response(s, c, &w, "in_progress");
    queue_event(s, c, &w, 0, false);
    for (uint64_t at = 0; at < c->visible; at += step) {
        uint64_t to = at + step < c->visible ? at + step : c->visible;
        event_of(s, c, &w, "response.output_text.delta", lane);
        if (s->speech == REALTIME)
            put_text(&w, "response_id", strv_z(c->response_id));
        put_text(&w, "item_id", STRV("item_1"));
        put_number(&w, "output_index", 0);
        put_number(&w, "content_index", 0);
        put_text(&w, "delta", call_text(c, at, to));
        if (s->speech == RESPONSES) {
            jsonw_key(&w, STRV("logprobs"));
            jsonw_array(&w);
            jsonw_end(&w);
        }
        queue_event(s, c, &w, to - at, false);
    }
    event_of(s, c, &w,
             s->speech == REALTIME ? "response.done"
             : c->limited          ? "response.incomplete"
                                   : "response.completed",
             lane);
    put_response(s, c, &w, status);
    queue_event(s, c, &w, 0, true);
}

static void queue_google(struct session *s, struct call *c)
{
    struct jsonw w;
    for (uint64_t at = 0; at < c->visible; at++) {
        event_start(c, &w);
        jsonw_key(&w, STRV("serverContent"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("modelTurn"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("parts"));
        jsonw_array(&w);
        jsonw_object(&w);
        put_text(&w, "text", call_text(c, at, at + 1));
        jsonw_end(&w);
        jsonw_end(&w);
        jsonw_end(&w);
        jsonw_end(&w);
        queue_event(s, c, &w, 1, false);
    }
    event_start(c, &w);
    jsonw_key(&w, STRV("serverContent"));
    jsonw_object(&w);
    jsonw_key(&w, STRV("turnComplete"));
    jsonw_bool(&w, true);
    jsonw_end(&w);
    jsonw_key(&w, STRV("usageMetadata"));
    jsonw_object(&w);
    put_number(&w, "promptTokenCount", c->counts.input);
    put_number(&w, "responseTokenCount", c->counts.output);
    put_number(&w, "totalTokenCount", c->counts.input + c->counts.output);
    jsonw_end(&w);
    queue_event(s, c, &w, 0, true);
}

/* One answer: planned, billed, queued. */
static void answer(struct session *s, struct strv model, uint64_t words, uint64_t bound,
                   struct strv lane)
{
    struct reply reply;
    struct call c;
    reply_init(&reply);
    call_init(&c, s->request, &reply);
    c.stream = true;
    c.endpoint = s->speech == RESPONSES  ? STRV("responses.ws")
                 : s->speech == REALTIME ? STRV("realtime")
                                         : STRV("live");
    call_model(&c, model);
    call_ids(&c, "", "resp_ws");
    call_plan(&c, words, bound);
    call_bill(&c, false);
    if (s->speech == GOOGLE)
        queue_google(s, &c);
    else
        queue_answer(s, &c, lane);
    s->words += c.counts.output;
    call_free(&c);
    reply_free(&reply);
}

static void queue_error(struct session *s, struct strv event_id)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"error\",\"event_id\":\"event_x\",\"status\":429,\"error\":{"
                     "\"type\":\"rate_limit_exceeded\",\"code\":\"slow_down\",\"message\":"
                     "\"as the handshake asked\",\"param\":null,\"event_id\":\"" STRV_FMT
                     "\"}}",
                     STRV_ARG(event_id));
    queue_text(s, strv_make(text, (size_t)n), NO_BILL, 0, false);
}

/* What was said is written down: another model, another bill. */
static void queue_heard(struct session *s)
{
    char text[512];
    struct counts counts = {.input = 26, .output = 9};
    if (s->transcriber[0] == 0)
        return;
    uint64_t bill = books_bill(STRV_NONE, STRV("item_heard"), STRV("realtime.transcription"),
                               strv_z(s->transcriber), true, &counts);
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"conversation.item.input_audio_transcription.completed\","
                     "\"item_id\":\"item_heard\",\"transcript\":\"x\",\"usage\":{\"type\":"
                     "\"tokens\",\"total_tokens\":35,\"input_tokens\":26,"
                     "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":26},"
                     "\"output_tokens\":9}}");
    queue_text(s, strv_make(text, (size_t)n), bill, 0, true);
}

static void queue_session(struct session *s, const char *type)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"%s\",\"event_id\":\"event_s\",\"session\":{\"type\":"
                     "\"realtime\",\"id\":\"sess_1\",\"model\":\"%s\",\"audio\":{\"input\":{"
                     "\"transcription\":%s%s%s}}}}",
                     type, s->model, s->transcriber[0] ? "{\"model\":\"" : "null",
                     s->transcriber, s->transcriber[0] ? "\"}" : "");
    queue_text(s, strv_make(text, (size_t)n), NO_BILL, 0, false);
}

static const cJSON *member(const cJSON *json, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(json, name);
}

static void keep(char out[CALL_MODEL_BYTES], struct strv text)
{
    text = strv_head(text, CALL_MODEL_BYTES - 1);
    if (text.n > 0)
        memcpy(out, text.p, text.n);
    out[text.n] = 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void take_response_create(struct session *s, const cJSON *json)
{
    uint64_t bound = json_number(json, "max_output_tokens", UINT64_MAX);
    uint64_t words = s->words;
    if (sim_has(s->request, "Fail")) {
        queue_error(s, json_text(json, "event_id"));
        return;
    }
    if (s->speech == RESPONSES) {
        words = count_json_words(member(json, "input"));
        answer(s, json_text(json, "model"), words, bound, json_text(json, "stream_id"));
        return;
    }
    bound = json_number(member(json, "response"), "max_output_tokens", bound);
    answer(s, strv_z(s->model), words, bound, STRV_NONE);
}

static void take_openai(struct session *s, const cJSON *json)
{
    struct strv type = json_text(json, "type");
    uint64_t every = sim_number(s->request, "Vad-Every", 0);
    if (strv_eq(type, STRV("response.create"))) {
        take_response_create(s, json);
    } else if (strv_eq(type, STRV("conversation.item.create"))) {
        s->words += count_parts(member(member(json, "item"), "content"));
        queue_text(s, STRV("{\"type\":\"conversation.item.added\",\"event_id\":\"e\"}"), NO_BILL,
                   0, false);
    } else if (strv_eq(type, STRV("session.update"))) {
        const cJSON *audio = member(member(json, "session"), "audio");
        keep(s->transcriber,
             json_text(member(member(audio, "input"), "transcription"), "model"));
        queue_session(s, "session.updated");
    } else if (strv_eq(type, STRV("input_audio_buffer.append"))) {
        s->appends++;
        s->words += 2;
        if (every > 0 && s->appends % every == 0) {
            answer(s, strv_z(s->model), s->words, UINT64_MAX, STRV_NONE);
            queue_heard(s);
        }
    }
}

static void take_google(struct session *s, const cJSON *json)
{
    const cJSON *content = member(json, "clientContent");
    const cJSON *turn;
    if (member(json, "setup")) {
        struct strv model = json_text(member(json, "setup"), "model");
        const char *slash = model.n ? memrchr(model.p, '/', model.n) : NULL;
        keep(s->model, slash ? strv_z(slash + 1) : model);
        queue_text(s, STRV("{\"setupComplete\":{}}"), NO_BILL, 0, false);
        return;
    }
    cJSON_ArrayForEach(turn, member(content, "turns")) s->words +=
        count_parts(member(turn, "parts"));
    if (json_true(content, "turnComplete"))
        answer(s, strv_z(s->model), s->words, UINT64_MAX, STRV_NONE);
}

/* What the recording says next: to send, up to where the client has to speak. */
static void play(struct session *s)
{
    struct strv mark = STRV("\"data\": "), line;
    while (strv_split(&s->script, '\n', &line)) {
        size_t at = 0;
        if (strv_starts(line, STRV("{\"direction\": \"sent\"")))
            return;
        while (at < line.n && !strv_starts(strv_skip(line, at), mark))
            at++;
        if (at + mark.n < line.n) {
            line = strv_skip(line, at + mark.n);
            queue_text(s, strv_head(line, line.n - 1), NO_BILL, 0, false);
        }
    }
}

static void take_message(struct session *s)
{
    struct strv text = buf_view(&s->message);
    books_received(s->number, text);
    if (s->speech == RECORDED) {
        play(s);
        return;
    }
    cJSON *json = cJSON_ParseWithLength(text.n ? text.p : "", text.n);
    if (sim_has(s->request, "Hang")) {
        cJSON_Delete(json);
        return;
    }
    if (s->speech == GOOGLE)
        take_google(s, json);
    else
        take_openai(s, json);
    cJSON_Delete(json);
}

/* One frame at the start of in; false where it is not whole. */
static bool take_frame(struct session *s, struct buf *in, struct buf *out)
{
    struct strv bytes = buf_view(in);
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t head = 2;
    uint64_t n;
    if (bytes.n < 2)
        return false;
    n = p[1] & 127;
    size_t more = n == 126 ? 2 : n == 127 ? 8 : 0;
    if (bytes.n < head + more + 4)
        return false;
    if (more > 0)
        n = 0;
    for (size_t i = 0; i < more; i++)
        n = n << 8 | p[2 + i];
    head += more;
    if (!(p[1] & 128) || (p[0] & 0x70) || n > MESSAGE_MAX_BYTES) {
        books_bad_request("a frame without mask, or with a reserved bit");
        s->end = "cut";
        return false;
    }
    if (bytes.n < head + 4 + n)
        return false;
    struct strv mask = strv_make(bytes.p + head, 4);
    char *text = xmemdupz(bytes.p + head + 4, n);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(text[i] ^ mask.p[i % 4]);
    int opcode = p[0] & 15;
    bool final = (p[0] & 128) != 0;
    buf_consume(in, head + 4 + n);
    if (opcode == OP_PING) {
        put_frame(out, 0x80 | OP_PONG, text, n);
    } else if (opcode == OP_CLOSE) {
        books_received(s->number, STRV("close"));
        if (!s->close_sent)
            put_frame(out, 0x80 | OP_CLOSE, text, n);
        s->end = "close";
    } else if (opcode != OP_PONG) {
        ASSERT(buf_append(&s->message, text, n) == RC_OK);
        if (final) {
            take_message(s);
            buf_clear(&s->message);
        }
    }
    free(text);
    return true;
}

bool socket_take(struct session *s, struct buf *in, struct buf *out)
{
    while (!s->end && take_frame(s, in, out))
        ;
    return s->end == NULL;
}

bool socket_next(struct session *s, struct buf *out, uint64_t *delay_ms)
{
    const struct request *r = s->request;
    if (s->end || s->at_queue == s->n_queue)
        return false;
    *delay_ms = s->sent_events > 0 ? sim_number(r, "Event-Delay-Ms", 0) : 0;
    struct waiting *w = &s->queue[s->at_queue++];
    put_text_frames(s, out, w->text, w->n);
    books_bill_output(w->bill, w->output);
    if (w->ends_bill)
        books_bill_end(w->bill, w->n, true);
    s->sent_events++;
    free(w->text);
    w->text = NULL;
    if (s->sent_events == sim_number(r, "Cut-After-Events", 0))
        s->end = "cut";
    if (s->sent_events == sim_number(r, "Close-After-Events", 0)) {
        put_frame(out, 0x80 | OP_CLOSE, "\x03\xf3gone", 6);
        s->close_sent = true;
    }
    return true;
}

const char *socket_end(const struct session *s)
{
    return s->end;
}

/* ---- the handshake ------------------------------------------------------------------------------ */

static bool find_speech(const struct request *r, enum speech *out)
{
    *out = RECORDED;
    if (sim_text(r, "Replay").n > 0)
        return true;
    *out = REALTIME;
    if (strv_ends(r->path, STRV("/realtime")))
        return true;
    *out = RESPONSES;
    if (strv_ends(r->path, STRV("/responses")))
        return true;
    *out = GOOGLE;
    return strv_ends(r->path, STRV("BidiGenerateContent"));
}

bool socket_is_asked(const struct settings *settings, const struct request *r)
{
    enum speech speech;
    return strv_eq_nocase(request_header(r, STRV("upgrade")), STRV("websocket")) &&
           strv_eq_nocase(request_header(r, STRV("connection")), STRV("upgrade")) &&
           request_header(r, STRV("sec-websocket-key")).n == KEY_CHARS &&
           strv_eq(request_header(r, STRV("sec-websocket-version")), STRV("13")) &&
           find_speech(r, &speech) && sim_number(r, "Status", 0) == 0 &&
           endpoint_lets_in(settings, r);
}

static void put_answer(struct request *r, struct buf *out)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    char text[128], accept[64];
    unsigned int n = 0;
    struct strv key = request_header(r, STRV("sec-websocket-key"));
    struct strv chosen = sim_text(r, "Subprotocol");
    struct strv offered = request_header(r, STRV("sec-websocket-protocol"));
    if (chosen.n == 0 && strv_starts(offered, STRV("realtime")))
        chosen = STRV("realtime");
    int length = snprintf(text, sizeof(text), STRV_FMT "258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                          STRV_ARG(key));
    ASSERT(EVP_Digest(text, (size_t)length, sum, &n, EVP_sha1(), NULL) == 1);
    EVP_EncodeBlock((unsigned char *)accept, sum, (int)n);
    if (sim_has(r, "Bad-Accept"))
        accept[0] = accept[0] == 'A' ? 'B' : 'A';
    ASSERT(buf_printf(out,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                      "Upgrade\r\nSec-WebSocket-Accept: %s\r\nx-request-id: req_ws\r\n",
                      accept) == RC_OK);
    if (chosen.n > 0)
        ASSERT(buf_printf(out, "Sec-WebSocket-Protocol: " STRV_FMT "\r\n", STRV_ARG(chosen)) ==
               RC_OK);
    if (sim_has(r, "Extension"))
        ASSERT(buf_printf(out, "Sec-WebSocket-Extensions: permessage-deflate\r\n") == RC_OK);
    ASSERT(buf_append(out, "\r\n", 2) == RC_OK);
}

/* Bytes in hexadecimal that are sent after the handshake, whatever they mean. */
static void put_raw(const struct request *r, struct buf *out)
{
    struct strv hex = sim_text(r, "Raw-Frames");
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char pair[3] = {hex.p[i], hex.p[i + 1], 0};
        char byte = (char)strtoul(pair, NULL, 16);
        ASSERT(buf_append(out, &byte, 1) == RC_OK);
    }
}

struct session *socket_open(const struct settings *settings, struct request *r, uint64_t number,
                            struct buf *out)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->settings = settings;
    s->request = r;
    s->number = number;
    (void)find_speech(r, &s->speech);
    buf_init(&s->message, MESSAGE_MAX_BYTES);
    reply_init(&s->recording);
    keep(s->model, request_parameter(r, STRV("model")));
    put_answer(r, out);
    put_raw(r, out);
    if (s->speech == RECORDED) {
        ASSERT(settings->replay_dir != NULL &&
               replay_answer(settings->replay_dir, sim_text(r, "Replay"), &s->recording));
        s->script = buf_view(&s->recording.body);
        play(s);
    } else if (s->speech == REALTIME) {
        queue_session(s, "session.created");
    }
    return s;
}

void socket_free(struct session *s)
{
    if (!s)
        return;
    while (s->at_queue < s->n_queue) {
        struct waiting *w = &s->queue[s->at_queue++];
        if (w->ends_bill)
            books_bill_end(w->bill, 0, false);
        free(w->text);
    }
    free(s->queue);
    buf_release(&s->message);
    reply_free(&s->recording);
    free(s);
}
