/*
 * xchg_reply.c - REPLY: answers of the gateway's own, and the last bytes of what was cut.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "proxy/percent.h"
#include "proxy/xchg_socket.h"

enum { REPLY_BODY_BYTES = 16 << 10, REPLY_LINES_BYTES = 1024, RETRY_MAX_MS = 60000 };

/* ---- REPLY --------------------------------------------------------------------------------- */

static enum step st_reply(struct xchg *x)
{
    enum rc rc = client_flush(x);

    if (rc == RC_OK)
        return xchg_end(x, x->refused ? END_REFUSED : END_OWN_REPLY);
    if (rc != RC_AGAIN) {
        x->client_gone = true;
        return xchg_end(x, END_CLIENT_GONE);
    }
    if (x->deadline_us == INT64_MAX)
        xchg_within(x, x->config->bounds.write_timeout_ms);
    return STEP_WAIT;
}

static enum step reply_timeout(struct xchg *x)
{
    stat_add(&x->worker->stats.abuse_slow_reader, 1);
    x->client_gone = true;
    return xchg_end(x, END_CLIENT_SLOW);
}

const struct xchg_state S_REPLY = {"reply", st_reply, WAKE_CLIENT_OUT | WAKE_RUN, reply_timeout};

/* Puts a whole message of ours out, behind what is left of heads before it (1xx), of which some may have gone. */
static enum step answer(struct xchg *x, int status, struct strv type, struct strv lines,
                        struct strv body)
{
    bool head_only = strv_eq(x->head.method, STRV("HEAD"));

    /* What was not read cannot be told from a next request; to HTTP/1.0 no word of ours says that it persists. */
    if (!x->body_done || x->head.minor == 0)
        x->close_client = true;
    x->status = status;
    x->answer.head_sent = true;
    stat_response(&x->worker->stats, status);
    if (http_build_simple(status, type, lines, body, !x->close_client, head_only, &x->out) !=
        RC_OK) {
        x->close_client = true;
        return xchg_end(x, END_REFUSED);
    }
    return xchg_go(x, &S_REPLY);
}

enum step xchg_answer_json(struct xchg *x, int status, struct strv json)
{
    char lines[128];
    int n = snprintf(lines, sizeof(lines), "X-Tollgate-Request-Id: %s\r\n", x->id_text);

    return answer(x, status, STRV("application/json"), strv_make(lines, (size_t)n), json);
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* Milliseconds after which trying again makes sense; 0: never, by itself. */
static int64_t retry_after_ms(const struct xchg *x, enum refusal refusal)
{
    int64_t ms;

    if (refusal == REFUSE_DRAINING || refusal == REFUSE_OVERLOADED ||
        refusal == REFUSE_COUNTERS_UNAVAILABLE)
        return 1000;
    if (refusal != REFUSE_RATE_LIMITED)
        return 0;
    ms = x->admission.denial.resets_us > 0
             ? (x->admission.denial.resets_us - clock_wall_us()) / 1000
             : 1000;
    return ms < 1 ? 1 : ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
}

/* Is the SDK to try again by itself?  Never where it would only be refused, or billed, again. */
static bool should_retry(const struct xchg *x, enum refusal refusal)
{
    switch (refusal_status(refusal)) {
    case 429:
    case 503:
    case 408:
        return true;
    case 502:
        return !x->upstream_tried;
    default:
        return false;
    }
}

static size_t refusal_lines(const struct xchg *x, enum refusal refusal,
                            const struct refusal_shape *shape, char *out)
{
    int64_t ms = retry_after_ms(x, refusal);
    int n = snprintf(out, REPLY_LINES_BYTES,
                     "X-Tollgate-Request-Id: %s\r\nX-Tollgate-Denied: %s\r\n"
                     "x-request-id: %s\r\nrequest-id: %s\r\nx-should-retry: %s\r\n%s%s",
                     x->id_text, refusal_code(refusal), x->id_text, x->id_text,
                     should_retry(x, refusal) ? "true" : "false",
                     /* RFC 9110 15.5.2: a 401 says how to come again */
                     refusal_status(refusal) == 401 ? "WWW-Authenticate: Bearer realm=\"tollgate\"\r\n" : "",
                     shape->extra_header ? shape->extra_header : "");

    if (ms > 0)
        n += snprintf(out + n, REPLY_LINES_BYTES - (size_t)n,
                      "retry-after: %" PRId64 "\r\nretry-after-ms: %" PRId64 "\r\n",
                      (ms + 999) / 1000, ms);
    ASSERT(n < REPLY_LINES_BYTES);
    return (size_t)n;
}

static enum step refuse(struct xchg *x, enum refusal refusal, struct strv message)
{
    struct refusal_shape shape = {.status = 500};
    char lines[REPLY_LINES_BYTES];
    struct buf body;
    enum step step;

    if (x->answer.head_sent) /* too late for a word: only the end is left */
        return xchg_end(x, END_REFUSED);
    if (x->end == END_NONE)
        x->end = END_REFUSED;
    x->refused = true;
    x->refusal = refusal;
    stat_add(&x->worker->stats.refused[refusal], 1);
    if (!x->begun && x->key)
        denied_add(x->worker->denied, refusal, &x->tags.subject,
                   x->admission.denial.def ? strv_z(x->admission.denial.def->name) : STRV_NONE,
                   x->start_wall_us);
    if (log_wants(LOG_INFO)) {
        char quoted[MESSAGE_MAX_BYTES + 64];

        log_line(LOG_INFO, "xchg", "refused", "id=%s code=%s key=%s reason=%s", x->id_text,
                 refusal_code(refusal), x->key ? x->key->name : "-",
                 log_quote(message, quoted, sizeof(quoted)));
    }
    if (x->turn)
        return turn_refused(x, refusal, message);
    buf_init(&body, REPLY_BODY_BYTES);
    if (protocol_refusal(x->upstream ? x->upstream->protocol : NULL, &x->route, refusal, message,
                         strv_z(x->id_text), retry_after_ms(x, refusal), &body,
                         &shape) != RC_OK) {
        shape = (struct refusal_shape){.status = refusal_status(refusal),
                                       .content_type = "application/json"};
    }
    step = answer(x, shape.status, strv_z(shape.content_type),
                  strv_make(lines, refusal_lines(x, refusal, &shape, lines)), buf_view(&body));
    buf_release(&body);
    return step;
}

enum step xchg_refuse(struct xchg *x, enum refusal refusal, const char *format, ...)
{
    char message[MESSAGE_MAX_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return refuse(x, refusal, strv_z(message));
}

/* An amount in the words of its unit. */
static const char *amount(enum limit_unit unit, uint64_t n, char out[MONEY_TEXT + 16])
{
    char money[MONEY_TEXT];

    if (unit != UNIT_USD) {
        snprintf(out, MONEY_TEXT + 16, "%" PRIu64 " %s", n, limit_unit_name(unit));
        return out;
    }
    money_format(money_join((int64_t)(n > INT64_MAX ? INT64_MAX : n), 0), money);
    snprintf(out, MONEY_TEXT + 16, "%s USD", money);
    return out;
}

enum step xchg_refuse_limit(struct xchg *x)
{
    const struct limit_denial *d = &x->admission.denial;
    bool is_rate = d->def->rolling || d->def->unit == UNIT_CONCURRENT;
    char limit[MONEY_TEXT + 16], spent[MONEY_TEXT + 16], reserved[MONEY_TEXT + 16];
    char wanted[MONEY_TEXT + 16], when[DATETIME_TEXT] = "when a request ends", fits[96] = "";
    uint64_t output = xchg_output_that_fits(x);

    if (d->resets_us > 0)
        datetime_format_s(d->resets_us, when);
    if (output > 0)
        snprintf(fits, sizeof(fits), "; it would fit with at most %" PRIu64 " output tokens", output);
    return xchg_refuse(
        x, is_rate ? REFUSE_RATE_LIMITED : REFUSE_BUDGET_EXHAUSTED,
        "%s \"%s\"%s" STRV_FMT "%s has no room: limit %s, spent %s, reserved %s, this call may "
        "take %s; resets %s%s",
        is_rate ? "rate cap" : "budget", d->def->name, d->scope.n ? " (" : "",
        STRV_ARG(strv_head(d->scope, 128)), d->scope.n ? ")" : "",
        amount(d->def->unit, d->limit, limit), amount(d->def->unit, d->spent, spent),
        amount(d->def->unit, d->reserved, reserved), amount(d->def->unit, d->wanted, wanted), when,
        fits);
}

/* ---- the gateway's own routes -------------------------------------------------------------------- */

static const char tasks_path[] = "/_tollgate/tasks/";
static const char outcome_path[] = "/outcome";

enum own_route own_route_of(struct strv method, struct strv path)
{
    bool is_read = strv_eq(method, STRV("GET")) || strv_eq(method, STRV("HEAD"));

    if (is_read && strv_eq(path, STRV("/_tollgate/healthz")))
        return OWN_HEALTH;
    if (strv_eq(method, STRV("PUT")) && strv_starts(path, strv_z(tasks_path)) &&
        strv_ends(path, strv_z(outcome_path)) &&
        path.n > sizeof(tasks_path) + sizeof(outcome_path) - 2)
        return OWN_OUTCOME;
    if (is_read && strv_eq(path, STRV("/_tollgate/budget")))
        return OWN_BUDGET;
    if (is_read && strv_eq(path, STRV("/_tollgate/usage")))
        return OWN_USAGE;
    return OWN_UNKNOWN;
}

static enum step answer_outcome(struct xchg *x)
{
    struct strv path = x->target.path, body = hold_view(&x->body), task;
    struct task_note note = {.at_us = clock_wall_us(),
                             .team = x->tags.subject.dim[DIM_TEAM],
                             .key = strv_z(x->key->name)};
    cJSON *json = cJSON_ParseWithLength(body.n ? body.p : "", body.n);
    const cJSON *word = cJSON_GetObjectItemCaseSensitive(json, "outcome");
    struct fail fail;
    struct jsonw w;
    struct buf out;
    enum step step;

    task = strv_make(path.p + sizeof(tasks_path) - 1,
                     path.n - (sizeof(tasks_path) - 1) - (sizeof(outcome_path) - 1));
    buf_init(&out, 4096);
    if (percent_decode_arena(task, &x->arena, &note.task) != RC_OK || !tag_value_is_valid(note.task)) {
        step = xchg_refuse(x, REFUSE_INVALID_TAG, "the task id is not a valid tag value");
        goto out;
    }
    if (!cJSON_IsString(word) || !task_outcome_parse(strv_z(word->valuestring), &note.outcome) ||
        note.outcome == TASK_OPEN) {
        step = xchg_refuse(x, REFUSE_BAD_REQUEST,
                           "\"outcome\" must be \"completed\", \"failed\" or \"abandoned\"");
        goto out;
    }
    /* Answered means kept: the note is written before the answer is. */
    if (journal_task(x->worker->journal, &note) != RC_OK ||
        journal_flush(x->worker->journal, &fail) != RC_OK) {
        step = xchg_refuse(x, REFUSE_OVERLOADED, "the gateway cannot record outcomes now");
        goto out;
    }
    jsonw_start(&w, &out);
    jsonw_object(&w);
    jsonw_key(&w, STRV("task"));
    jsonw_string(&w, note.task);
    jsonw_key(&w, STRV("outcome"));
    jsonw_string(&w, strv_z(task_outcome_name(note.outcome)));
    jsonw_end(&w);
    step = jsonw_finish(&w) == RC_OK ? xchg_answer_json(x, 200, buf_view(&out))
                                     : xchg_end(x, END_OWN_REPLY);
out:
    buf_release(&out);
    cJSON_Delete(json);
    return step;
}

enum step xchg_answer_own(struct xchg *x)
{
    switch (x->own) {
    case OWN_HEALTH:
        return xchg_answer_json(x, 200, STRV("{\"status\":\"ok\"}"));
    case OWN_OUTCOME:
        return answer_outcome(x);
    case OWN_BUDGET:
    case OWN_USAGE:
        return xchg_ask_desk(x);
    case OWN_NONE:
    case OWN_UNKNOWN:
        break;
    }
    return xchg_answer_json(x, 404, STRV("{\"error\":{\"message\":\"no such route\"}}"));
}
