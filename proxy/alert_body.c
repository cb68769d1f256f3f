/*
 * alert_body.c - what Slack, PagerDuty, webhooks and mailboxes want to read; see alert.h.
 *
 * Slack incoming webhooks (Block Kit; https://api.slack.com/messaging/webhooks), PagerDuty
 * Events API v2, RFC 5322 and 2045 to 2047 for e-mail.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/datetime.h"
#include "base/digest.h"
#include "base/jsonw.h"
#include "proxy/alert.h"
#include "proxy/cmd.h"

#define TRY(call)                                                                              \
    do {                                                                                       \
        enum rc try_rc = (call);                                                               \
        if (try_rc != RC_OK)                                                                   \
            return try_rc;                                                                     \
    } while (0)

enum { ESCAPED_MAX = 5 * ALERT_TEXT_MAX + 1 };

static void member(struct jsonw *w, const char *name, const char *text)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(text));
}

/* ---- Slack ---------------------------------------------------------------------------------
 */

/* "<!channel>" in a team's name pings nobody. */
static const char *escaped(const char *text, char out[ESCAPED_MAX])
{
    size_t n = 0;

    for (; *text && n + 6 < ESCAPED_MAX; text++) {
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                                        : NULL;
        if (as) {
            memcpy(out + n, as, strlen(as));
            n += strlen(as);
        } else {
            out[n++] = *text;
        }
    }
    out[n] = '\0';
    return out;
}

static void slack_text(struct jsonw *w, const char *type, const char *text)
{
    jsonw_object(w);
    member(w, "type", type);
    member(w, "text", text);
    jsonw_end(w);
}

static void slack_fields(struct jsonw *w, const struct alert *a)
{
    char escaped_value[ESCAPED_MAX], text[ESCAPED_MAX + ALERT_NAME_MAX + 8];

    if (a->n_fields == 0)
        return;
    jsonw_object(w);
    member(w, "type", "section");
    jsonw_key(w, STRV("fields"));
    jsonw_array(w);
    for (size_t i = 0; i < a->n_fields; i++) {
        (void)snprintf(text, sizeof(text), "*%s*\n%s", a->field[i].name,
                       escaped(a->field[i].value, escaped_value));
        slack_text(w, "mrkdwn", text);
    }
    jsonw_end(w);
    jsonw_end(w);
}

static enum rc slack(const struct alert *a, struct buf *out)
{
    char text[ESCAPED_MAX], line[ESCAPED_MAX + 32], at[DATETIME_TEXT];
    struct jsonw w;

    datetime_format_s(a->at_us, at);
    jsonw_start(&w, out);
    jsonw_object(&w);
    (void)snprintf(line, sizeof(line), "[%s] %s",
                   a->resolved ? "resolved" : alert_severity_name(a->severity),
                   escaped(a->title, text));
    member(&w, "text", line);
    jsonw_key(&w, STRV("blocks"));
    jsonw_array(&w);
    jsonw_object(&w);
    member(&w, "type", "header");
    jsonw_key(&w, STRV("text"));
    slack_text(&w, "plain_text", a->title); /* plain text is shown as it is */
    jsonw_end(&w);
    jsonw_object(&w);
    member(&w, "type", "section");
    jsonw_key(&w, STRV("text"));
    slack_text(&w, "mrkdwn", escaped(a->text, text));
    jsonw_end(&w);
    slack_fields(&w, a);
    jsonw_object(&w);
    member(&w, "type", "context");
    jsonw_key(&w, STRV("elements"));
    jsonw_array(&w);
    (void)snprintf(line, sizeof(line), "%s · %s · id %s", a->event, at, a->id);
    slack_text(&w, "mrkdwn", line);
    jsonw_end(&w);
    jsonw_end(&w);
    jsonw_end(&w);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- PagerDuty
 * ------------------------------------------------------------------------------- */

static void details(struct jsonw *w, const struct alert *a)
{
    jsonw_object(w);
    for (size_t i = 0; i < a->n_fields; i++)
        member(w, a->field[i].name, a->field[i].value);
    jsonw_end(w);
}

static enum rc pagerduty(const struct alert *a, const char *routing_key, struct buf *out)
{
    char at[DATETIME_TEXT];
    struct jsonw w;

    datetime_format_us(a->at_us, at);
    jsonw_start(&w, out);
    jsonw_object(&w);
    member(&w, "routing_key", routing_key ? routing_key : "");
    member(&w, "event_action", a->resolved ? "resolve" : "trigger");
    member(&w, "dedup_key", a->key);
    member(&w, "client", "tollgate");
    jsonw_key(&w, STRV("payload"));
    jsonw_object(&w);
    member(&w, "summary", a->title);
    member(&w, "source", "tollgate");
    member(&w, "severity", alert_severity_name(a->severity));
    member(&w, "timestamp", at);
    member(&w, "class", a->event);
    jsonw_key(&w, STRV("custom_details"));
    details(&w, a);
    jsonw_end(&w);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- webhook -------------------------------------------------------------------------------
 */

static enum rc webhook(const struct alert *a, struct buf *out)
{
    char at[DATETIME_TEXT];
    struct jsonw w;

    datetime_format_us(a->at_us, at);
    jsonw_start(&w, out);
    jsonw_object(&w);
    member(&w, "id", a->id);
    member(&w, "type", a->event);
    jsonw_key(&w, STRV("version"));
    jsonw_uint(&w, 1);
    member(&w, "occurred_at", at);
    member(&w, "dedup_key", a->key);
    member(&w, "status", a->resolved ? "resolved" : "firing");
    member(&w, "severity", alert_severity_name(a->severity));
    member(&w, "title", a->title);
    member(&w, "text", a->text);
    jsonw_key(&w, STRV("tags"));
    jsonw_object(&w);
    for (size_t i = 0; i < a->n_tags; i++)
        member(&w, a->tag[i].name, a->tag[i].value);
    jsonw_end(&w);
    jsonw_key(&w, STRV("details"));
    details(&w, a);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- e-mail --------------------------------------------------------------------------------
 */

/* A header's value: printable ASCII as it is, anything else as RFC 2047 words of hex. */
static enum rc put_header(struct buf *out, const char *name, const char *text)
{
    struct strv value = strv_z(text);

    TRY(buf_printf(out, "%s: ", name));
    if (strv_ascii_run(value) == value.n)
        return buf_printf(out, "%s\r\n", text);
    for (size_t i = 0; i < value.n;) {
        size_t n = value.n - i < 15 ? value.n - i : 15;
        while (n > 1 && i + n < value.n && ((unsigned char)value.p[i + n] & 0xc0) == 0x80)
            n--;
        TRY(buf_append_strv(out, STRV("=?UTF-8?Q?")));
        for (size_t k = 0; k < n; k++)
            TRY(buf_printf(out, "=%02X", (unsigned char)value.p[i + k]));
        i += n;
        TRY(buf_append_strv(out, i < value.n ? STRV("?=\r\n ") : STRV("?=\r\n")));
    }
    return RC_OK;
}

/* Text for a page: markup of others is shown, not meant. */
static enum rc put_html(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            TRY(buf_append_strv(out, STRV("&lt;")));
        else if (*text == '&')
            TRY(buf_append_strv(out, STRV("&amp;")));
        else if (*text == '\n')
            TRY(buf_append_strv(out, STRV("<br>\r\n")));
        else
            TRY(buf_append(out, text, 1));
    }
    return RC_OK;
}

/* Lines end in CRLF, and stay below the 998 bytes of RFC 5322 since texts are short. */
static enum rc put_plain(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            TRY(buf_append(out, "\r", 1));
        if (*text != '\r')
            TRY(buf_append(out, text, 1));
    }
    return buf_append(out, "\r\n", 2);
}

static enum rc put_parts(const struct alert *a, struct buf *out)
{
    static const char boundary[] = "tollgate-8f14e45fceea167a";

    TRY(buf_printf(out,
                   "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; "
                   "boundary=\"%s\"\r\n\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n\r\n",
                   boundary, boundary));
    TRY(put_plain(out, a->text));
    TRY(put_plain(out, ""));
    for (size_t i = 0; i < a->n_fields; i++) {
        TRY(buf_printf(out, "%s: ", a->field[i].name));
        TRY(put_plain(out, a->field[i].value));
    }
    TRY(buf_printf(out,
                   "\r\n--%s\r\nContent-Type: text/html; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n\r\n<p>",
                   boundary));
    TRY(put_html(out, a->text));
    TRY(buf_append_strv(out, STRV("</p>\r\n<table>\r\n")));
    for (size_t i = 0; i < a->n_fields; i++) {
        TRY(buf_append_strv(out, STRV("<tr><th align=\"left\">")));
        TRY(put_html(out, a->field[i].name));
        TRY(buf_append_strv(out, STRV("</th><td>")));
        TRY(put_html(out, a->field[i].value));
        TRY(buf_append_strv(out, STRV("</td></tr>\r\n")));
    }
    return buf_printf(out, "</table>\r\n\r\n--%s--\r\n", boundary);
}

/* The same for every try, so that a mailbox shows it once. */
static void message_id(const struct alert *a, bool of_reply, char out[SHA256_HEX + 16])
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX];

    digest_sha256(strv_z(a->key), digest);
    digest_hex(digest, sizeof(digest), hex);
    (void)snprintf(out, SHA256_HEX + 16, "<%.32s%s@tollgate>", hex, of_reply ? ".r" : "");
}

static enum rc email(const struct alert *a, const struct alert_channel *channel,
                     struct buf *out)
{
    char id[SHA256_HEX + 16], date[64], subject[ALERT_TITLE_MAX + 32];
    time_t at = (time_t)(a->at_us / US_PER_SECOND);
    struct tm tm;

    gmtime_r(&at, &tm);
    (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    TRY(put_header(out, "From", channel->from));
    for (size_t i = 0; i < channel->n_to; i++)
        TRY(buf_printf(out, "%s" STRV_FMT, i ? ", " : "To: ", STRV_ARG(channel->to[i])));
    TRY(buf_printf(out, "\r\nDate: %s\r\n", date));
    (void)snprintf(subject, sizeof(subject), "[%s] %s",
                   a->resolved ? "resolved" : alert_severity_name(a->severity), a->title);
    TRY(put_header(out, "Subject", subject));
    message_id(a, a->resolved, id);
    TRY(buf_printf(out, "Message-ID: %s\r\n", id));
    if (a->resolved) {
        message_id(a, false, id);
        TRY(buf_printf(out, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id));
    }
    TRY(buf_append_strv(out, STRV("Auto-Submitted: auto-generated\r\n")));
    return put_parts(a, out);
}

enum rc alert_body(const struct alert *a, const struct alert_channel *channel, struct buf *out)
{
    switch (channel->kind) {
    case ALERT_SLACK:
        return slack(a, out);
    case ALERT_PAGERDUTY:
        return pagerduty(a, channel->routing_key, out);
    case ALERT_WEBHOOK:
        return webhook(a, out);
    case ALERT_EMAIL:
        return email(a, channel, out);
    }
    return RC_BAD;
}
