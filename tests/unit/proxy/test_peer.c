/*
 * test_peer.c - which key a certificate's names stand for, and until when.
 */
#include "tests/unit/unit.h"

#include <string.h>

#include "proxy/auth.h"
#include "proxy/config.h"
#include "proxy/peer.h"
#include "tests/unit/proxy/request_head.h"

#define FINGER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME(text) ((char *)(uintptr_t)(text))

/* In order of certificate, as they are indexed. */
static struct key_config keys[] = {
    {.name = NAME("common"), .certificate = {"CN=app", 6}, .expires_us = INT64_MAX},
    {.name = NAME("plain"), .certificate = {"app", 3}, .expires_us = INT64_MAX},
    {.name = NAME("old"), .certificate = {"old.test", 8}, .expires_us = 5},
    {.name = NAME("finger"), .certificate = {"sha256:" FINGER, 71}, .expires_us = INT64_MAX},
    {.name = NAME("uri"), .certificate = {"spiffe://x/y", 12}, .expires_us = INT64_MAX},
};
static const struct key_config *order[] = {&keys[0], &keys[1], &keys[2], &keys[3], &keys[4]};
static struct config config = {
    .keys = keys, .n_keys = 5, .by_certificate = order, .n_by_certificate = 5};

static struct peer peer_with(const char *finger, const char *common, const char *one,
                             const char *two)
{
    struct peer p = {.refs = 1, .until_us = 100, .common = strv_z(common)};

    memcpy(p.fingerprint, finger ? finger : "00", strlen(finger ? finger : "00") + 1);
    if (one)
        p.names[p.n_names++] = strv_z(one);
    if (two)
        p.names[p.n_names++] = strv_z(two);
    return p;
}

static void test_names(void **state)
{
    static const struct {
        const char *finger, *common, *one, *two, *key;
    } cases[] = {
        {NULL, NULL, "spiffe://x/y", NULL, "uri"},
        {NULL, NULL, "other.test", "spiffe://x/y", "uri"},
        {NULL, NULL, "app", "spiffe://x/y", NULL},    /* two keys: none */
        {FINGER, NULL, "app", "spiffe://x/y", "finger"}, /* but for its fingerprint */
        {NULL, "app", "other.test", NULL, "common"},
        {NULL, "app", NULL, NULL, NULL}, /* CN=app and the bare name are two keys */
        {NULL, "spiffe://x/y", NULL, NULL, "uri"},
        {NULL, "spiffe://x/y", "other.test", NULL, NULL}, /* a common name beside others */
        {NULL, NULL, "CN=app", NULL, NULL},               /* a form is no name */
        {NULL, NULL, "sha256:" FINGER, NULL, NULL},
        {NULL, "sha256:" FINGER, NULL, NULL, NULL},
        {NULL, NULL, "APP", NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p =
            peer_with(cases[i].finger, cases[i].common, cases[i].one, cases[i].two);
        const struct key_config *key = config_peer_key(&config, &p);

        if ((key == NULL) != (cases[i].key == NULL) ||
            (key && strcmp(key->name, cases[i].key) != 0))
            fail_msg("case %zu: %s", i, key ? key->name : "none");
    }
}

static void test_when_it_counts(void **state)
{
    static const unsigned char other[SHA256_BYTES] = {1};
    struct peer p = peer_with(NULL, NULL, "app", NULL);

    (void)state;
    p.from_us = 10;
    assert_false(peer_is_good(NULL, p.trust, 50));
    assert_false(peer_is_good(&p, p.trust, 9));
    assert_true(peer_is_good(&p, p.trust, 10));
    assert_true(peer_is_good(&p, p.trust, 99));
    assert_false(peer_is_good(&p, p.trust, 100));
    assert_false(peer_is_good(&p, other, 50));
}

static void test_beside_credentials(void **state)
{
    static const struct {
        enum auth_result found;
        const char *headers, *query;
        enum auth_result result;
        bool old;
    } cases[] = {
        {AUTH_MISSING, "accept: x\n", "", AUTH_OK, false},
        {AUTH_UNKNOWN, "authorization: Bearer unused\n", "", AUTH_OK, false},
        {AUTH_UNKNOWN, "authorization: Bearer tg_gone\n", "", AUTH_UNKNOWN, false},
        {AUTH_UNKNOWN, "x-api-key: tg_gone\n", "", AUTH_UNKNOWN, false},
        {AUTH_UNKNOWN, "accept: x\n", "key=t%67_gone", AUTH_UNKNOWN, false},
        {AUTH_UNKNOWN, "accept: x\n", "token=tg_gone", AUTH_UNKNOWN, false},
        {AUTH_UNKNOWN, "accept: x\n", "token=unused", AUTH_OK, false},
        {AUTH_MISSING, "x-tollgate-key: tg_x\n", "", AUTH_MISSING, false},
        {AUTH_REVOKED, "x-api-key: any\n", "", AUTH_REVOKED, false},
        {AUTH_EXPIRED, "x-api-key: any\n", "", AUTH_EXPIRED, false},
        {AUTH_OK, "x-api-key: any\n", "", AUTH_OK, false},
        {AUTH_MISSING, "accept: x\n", "", AUTH_EXPIRED, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p = peer_with(NULL, NULL, cases[i].old ? "old.test" : "spiffe://x/y", NULL);
        const struct key_config *key = NULL;
        struct http1_head head;

        request_head(&head, cases[i].headers);
        if (auth_certificate(&config, cases[i].found, &head, strv_z(cases[i].query), &p, 50,
                             &key) != cases[i].result)
            fail_msg("case %zu", i);
        assert_true(cases[i].found == AUTH_OK || (cases[i].result == AUTH_OK) == (key == &keys[4]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_when_it_counts),
                                       cmocka_unit_test(test_beside_credentials)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
