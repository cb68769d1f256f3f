/*
 * admin_session.c - who is signed in at the dashboard; see admin_int.h.
 *
 * A session is a cookie of the form EXPIRY "." MAC: seconds since 1970, and their
 * HMAC-SHA-256 keyed by the digest of the admin token.  So the token itself is not in the
 * browser, nothing is kept here, every node that has the token file takes the cookie, and
 * a new token ends all sessions.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "proxy/admin_int.h"

/* The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis 4.1.3). */
#define SESSION_NAME       "__Host-tollgate"
#define SESSION_ATTRIBUTES "; Path=/; Secure; HttpOnly; SameSite=Strict"

static void mac_of(const unsigned char token[SHA256_BYTES], struct strv expiry,
                   char out[2 * SHA256_BYTES + 1])
{
    static const char about[] = "tollgate session until ";
    unsigned char mac[SHA256_BYTES];
    char text[64];

    (void)snprintf(text, sizeof(text), "%s" STRV_FMT, about, STRV_ARG(strv_head(expiry, 20)));
    digest_hmac_sha256(strv_make((const char *)token, SHA256_BYTES), strv_z(text), mac);
    digest_hex(mac, sizeof(mac), out);
}

void admin_session_cookie(const unsigned char token[SHA256_BYTES], int64_t now_us,
                          char out[ADMIN_COOKIE_TEXT])
{
    char expiry[24], mac[2 * SHA256_BYTES + 1];

    (void)snprintf(expiry, sizeof(expiry), "%" PRId64, now_us / 1000000 + ADMIN_SESSION_S);
    mac_of(token, strv_z(expiry), mac);
    (void)snprintf(out, ADMIN_COOKIE_TEXT, SESSION_NAME "=%s.%s; Max-Age=%d" SESSION_ATTRIBUTES,
                   expiry, mac, ADMIN_SESSION_S);
}

const char *admin_session_end(void)
{
    return SESSION_NAME "=; Max-Age=0" SESSION_ATTRIBUTES;
}

/* The value of our cookie in a Cookie header; empty where it is not there. */
static struct strv find_cookie(struct strv header)
{
    while (header.n) {
        size_t end = strv_find(header, ';');
        struct strv pair = strv_trim(strv_head(header, end));

        if (strv_starts(pair, STRV(SESSION_NAME "=")))
            return strv_skip(pair, sizeof(SESSION_NAME "=") - 1);
        header = strv_skip(header, end + 1);
    }
    return header;
}

bool admin_session_matches(const unsigned char token[SHA256_BYTES], int64_t now_us,
                           struct strv cookies)
{
    struct strv value = find_cookie(cookies);
    size_t dot = strv_find(value, '.');
    struct strv expiry = strv_head(value, dot), given = strv_skip(value, dot + 1);
    char mac[2 * SHA256_BYTES + 1];
    uint64_t until;

    if (given.n != 2 * SHA256_BYTES || !strv_parse_u64(expiry, INT64_MAX / 1000000, &until))
        return false;
    mac_of(token, expiry, mac);
    return digest_equal(given.p, mac, 2 * SHA256_BYTES) && (int64_t)until > now_us / 1000000;
}
