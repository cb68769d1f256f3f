#include "tests/provider/sigv4.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/check.h"

enum { MAC = 32, HEX = 65, SKEW_S = 300, CANONICAL_MAX = 1 << 20, NAMES_MAX = 64 };

bool aws_account_parse(const char *text, struct aws_account *out)
{
    const char *secret = strchr(text, ':');
    const char *region = secret ? strrchr(secret + 1, ':') : NULL;
    if (region == NULL)
        return false;
    *out = (struct aws_account){.id = text,
                                .id_n = (size_t)(secret - text),
                                .secret = secret + 1,
                                .secret_n = (size_t)(region - secret - 1),
                                .region = region + 1};
    return out->id_n > 0 && out->secret_n > 0 && out->region[0] != 0;
}

static void put(struct buf *out, const char *p, size_t n)
{
    ASSERT(n == 0 || buf_append(out, p, n) == RC_OK);
}

static void put_z(struct buf *out, const char *text)
{
    put(out, text, strlen(text));
}

/* The text behind a word in Authorization, up to a comma or blank. */
static struct strv field(struct strv value, const char *word)
{
    const char *at = value.n > 0 ? memmem(value.p, value.n, word, strlen(word)) : NULL;
    if (at == NULL)
        return STRV_NONE;
    struct strv rest = strv_skip(value, (size_t)(at - value.p) + strlen(word));
    size_t n = 0;
    while (n < rest.n && rest.p[n] != ',' && rest.p[n] != ' ')
        n++;
    return strv_head(rest, n);
}

static void put_uri(struct buf *out, struct strv path)
{
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        char code[4];
        if (isalnum(c) || strchr("-._~/", c) != NULL) {
            put(out, path.p + i, 1);
        } else {
            snprintf(code, sizeof(code), "%%%02X", c);
            put(out, code, 3);
        }
    }
}

static int by_text(const void *a, const void *b)
{
    const struct strv *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Only queries that are in AWS's own coding already are looked at here. */
static void put_query(struct buf *out, struct strv query)
{
    struct strv parts[NAMES_MAX];
    size_t n = 0;
    struct strv part;
    while (n < NAMES_MAX && strv_split(&query, '&', &part))
        if (part.n > 0)
            parts[n++] = part;
    qsort(parts, n, sizeof(parts[0]), by_text);
    for (size_t i = 0; i < n; i++) {
        put(out, i ? "&" : "", i ? 1 : 0);
        put(out, parts[i].p, parts[i].n);
        if (memchr(parts[i].p, '=', parts[i].n) == NULL)
            put_z(out, "=");
    }
}

static void put_folded(struct buf *out, struct strv value)
{
    value = strv_trim(value);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != ' ' || value.p[i - 1] != ' ')
            put(out, value.p + i, 1);
}

/* "name:value\n" for each signed name, in the order given; false where one is not there. */
static bool put_headers(struct buf *out, const struct request *r, struct strv names)
{
    struct strv name;
    while (strv_split(&names, ';', &name)) {
        size_t found = 0;
        put(out, name.p, name.n);
        for (size_t i = 0; i < r->n_headers; i++) {
            if (!strv_eq_nocase(r->headers[i].name, name))
                continue;
            put_z(out, found++ ? "," : ":");
            put_folded(out, r->headers[i].value);
        }
        put_z(out, "\n");
        if (found == 0)
            return false;
    }
    return true;
}

static bool is_listed(struct strv names, struct strv wanted)
{
    struct strv name;
    while (strv_split(&names, ';', &name))
        if (strv_eq_nocase(name, wanted))
            return true;
    return false;
}

static bool covers_enough(const struct request *r, struct strv names)
{
    bool all = is_listed(names, STRV("host")) && is_listed(names, STRV("x-amz-date"));
    for (size_t i = 0; i < r->n_headers; i++)
        if (strv_starts_nocase(r->headers[i].name, STRV("x-amz")))
            all = all && is_listed(names, r->headers[i].name);
    return all;
}

static void to_hex(const unsigned char *bytes, char out[HEX])
{
    for (int i = 0; i < MAC; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void mac(const void *key, size_t key_n, const void *text, size_t n,
                unsigned char out[MAC])
{
    unsigned int length = 0;
    ASSERT(HMAC(EVP_sha256(), key, (int)key_n, text, n, out, &length) != NULL && length == MAC);
}

static void hash_hex(struct strv bytes, char out[HEX])
{
    unsigned char digest[MAC];
    ASSERT(EVP_Digest(bytes.n ? bytes.p : "", bytes.n, digest, NULL, EVP_sha256(), NULL) == 1);
    to_hex(digest, out);
}

static bool put_canonical(struct buf *out, const struct request *r, struct strv names)
{
    char hash[HEX];
    put(out, r->method.p, r->method.n);
    put_z(out, "\n");
    put_uri(out, r->path);
    put_z(out, "\n");
    put_query(out, r->query);
    put_z(out, "\n");
    if (!put_headers(out, r, names))
        return false;
    put_z(out, "\n");
    put(out, names.p, names.n);
    put_z(out, "\n");
    hash_hex(buf_view(&r->body), hash);
    put_z(out, hash);
    return true;
}

static void sign(const struct aws_account *account, struct strv date, const char *scope,
                 struct strv canonical, char out[HEX])
{
    unsigned char key[MAC];
    char text[512], secret[256], hash[HEX];
    hash_hex(canonical, hash);
    int n = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n" STRV_FMT "\n%s\n%s",
                     STRV_ARG(date), scope, hash);
    int secret_n = snprintf(secret, sizeof(secret), "AWS4%.*s", (int)account->secret_n,
                            account->secret);
    mac(secret, (size_t)secret_n, date.p, 8, key);
    mac(key, MAC, account->region, strlen(account->region), key);
    mac(key, MAC, "bedrock", 7, key);
    mac(key, MAC, "aws4_request", 12, key);
    mac(key, MAC, text, (size_t)n, key);
    to_hex(key, out);
}

static bool is_recent(struct strv date)
{
    struct tm tm = {0};
    char text[17];
    if (date.n != 16)
        return false;
    memcpy(text, date.p, 16);
    text[16] = 0;
    if (strptime(text, "%Y%m%dT%H%M%SZ", &tm) == NULL)
        return false;
    time_t at = timegm(&tm), now = time(NULL);
    return at - now < SKEW_S && now - at < SKEW_S;
}

bool sigv4_is_good(const struct request *r, const struct aws_account *account)
{
    struct strv value = request_header(r, STRV("authorization"));
    struct strv date = request_header(r, STRV("x-amz-date"));
    struct strv names = field(value, "SignedHeaders=");
    char scope[256], credential[512], signature[HEX];
    struct buf canonical;
    bool good;

    if (!strv_starts(value, STRV("AWS4-HMAC-SHA256 ")) || !is_recent(date) ||
        !covers_enough(r, names))
        return false;
    snprintf(scope, sizeof(scope), "%.8s/%s/bedrock/aws4_request", date.p, account->region);
    snprintf(credential, sizeof(credential), "%.*s/%s", (int)account->id_n, account->id, scope);
    if (!strv_eq(field(value, "Credential="), strv_z(credential)))
        return false;
    buf_init(&canonical, CANONICAL_MAX);
    good = put_canonical(&canonical, r, names);
    if (good) {
        sign(account, date, scope, buf_view(&canonical), signature);
        good = strv_eq(field(value, "Signature="), strv_z(signature));
    }
    buf_release(&canonical);
    return good;
}
