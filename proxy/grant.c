#include "proxy/grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/check.h"
#include "base/jsonw.h"
#include "base/xalloc.h"

enum kind { KIND_SERVICE_ACCOUNT = 0, KIND_USER, KIND_CLIENT };

struct grant {
    enum kind kind;
    char *url;
    char *ca_file;
    char *id;     /* client_email or client_id */
    char *secret; /* refresh token's client_secret, or the client's */
    char *refresh_token;
    char *key_id; /* "" where the file names none */
    char *scope;
    EVP_PKEY *key;
    unsigned char fingerprint[SHA256_BYTES];
};

static void drop(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

void grant_free(struct grant *g)
{
    if (!g)
        return;
    drop(&g->secret);
    drop(&g->refresh_token);
    free(g->url);
    free(g->ca_file);
    free(g->id);
    free(g->key_id);
    free(g->scope);
    EVP_PKEY_free(g->key);
    free(g);
}

const char *grant_url(const struct grant *g)
{
    return g->url;
}

const char *grant_ca_file(const struct grant *g)
{
    return g->ca_file;
}

const unsigned char *grant_fingerprint(const struct grant *g)
{
    return g->fingerprint;
}

static char *copy(const char *text)
{
    return text ? xmemdupz(text, strlen(text)) : NULL;
}

static char *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) && item->valuestring[0] ? copy(item->valuestring) : NULL;
}

/* ---- what it is made of
 * ----------------------------------------------------------------------- */

/* The whole file; NULL where it cannot be read or is too large. */
static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rbe");
    char *text;

    if (!file)
        return NULL;
    text = xmalloc(GRANT_FILE_BYTES + 1);
    *n = fread(text, 1, GRANT_FILE_BYTES + 1, file);
    if (ferror(file) || *n > GRANT_FILE_BYTES) {
        explicit_bzero(text, GRANT_FILE_BYTES + 1);
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

static EVP_PKEY *read_key(const cJSON *object)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "private_key");
    EVP_PKEY *key;
    BIO *bio;

    if (!cJSON_IsString(item))
        return NULL;
    bio = BIO_new_mem_buf(item->valuestring, -1);
    ASSERT(bio != NULL);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
    BIO_free(bio);
    ERR_clear_error();
    if (key && !EVP_PKEY_is_a(key, "RSA")) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static const char *fill_from_file(struct grant *g, const cJSON *object)
{
    char *type = member(object, "type");
    const char *fault = NULL;

    g->url = member(object, "token_uri");
    if (!g->url)
        g->url = copy("https://oauth2.googleapis.com/token");
    if (type && strcmp(type, "service_account") == 0) {
        g->kind = KIND_SERVICE_ACCOUNT;
        g->id = member(object, "client_email");
        g->key_id = member(object, "private_key_id");
        g->key = read_key(object);
        if (!g->id || !g->key)
            fault = "it has no client_email, or no RSA private_key";
    } else if (type && strcmp(type, "authorized_user") == 0) {
        g->kind = KIND_USER;
        g->id = member(object, "client_id");
        g->secret = member(object, "client_secret");
        g->refresh_token = member(object, "refresh_token");
        if (!g->id || !g->secret || !g->refresh_token)
            fault = "it lacks client_id, client_secret or refresh_token";
    } else {
        fault = "its type is neither service_account nor authorized_user";
    }
    if (!fault && strncmp(g->url, "https://", 8) != 0)
        fault = "its token_uri does not begin with https://";
    free(type);
    return fault;
}

static bool from_file(struct grant *g, const struct google_config *google,
                      char why[GRANT_WHY_BYTES])
{
    size_t n = 0;
    char *text = read_file(google->credentials, &n);
    cJSON *object = text ? cJSON_ParseWithLength(text, n) : NULL;
    const char *fault = !text                     ? "it cannot be read, or is too large"
                        : !cJSON_IsObject(object) ? "it is no JSON object"
                                                  : fill_from_file(g, object);

    g->scope = copy(google->scope);
    g->ca_file = copy(google->ca_file);
    if (fault)
        snprintf(why, GRANT_WHY_BYTES, "the key file \"%.100s\": %s", google->credentials,
                 fault);
    if (text) {
        const struct strv parts[] = {strv_make(text, n), strv_z(g->scope), strv_z(g->ca_file)};

        digest_sha256_parts(parts, sizeof(parts) / sizeof(parts[0]), g->fingerprint);
        explicit_bzero(text, n);
    }
    free(text);
    cJSON_Delete(object);
    return !fault;
}

static void from_client(struct grant *g, const struct entra_config *entra)
{
    const struct strv parts[] = {strv_z(entra->authority),     STRV("\n"),
                                 strv_z(entra->tenant_id),     STRV("\n"),
                                 strv_z(entra->client_id),     STRV("\n"),
                                 strv_z(entra->client_secret), STRV("\n"),
                                 strv_z(entra->scope),         strv_z(entra->ca_file)};

    g->kind = KIND_CLIENT;
    g->url = xasprintf("%s/%s/oauth2/v2.0/token", entra->authority, entra->tenant_id);
    g->id = copy(entra->client_id);
    g->secret = copy(entra->client_secret);
    g->scope = copy(entra->scope);
    g->ca_file = copy(entra->ca_file);
    digest_sha256_parts(parts, sizeof(parts) / sizeof(parts[0]), g->fingerprint);
}

struct grant *grant_new(const struct upstream_config *up, char why[GRANT_WHY_BYTES])
{
    struct grant *g = xcalloc(1, sizeof(*g));

    if (!up->google.credentials) {
        from_client(g, &up->entra);
        return g;
    }
    if (from_file(g, &up->google, why))
        return g;
    grant_free(g);
    return NULL;
}

/* ---- what is shown
 * ------------------------------------------------------------------------------ */

/* RFC 4648 section 5, without padding. */
static enum rc put_base64url(struct buf *out, const unsigned char *bytes, size_t n)
{
    char *text = xmalloc(n / 3 * 4 + 5);
    int length = EVP_EncodeBlock((unsigned char *)text, bytes, (int)n);
    enum rc rc;

    while (length > 0 && text[length - 1] == '=')
        length--;
    for (int i = 0; i < length; i++) {
        if (text[i] == '+')
            text[i] = '-';
        else if (text[i] == '/')
            text[i] = '_';
    }
    rc = buf_append(out, text, (size_t)length);
    free(text);
    return rc;
}

static void put_member(struct jsonw *w, const char *name, const char *value)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, strv_z(value));
}

/* A part of a JSON web token: the JSON in part, encoded. */
static enum rc put_part(struct buf *out, struct buf *part, struct jsonw *w)
{
    struct strv json;
    enum rc rc;

    jsonw_end(w);
    rc = jsonw_finish(w);
    json = buf_view(part);
    if (rc == RC_OK)
        rc = put_base64url(out, (const unsigned char *)json.p, json.n);
    buf_clear(part);
    return rc;
}

/* Head and claims, which are signed (RFC 7519). */
static enum rc put_claims(const struct grant *g, int64_t now_s, struct buf *out)
{
    struct buf part;
    struct jsonw w;
    enum rc rc;

    buf_init(&part, GRANT_FORM_BYTES);
    jsonw_start(&w, &part);
    jsonw_object(&w);
    put_member(&w, "alg", "RS256");
    put_member(&w, "typ", "JWT");
    if (g->key_id)
        put_member(&w, "kid", g->key_id);
    rc = put_part(out, &part, &w);
    if (rc == RC_OK)
        rc = buf_append(out, ".", 1);
    jsonw_start(&w, &part);
    jsonw_object(&w);
    put_member(&w, "iss", g->id);
    put_member(&w, "scope", g->scope);
    put_member(&w, "aud", g->url);
    jsonw_key(&w, STRV("iat"));
    jsonw_int(&w, now_s);
    jsonw_key(&w, STRV("exp"));
    jsonw_int(&w, now_s + GRANT_LIFE_S);
    if (rc == RC_OK)
        rc = put_part(out, &part, &w);
    buf_release(&part);
    return rc;
}

static enum rc put_signature(const struct grant *g, struct strv text, struct buf *out)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[1024]; /* RSA of 8192 bits */
    size_t n = sizeof(signature);
    enum rc rc = RC_BAD;

    ASSERT(context != NULL);
    if (EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, g->key) == 1 &&
        EVP_PKEY_get_size(g->key) <= (int)sizeof(signature) &&
        EVP_DigestSign(context, signature, &n, (const unsigned char *)text.p, text.n) == 1)
        rc = put_base64url(out, signature, n);
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    return rc;
}

static enum rc put_assertion(const struct grant *g, int64_t now_s, struct buf *out)
{
    struct buf token;
    enum rc rc;

    buf_init(&token, GRANT_FORM_BYTES);
    rc = put_claims(g, now_s, &token);
    if (rc == RC_OK)
        rc = buf_append_strv(out, buf_view(&token));
    if (rc == RC_OK)
        rc = buf_append(out, ".", 1);
    if (rc == RC_OK)
        rc = put_signature(g, buf_view(&token), out);
    buf_release(&token);
    return rc;
}

/* "name=value", the value percent-encoded. */
static enum rc put_field(struct buf *out, const char *name, const char *value)
{
    static const char HEX[] = "0123456789ABCDEF";
    enum rc rc = buf_append_strv(out, buf_len(out) > 0 ? STRV("&") : STRV_NONE);

    if (rc == RC_OK)
        rc = buf_append_strv(out, strv_z(name));
    if (rc == RC_OK)
        rc = buf_append(out, "=", 1);
    for (const char *p = value; rc == RC_OK && *p; p++) {
        unsigned char c = (unsigned char)*p;
        const char code[3] = {'%', HEX[c >> 4], HEX[c & 15]};
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';

        rc = plain ? buf_append(out, p, 1) : buf_append(out, code, sizeof(code));
    }
    return rc;
}

enum rc grant_form(const struct grant *g, int64_t wall_us, struct buf *out)
{
    enum rc rc = RC_OK;

    switch (g->kind) {
    case KIND_SERVICE_ACCOUNT:
        rc = put_field(out, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        if (rc == RC_OK)
            rc = put_field(out, "assertion", "");
        return rc == RC_OK ? put_assertion(g, wall_us / 1000000, out) : rc;
    case KIND_USER:
        rc = put_field(out, "grant_type", "refresh_token");
        if (rc == RC_OK)
            rc = put_field(out, "refresh_token", g->refresh_token);
        break;
    case KIND_CLIENT:
        rc = put_field(out, "grant_type", "client_credentials");
        if (rc == RC_OK)
            rc = put_field(out, "scope", g->scope);
        break;
    }
    if (rc == RC_OK)
        rc = put_field(out, "client_id", g->id);
    return rc == RC_OK ? put_field(out, "client_secret", g->secret) : rc;
}

/* ---- what is answered
 * ------------------------------------------------------------------------------ */

/* What can stand in a header: RFC 6750 section 2.1, and more that servers send. */
static bool is_token(const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return n > 0 && n <= GRANT_TOKEN_BYTES;
}

/* The server's word for what is wrong, if it is a plain one. */
static void say_error(int status, const cJSON *object, char why[GRANT_WHY_BYTES])
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "error");
    const char *word =
        cJSON_IsString(item) && is_token(item->valuestring) ? item->valuestring : "";

    snprintf(why, GRANT_WHY_BYTES, "the token's server answered %d %.64s", status, word);
}

enum rc grant_answer(int status, struct strv body, char **token, int64_t *life_s,
                     char why[GRANT_WHY_BYTES])
{
    cJSON *object = cJSON_ParseWithLength(body.n ? body.p : "", body.n);
    cJSON *text = cJSON_GetObjectItemCaseSensitive(object, "access_token");
    const cJSON *life = cJSON_GetObjectItemCaseSensitive(object, "expires_in");
    enum rc rc = RC_BAD;

    if (status != 200) {
        say_error(status, object, why);
    } else if (!cJSON_IsString(text) || !is_token(text->valuestring)) {
        snprintf(why, GRANT_WHY_BYTES, "the token's server answered without a token");
    } else {
        double seconds = cJSON_IsNumber(life) ? life->valuedouble : GRANT_LIFE_S;

        *life_s = seconds >= 1 && seconds <= GRANT_LIFE_MAX_S ? (int64_t)seconds
                  : seconds > GRANT_LIFE_MAX_S                ? GRANT_LIFE_MAX_S
                                                              : 1;
        *token = copy(text->valuestring);
        rc = RC_OK;
    }
    if (cJSON_IsString(text))
        explicit_bzero(text->valuestring, strlen(text->valuestring));
    cJSON_Delete(object);
    return rc;
}
