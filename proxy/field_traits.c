#include "proxy/field_traits.h"

#include "proxy/auth.h"
#include "proxy/tags.h"

/* Equal but for case and for '_' in place of '-': servers in CGI's manner see no difference. */
static bool same_name(const char *name, const char *lower, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = name[i];

        if (c == '_')
            c = '-';
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (c != lower[i])
            return false;
    }
    return true;
}

/* lower begins with a letter; nearly all other names differ in it or in length. */
static inline bool is_named(struct strv name, struct strv lower)
{
    return name.n == lower.n && (name.p[0] | 0x20) == lower.p[0] &&
           same_name(name.p, lower.p, name.n);
}

/* Hop-by-hop, or said anew by this hop; by length, so that other names cost next to nothing. */
static bool is_of_hop(struct strv name)
{
    switch (name.n) {
    case 2:
        return is_named(name, STRV("te"));
    case 7:
        return is_named(name, STRV("trailer")) || is_named(name, STRV("upgrade"));
    case 10:
        return is_named(name, STRV("connection")) || is_named(name, STRV("keep-alive"));
    case 14:
        return is_named(name, STRV("content-length")) || is_named(name, STRV("http2-settings"));
    case 16:
        return is_named(name, STRV("proxy-connection"));
    case 17:
        return is_named(name, STRV("transfer-encoding"));
    case 18:
        return is_named(name, STRV("proxy-authenticate"));
    case 19:
        return is_named(name, STRV("proxy-authorization"));
    case 25:
        return is_named(name, STRV("proxy-authentication-info"));
    }
    return false;
}

bool field_is_named(struct strv name, struct strv lower)
{
    return name.n > 0 && is_named(name, lower);
}

bool field_name_starts(struct strv name, struct strv lower)
{
    return name.n >= lower.n && same_name(name.p, lower.p, lower.n);
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* A look at every third byte, or so: from it is told how far the next '_' of "tg_" is at the least. */
bool field_holds_key(struct strv text)
{
    for (size_t i = 2; i < text.n;) {
        char c = text.p[i];

        if (c == '_' && text.p[i - 1] == 'g' && text.p[i - 2] == 't' &&
            (i == 2 || !is_alnum(text.p[i - 3])))
            return true;
        i += c == 't' ? 2 : c == 'g' ? 1 : 3;
    }
    return false;
}

unsigned field_judge_line(const struct http1_header *line)
{
    unsigned traits = field_judge(line->name);

    if (!(traits & FIELD_CREDENTIAL) && (field_holds_key(line->name) || field_holds_key(line->value)))
        traits |= FIELD_KEY;
    return traits;
}

/* The gateway's own fields: it alone says them, and only to the client. */
static bool is_ours(struct strv name)
{
    static const struct strv prefix = {"x-tollgate-", 11};

    return name.n >= prefix.n && (name.p[0] | 0x20) == 'x' && (name.p[2] | 0x20) == 't' &&
           same_name(name.p, prefix.p, prefix.n);
}

unsigned field_judge(struct strv name)
{
    unsigned traits = FIELD_TOLD;

    if (name.n == 0)
        return traits;
    if (is_of_hop(name))
        traits |= FIELD_OF_HOP;
    if (is_ours(name))
        traits |= FIELD_OURS;
    if (is_named(name, STRV("host")))
        traits |= FIELD_HOST;
    if (is_named(name, STRV("expect")))
        traits |= FIELD_EXPECT;
    if (is_named(name, STRV("accept-encoding")))
        traits |= FIELD_ACCEPT_ENCODING;
    if (auth_is_internal_header(name))
        traits |= FIELD_INTERNAL;
    if (auth_is_credential_header(name))
        traits |= FIELD_CREDENTIAL;
    if (tags_is_said_by(name))
        traits |= FIELD_TAG;
    return traits;
}
