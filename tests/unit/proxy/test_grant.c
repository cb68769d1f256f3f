#include "proxy/grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cJSON.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/xalloc.h"
#include "tests/unit/proxy/scratch_dir.h"
#include "tests/unit/unit.h"

#define EMAIL "robot@project.iam.gserviceaccount.com"
#define NOW_S INT64_C(1795000000)

static EVP_PKEY *key;
static struct scratch_dir dir;

static char *key_pem(EVP_PKEY *of)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data, *text;
    long n;

    assert_int_equal(PEM_write_bio_PrivateKey(bio, of, NULL, NULL, 0, NULL, NULL), 1);
    n = BIO_get_mem_data(bio, &data);
    text = xmemdupz(data, (size_t)n);
    BIO_free(bio);
    return text;
}

static int setup(void **state)
{
    (void)state;
    key = EVP_RSA_gen(2048);
    assert_non_null(key);
    scratch_make(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    scratch_remove(&dir);
    return 0;
}

/* An upstream whose key file holds that text. */
static struct upstream_config upstream_of(const char *text, char path[256])
{
    struct upstream_config up = {.google = {.scope = (char *)(uintptr_t) "scope a"}};

    scratch_write(&dir, "key.json", text, strlen(text));
    scratch_path(&dir, "key.json", path);
    up.google.credentials = path;
    return up;
}

/* A key file of a service account, with a member replaced (NULL: taken out). */
static char *account_file(const char *name, const char *value)
{
    cJSON *object = cJSON_CreateObject();
    char *pem = key_pem(key), *text;

    cJSON_AddStringToObject(object, "type", "service_account");
    cJSON_AddStringToObject(object, "client_email", EMAIL);
    cJSON_AddStringToObject(object, "private_key_id", "k1");
    cJSON_AddStringToObject(object, "private_key", pem);
    cJSON_AddStringToObject(object, "token_uri", "https://oauth2.example/token");
    if (name) {
        cJSON_DeleteItemFromObjectCaseSensitive(object, name);
        if (value)
            cJSON_AddStringToObject(object, name, value);
    }
    text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    free(pem);
    return text;
}

static size_t from_base64url(struct strv text, unsigned char *out)
{
    char padded[4096];
    size_t n = text.n;
    int length;

    assert_true(n + 4 < sizeof(padded));
    for (size_t i = 0; i < n; i++)
        padded[i] = text.p[i] == '-' ? '+' : text.p[i] == '_' ? '/' : text.p[i];
    for (; n % 4 != 0; n++)
        padded[n] = '=';
    length = EVP_DecodeBlock(out, (const unsigned char *)padded, (int)n);
    assert_true(length > 0);
    return (size_t)length - (n - text.n);
}

static void check_part(struct strv text, const char *const members[][2])
{
    unsigned char bytes[4096];
    size_t n = from_base64url(text, bytes);
    cJSON *object = cJSON_ParseWithLength((const char *)bytes, n);

    assert_non_null(object);
    for (size_t i = 0; members[i][0]; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, members[i][0]);

        assert_non_null(item);
        if (cJSON_IsString(item))
            assert_string_equal(item->valuestring, members[i][1]);
        else
            assert_int_equal((long long)item->valuedouble, strtoll(members[i][1], NULL, 10));
    }
    cJSON_Delete(object);
}

static void test_statement(void **state)
{
    static const char *const HEAD[][2] = {{"alg", "RS256"}, {"kid", "k1"}, {NULL, NULL}};
    static const char *const CLAIMS[][2] = {
        {"iss", EMAIL},        {"scope", "scope a"},  {"aud", "https://oauth2.example/token"},
        {"iat", "1795000000"}, {"exp", "1795003600"}, {NULL, NULL}};
    struct strv prefix =
        STRV("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    char path[256], why[GRANT_WHY_BYTES] = "";
    char *text = account_file(NULL, NULL);
    struct upstream_config up = upstream_of(text, path);
    struct grant *g = grant_new(&up, why);
    unsigned char signature[1024];
    struct strv form, token, head, claims;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct buf out;
    size_t n;

    (void)state;
    buf_init(&out, GRANT_FORM_BYTES);
    assert_non_null(g);
    assert_string_equal(grant_url(g), "https://oauth2.example/token");
    assert_int_equal(grant_form(g, NOW_S * 1000000, &out), RC_OK);
    form = buf_view(&out);
    assert_true(strv_starts(form, prefix));
    token = strv_skip(form, prefix.n);
    head = strv_head(token, strv_find(token, '.'));
    claims = strv_skip(token, head.n + 1);
    claims = strv_head(claims, strv_find(claims, '.'));
    check_part(head, HEAD);
    check_part(claims, CLAIMS);
    n = from_base64url(strv_skip(token, head.n + claims.n + 2), signature);
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(context, signature, n, (const unsigned char *)token.p,
                                      head.n + claims.n + 1),
                     1);
    EVP_MD_CTX_free(context);
    buf_release(&out);
    grant_free(g);
    free(text);
}

static void test_other_forms(void **state)
{
    char path[256], why[GRANT_WHY_BYTES];
    struct upstream_config user =
        upstream_of("{\"type\":\"authorized_user\",\"client_id\":\"i/d\",\"client_secret\":"
                    "\"s+\",\"refresh_token\":\"1//r\"}",
                    path);
    struct upstream_config entra = {
        .entra = {.tenant_id = (char *)(uintptr_t) "t",
                  .client_id = (char *)(uintptr_t) "c",
                  .client_secret = (char *)(uintptr_t) "~s&",
                  .scope = (char *)(uintptr_t) "https://x/.default",
                  .authority = (char *)(uintptr_t) "https://login.example"}};
    const struct {
        const struct upstream_config *up;
        const char *url, *form;
    } CASES[] = {
        {&user, "https://oauth2.googleapis.com/token",
         "grant_type=refresh_token&refresh_token=1%2F%2Fr&client_id=i%2Fd&client_secret=s%2B"},
        {&entra, "https://login.example/t/oauth2/v2.0/token",
         "grant_type=client_credentials&scope=https%3A%2F%2Fx%2F.default&client_id=c&"
         "client_secret=~s%26"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct grant *g = grant_new(CASES[i].up, why);
        struct buf out;

        buf_init(&out, GRANT_FORM_BYTES);
        assert_non_null(g);
        assert_string_equal(grant_url(g), CASES[i].url);
        assert_int_equal(grant_form(g, 0, &out), RC_OK);
        assert_true(strv_eq(buf_view(&out), strv_z(CASES[i].form)));
        buf_release(&out);
        grant_free(g);
    }
}

/* Files that are none: refused, and no part of a secret is in the reason. */
static void test_faults(void **state)
{
    static const struct {
        const char *member, *value;
    } CASES[] = {
        {"type", "external_account"}, {"type", NULL},
        {"client_email", NULL},       {"private_key", "SECRETKEY"},
        {"private_key", NULL},        {"token_uri", "http://oauth2.example/token"},
        {"token_uri", "file:///x"},
    };
    static const char *const TEXTS[] = {"", "{", "[]", "7"};
    char path[256], why[GRANT_WHY_BYTES];
    struct upstream_config up;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char *text = account_file(CASES[i].member, CASES[i].value);

        up = upstream_of(text, path);
        why[0] = '\0';
        assert_null(grant_new(&up, why));
        assert_non_null(strstr(why, "key.json"));
        assert_null(strstr(why, "SECRETKEY"));
        free(text);
    }
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        up = upstream_of(TEXTS[i], path);
        assert_null(grant_new(&up, why));
    }
    unlink(path);
    assert_null(grant_new(&up, why));
}

/* The same file gives the same fingerprint, another one another. */
static void test_fingerprint(void **state)
{
    char path[256], why[GRANT_WHY_BYTES];
    char *text = account_file(NULL, NULL), *other = account_file("client_email", "x");
    struct upstream_config up = upstream_of(text, path);
    struct grant *a = grant_new(&up, why), *b = grant_new(&up, why), *c;

    (void)state;
    up = upstream_of(other, path);
    c = grant_new(&up, why);
    assert_memory_equal(grant_fingerprint(a), grant_fingerprint(b), SHA256_BYTES);
    assert_memory_not_equal(grant_fingerprint(a), grant_fingerprint(c), SHA256_BYTES);
    grant_free(a);
    grant_free(b);
    grant_free(c);
    free(text);
    free(other);
}

static void test_answers(void **state)
{
    static const struct {
        int status;
        const char *body;
        const char *token; /* NULL: refused */
        int64_t life_s;
    } CASES[] = {
        {200, "{\"access_token\":\"ya29.a\",\"expires_in\":3599}", "ya29.a", 3599},
        {200, "{\"access_token\":\"a\"}", "a", GRANT_LIFE_S},
        {200, "{\"access_token\":\"a\",\"expires_in\":\"9\"}", "a", GRANT_LIFE_S},
        {200, "{\"access_token\":\"a\",\"expires_in\":-5}", "a", 1},
        {200, "{\"access_token\":\"a\",\"expires_in\":1e300}", "a", GRANT_LIFE_MAX_S},
        {200, "{\"access_token\":\"\"}", NULL, 0},
        {200, "{\"access_token\":\"a\\r\\nX: y\"}", NULL, 0},
        {200, "{\"access_token\":7}", NULL, 0},
        {200, "", NULL, 0},
        {400, "{\"error\":\"invalid_grant\",\"access_token\":\"a\"}", NULL, 0},
        {500, "<html>", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char why[GRANT_WHY_BYTES] = "", *token = NULL;
        int64_t life_s = 0;
        enum rc rc = grant_answer(CASES[i].status, strv_z(CASES[i].body), &token, &life_s, why);

        if (CASES[i].token) {
            assert_int_equal(rc, RC_OK);
            assert_string_equal(token, CASES[i].token);
            assert_int_equal(life_s, CASES[i].life_s);
        } else {
            assert_int_equal(rc, RC_BAD);
            assert_null(token);
            assert_true(why[0] != '\0');
        }
        if (strstr(CASES[i].body, "invalid_grant"))
            assert_non_null(strstr(why, "400 invalid_grant"));
        free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statement), cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_faults),    cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
