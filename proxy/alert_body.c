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

enum {
    ESCAPED_MAX = 5 * ALERT_TEXT_MAX + 1,
    SLACK_SECTION_MAX = 3000, /* characters of a section's text, and of each of its fields */
    SLACK_FIELD_MAX = 2000,
    MAIL_MAX = 64 << 10,
    MAIL_LINE_MAX = 76,    /* RFC 2045 6.7 */
    ENCODED_WORD_MAX = 15, /* bytes of one RFC 2047 word: three characters each, 75 in all */
};

static void member(struct jsonw *w, const char *name, const char *text)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(text));
}

/* ---- Slack ---------------------------------------------------------------------------------
 */

/* "<!channel>" in a team's name pings nobody. Fewer than size bytes, and no half of a character. */
static const char *escaped(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; *text && n + 6 < size; text++) {
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
    while (*text && n > 0 && ((unsigned char)*text & 0xc0) == 0x80)
        text--, n--;
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
    char value[SLACK_FIELD_MAX - ALERT_NAME_MAX - 8], text[SLACK_FIELD_MAX];

    if (a->n_fields == 0)
        return;
    jsonw_object(w);
    member(w, "type", "section");
    jsonw_key(w, STRV("fields"));
    jsonw_array(w);
    for (size_t i = 0; i < a->n_fields; i++) {
        (void)snprintf(text, sizeof(text), "*%s*\n%s", a->field[i].name,
                       escaped(a->field[i].value, value, sizeof(value)));
        slack_text(w, "mrkdwn", text);
    }
    jsonw_end(w);
    jsonw_end(w);
}

static enum rc slack(const struct alert *a, const char *node, struct buf *out)
{
    char text[SLACK_SECTION_MAX], line[SLACK_SECTION_MAX + 32], at[DATETIME_TEXT];
    struct jsonw w;

    datetime_format_s(a->at_us, at);
    jsonw_start(&w, out);
    jsonw_object(&w);
    (void)snprintf(line, sizeof(line), "[%s] %s",
                   a->resolved ? "resolved" : alert_severity_name(a->severity),
                   escaped(a->title, text, sizeof(text)));
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
    slack_text(&w, "mrkdwn", escaped(a->text, text, sizeof(text)));
    jsonw_end(&w);
    slack_fields(&w, a);
    jsonw_object(&w);
    member(&w, "type", "context");
    jsonw_key(&w, STRV("elements"));
    jsonw_array(&w);
    (void)snprintf(line, sizeof(line), "%s · %s · %.300s · id %s", a->event, at,
                   escaped(node, text, sizeof(text)), a->id);
    slack_text(&w, "mrkdwn", line);
    jsonw_end(&w);
    jsonw_end(&w);
    jsonw_end(&w);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- PagerDuty
 * ------------------------------------------------------------------------------- */

static void tags(struct jsonw *w, const struct alert *a)
{
    jsonw_object(w);
    for (size_t i = 0; i < a->n_tags; i++)
        member(w, a->tag[i].name, a->tag[i].value);
    jsonw_end(w);
}

/* Who is called at night sees what it says, not its title alone. */
static void custom_details(struct jsonw *w, const struct alert *a)
{
    jsonw_object(w);
    if (a->text[0])
        member(w, "What", a->text);
    for (size_t i = 0; i < a->n_fields; i++)
        member(w, a->field[i].name, a->field[i].value);
    jsonw_key(w, STRV("tags"));
    tags(w, a);
    jsonw_end(w);
}

static enum rc pagerduty(const struct alert *a, const char *routing_key, const char *node,
                         struct buf *out)
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
    member(&w, "source", node);
    member(&w, "component", "tollgate");
    for (size_t i = 0; i < a->n_tags; i++) {
        if (strcmp(a->tag[i].name, "team") == 0)
            member(&w, "group", a->tag[i].value);
    }
    member(&w, "severity", alert_severity_name(a->severity));
    member(&w, "timestamp", at);
    member(&w, "class", a->event);
    jsonw_key(&w, STRV("custom_details"));
    custom_details(&w, a);
    jsonw_end(&w);
    jsonw_end(&w);
    return jsonw_finish(&w);
}

/* ---- webhook -------------------------------------------------------------------------------
 */

static bool is_count(const struct alert_pair *fact)
{
    struct strv name = strv_z(fact->name), value = strv_z(fact->value);
    uint64_t number;

    value = strv_skip(value, value.n > 1 && value.p[0] == '-');
    return (strv_ends(name, STRV("_percent")) || strv_ends(name, STRV("_count"))) &&
           (value.n == 1 || value.p[0] != '0') && strv_parse_u64(value, INT64_MAX, &number);
}

/* "budget": {...}, named as the first part of the type. */
static void facts(struct jsonw *w, const struct alert *a)
{
    if (a->n_facts == 0)
        return;
    jsonw_key(w, strv_head(strv_z(a->event), strv_find(strv_z(a->event), '.')));
    jsonw_object(w);
    for (size_t i = 0; i < a->n_facts; i++) {
        jsonw_key(w, strv_z(a->fact[i].name));
        if (is_count(&a->fact[i]))
            jsonw_raw(w, strv_z(a->fact[i].value));
        else
            jsonw_string(w, strv_z(a->fact[i].value));
    }
    jsonw_end(w);
}

static enum rc webhook(const struct alert *a, const char *node, struct buf *out)
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
    member(&w, "node", node);
    if (a->opened[0])
        member(&w, "opened_id", a->opened);
    member(&w, "title", a->title);
    member(&w, "text", a->text);
    jsonw_key(&w, STRV("tags"));
    tags(&w, a);
    facts(&w, a);
    jsonw_key(&w, STRV("details"));
    jsonw_object(&w);
    for (size_t i = 0; i < a->n_fields; i++)
        member(&w, a->field[i].name, a->field[i].value);
    jsonw_end(&w);
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
    /* What looks like such a word, and is a team's name, is no such word. */
    if (strv_ascii_run(value) == value.n && !strstr(text, "=?"))
        return buf_printf(out, "%s\r\n", text);
    for (size_t i = 0; i < value.n;) {
        struct strv word = alert_head(strv_skip(value, i), ENCODED_WORD_MAX);

        TRY(buf_append_strv(out, STRV("=?UTF-8?Q?")));
        for (size_t k = 0; k < word.n; k++)
            TRY(buf_printf(out, "=%02X", (unsigned char)word.p[k]));
        i += word.n;
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
        else if (*text == '>')
            TRY(buf_append_strv(out, STRV("&gt;")));
        else if (*text == '&')
            TRY(buf_append_strv(out, STRV("&amp;")));
        else if (*text == '\n')
            TRY(buf_append_strv(out, STRV("<br>\n")));
        else
            TRY(buf_append(out, text, 1));
    }
    return RC_OK;
}

/*
 * Quoted-printable (RFC 2045 6.7): ASCII in lines of 76, whatever the texts are, so that no server
 * on the way changes a line, nor takes a dot or "From " at its start for more than that.
 */
static enum rc put_quoted(struct buf *out, struct strv text)
{
    size_t column = 0;

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool last = i + 1 == text.n || text.p[i + 1] == '\n';
        bool plain = (c > ' ' && c < 0x7f && c != '=') || (c == ' ' && !last);

        if (c == '\n') {
            TRY(buf_append_strv(out, STRV("\r\n")));
            column = 0;
            continue;
        }
        if (column + 3 >= MAIL_LINE_MAX) {
            TRY(buf_append_strv(out, STRV("=\r\n")));
            column = 0;
        }
        if (column == 0 && (c == '.' || c == 'F' || c == '-'))
            plain = false;
        TRY(buf_printf(out, plain ? "%c" : "=%02X", c));
        column += plain ? 1 : 3;
    }
    return buf_append_strv(out, STRV("\r\n"));
}

static enum rc as_plain(const struct alert *a, const char *node, struct buf *out)
{
    TRY(buf_printf(out, "%s\n\n", a->text));
    for (size_t i = 0; i < a->n_fields; i++)
        TRY(buf_printf(out, "%s: %s\n", a->field[i].name, a->field[i].value));
    return buf_printf(out, "\n%s of gateway %s, id %s\n", a->event, node, a->id);
}

static enum rc as_page(const struct alert *a, const char *node, struct buf *out)
{
    TRY(buf_append_strv(out, STRV("<p>")));
    TRY(put_html(out, a->text));
    TRY(buf_append_strv(out, STRV("</p>\n<table>\n")));
    for (size_t i = 0; i < a->n_fields; i++) {
        TRY(buf_append_strv(out, STRV("<tr><th align=\"left\">")));
        TRY(put_html(out, a->field[i].name));
        TRY(buf_append_strv(out, STRV("</th><td>")));
        TRY(put_html(out, a->field[i].value));
        TRY(buf_append_strv(out, STRV("</td></tr>\n")));
    }
    TRY(buf_append_strv(out, STRV("</table>\n<p>")));
    TRY(put_html(out, a->event));
    TRY(buf_append_strv(out, STRV(" of gateway ")));
    TRY(put_html(out, node));
    return buf_printf(out, ", id %s</p>\n", a->id);
}

/* The alert's id parts the two: nobody who names a team can know it. */
static enum rc put_parts(const struct alert *a, const char *node, struct buf *out)
{
    static const char *const types[] = {"plain", "html"};
    enum rc rc = buf_printf(out,
                            "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; "
                            "boundary=\"%s\"\r\n",
                            a->id);

    for (size_t i = 0; rc == RC_OK && i < 2; i++) {
        struct buf text;

        buf_init(&text, MAIL_MAX);
        rc = i == 0 ? as_plain(a, node, &text) : as_page(a, node, &text);
        if (rc == RC_OK)
            rc = buf_printf(out,
                            "\r\n--%s\r\nContent-Type: text/%s; charset=utf-8\r\n"
                            "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
                            a->id, types[i]);
        if (rc == RC_OK)
            rc = put_quoted(out, buf_view(&text));
        buf_release(&text);
    }
    return rc == RC_OK ? buf_printf(out, "\r\n--%s--\r\n", a->id) : rc;
}

/*
 * The same for every try of one message, so that a mailbox shows it once; another for the next
 * message of the same key, which a mailbox would otherwise drop as one that it has.
 */
static void message_id(const struct alert *a, const char *id, char out[SHA256_HEX + UUID_TEXT])
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX];

    digest_sha256(strv_z(a->key), digest);
    digest_hex(digest, sizeof(digest), hex);
    (void)snprintf(out, SHA256_HEX + UUID_TEXT, "<%.32s.%s@tollgate>", hex, id);
}

static enum rc email(const struct alert *a, const struct alert_channel *channel,
                     const char *node, struct buf *out)
{
    char id[SHA256_HEX + UUID_TEXT], date[64], subject[ALERT_TITLE_MAX + 32];
    time_t at = (time_t)(a->at_us / US_PER_SECOND);
    struct tm tm;

    gmtime_r(&at, &tm);
    (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    TRY(buf_printf(out, "From: %s\r\n", channel->from));
    for (size_t i = 0; i < channel->n_to; i++)
        TRY(buf_printf(out, "%s" STRV_FMT, i ? ",\r\n " : "To: ", STRV_ARG(channel->to[i])));
    TRY(buf_printf(out, "\r\nDate: %s\r\n", date));
    (void)snprintf(subject, sizeof(subject), "[%s] %s",
                   a->resolved ? "resolved" : alert_severity_name(a->severity), a->title);
    TRY(put_header(out, "Subject", subject));
    message_id(a, a->id, id);
    TRY(buf_printf(out, "Message-ID: %s\r\n", id));
    if (a->opened[0]) {
        message_id(a, a->opened, id);
        TRY(buf_printf(out, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id));
    }
    TRY(buf_append_strv(out, STRV("Auto-Submitted: auto-generated\r\n")));
    return put_parts(a, node, out);
}

enum rc alert_body(const struct alert *a, const struct alert_channel *channel,
                   const char *node, struct buf *out)
{
    switch (channel->kind) {
    case ALERT_SLACK:
        return slack(a, node, out);
    case ALERT_PAGERDUTY:
        return pagerduty(a, channel->routing_key, node, out);
    case ALERT_WEBHOOK:
        return webhook(a, node, out);
    case ALERT_EMAIL:
        return email(a, channel, node, out);
    }
    return RC_BAD;
}
