/*
 * test_tls_context.c - real handshakes between our contexts, and with peers made to fail.
 *
 * The test is its own authority: keys and certificates are made when it starts, in a
 * folder of its own.  Both ends of a handshake run in turn over a socket pair.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/strv.h"
#include "base/xalloc.h"
#include "proxy/peer.h"
#include "proxy/tls_context.h"

enum { DAY_SECONDS = 86400, TURNS_MAX = 50, FILES_MAX = 32 };

struct signer {
    EVP_PKEY *key;
    X509 *certificate;
};

static char folder[] = P_tmpdir "/tls-context-XXXXXX";
static char *files[FILES_MAX]; /* what was written, to be removed */
static size_t n_files;
static struct signer authority, stranger;

/* ---- an authority of our own ------------------------------------------------------- */

static char *path_of(const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);

    for (size_t i = 0; i < n_files; i++) {
        if (strcmp(files[i], path) == 0) {
            free(path);
            return files[i];
        }
    }
    assert_true(n_files < FILES_MAX);
    files[n_files++] = path;
    return path;
}

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                                  passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
        1);
    fclose(f);
}

static void write_certificate(const char *name, X509 *certificate)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certificate), 1);
    fclose(f);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* names: of subjectAltName; NULL makes an authority, signed by itself where signer is NULL. */
static struct signer issue(const char *name, const char *names, const struct signer *signer,
                           long from_s, long to_s)
{
    static long serial = 1;
    struct signer out = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *c = out.certificate;
    X509_NAME *subject = X509_NAME_new();

    assert_non_null(out.key);
    assert_true(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                           (const unsigned char *)name, -1, -1, 0) == 1);
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c), from_s);
    X509_gmtime_adj(X509_getm_notAfter(c), to_s);
    X509_set_subject_name(c, subject);
    X509_set_issuer_name(c, signer ? X509_get_subject_name(signer->certificate) : subject);
    X509_set_pubkey(c, out.key);
    add_extension(c, NID_basic_constraints, names ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (names)
        add_extension(c, NID_subject_alt_name, names);
    assert_true(X509_sign(c, signer ? signer->key : out.key, EVP_sha256()) > 0);
    X509_NAME_free(subject);
    return out;
}

static void release(struct signer *s)
{
    EVP_PKEY_free(s->key);
    X509_free(s->certificate);
}

static void issue_files(const char *name, const char *names, const struct signer *signer,
                        long from_s, long to_s)
{
    struct signer s = issue(name, names, signer, from_s, to_s);
    char *certificate = xasprintf("%s.pem", name), *key = xasprintf("%s.key", name);

    write_certificate(certificate, s.certificate);
    write_key(key, s.key, NULL);
    free(certificate);
    free(key);
    release(&s);
}

static int make_files(void **state)
{
    const long from = -DAY_SECONDS, to = 30 * DAY_SECONDS;
    struct signer locked;

    (void)state;
    assert_non_null(mkdtemp(folder));
    authority = issue("authority", NULL, NULL, from, to);
    stranger = issue("stranger", NULL, NULL, from, to);
    write_certificate("ca.pem", authority.certificate);
    write_certificate("stranger.pem", stranger.certificate);
    issue_files("good", "DNS:localhost,DNS:*.wild.test,DNS:f*.part.test,IP:127.0.0.1,IP:::1",
                &authority, from, to);
    issue_files("expired", "DNS:localhost", &authority, 2 * from, from);
    issue_files("future", "DNS:localhost", &authority, -from, to);
    issue_files("unknown", "DNS:localhost", &stranger, from, to);
    issue_files("other", "DNS:other.test,DNS:a.wild.test,DNS:*.more.test", &authority, from, to);
    locked = issue("locked", "DNS:localhost", &authority, from, to);
    write_certificate("locked.pem", locked.certificate);
    write_key("locked.key", locked.key, "s3cr3t-passphrase");
    release(&locked);
    write_text("empty.pem", "");
    write_text("text.pem", "not a certificate: s3cr3t-content\n");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    release(&authority);
    release(&stranger);
    for (size_t i = 0; i < n_files; i++) {
        unlink(files[i]);
        free(files[i]);
    }
    return rmdir(folder);
}

/* ---- handshakes -------------------------------------------------------------------- */

struct pair {
    int fd[2];
    SSL *client, *server;
    bool client_done, server_done;
    unsigned long client_error, server_error;
};

static bool step(SSL *ssl, unsigned long *error)
{
    int result;

    if (*error != 0)
        return false;
    ERR_clear_error();
    result = SSL_do_handshake(ssl);
    if (result == 1)
        return true;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return false;
    default:
        *error = ERR_peek_error();
        if (*error == 0)
            *error = 1; /* the other side is gone */
        return false;
    }
}

static void pair_open(struct pair *p, SSL_CTX *client, SSL_CTX *server)
{
    *p = (struct pair){.client = SSL_new(client), .server = SSL_new(server)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    SSL_set_fd(p->client, p->fd[0]);
    SSL_set_fd(p->server, p->fd[1]);
    SSL_set_connect_state(p->client);
    SSL_set_accept_state(p->server);
}

static bool pair_run(struct pair *p)
{
    for (int turn = 0; turn < TURNS_MAX && !(p->client_done && p->server_done); turn++) {
        p->client_done = p->client_done || step(p->client, &p->client_error);
        p->server_done = p->server_done || step(p->server, &p->server_error);
        if (p->client_error != 0 && p->server_error != 0)
            return false;
    }
    return p->client_done && p->server_done;
}

static void pair_close(struct pair *p)
{
    SSL_free(p->client);
    SSL_free(p->server);
    close(p->fd[0]);
    close(p->fd[1]);
    ERR_clear_error();
}

static SSL_CTX *server_with(char *certificate, char *key, bool http2, char why[TLS_WHY_BYTES])
{
    struct certificate_pair pair = {.certificate = certificate, .private_key = key};
    struct listen_config listen = {.pairs = &pair, .n_pairs = 1};

    return tls_server_context(&listen, http2, NULL, why, TLS_WHY_BYTES);
}

static SSL_CTX *server_of(const char *name)
{
    char why[TLS_WHY_BYTES] = "";
    char *certificate = xasprintf("%s.pem", name), *key = xasprintf("%s.key", name);
    SSL_CTX *ctx = server_with(path_of(certificate), path_of(key), false, why);

    if (ctx == NULL)
        fail_msg("%s", why);
    free(certificate);
    free(key);
    return ctx;
}

static SSL_CTX *client_of(const char *ca, bool verify)
{
    char why[TLS_WHY_BYTES] = "";
    SSL_CTX *ctx = tls_client_context(ca ? path_of(ca) : NULL, verify, why, sizeof(why));

    if (ctx == NULL)
        fail_msg("%s", why);
    return ctx;
}

static void test_verification(void **state)
{
    static const struct {
        const char *what, *certificate, *ca, *host;
        bool verify;
        long verdict; /* X509_V_OK: the handshake succeeds */
        const char *text;
    } cases[] = {
        {"name", "good", "ca.pem", "localhost", true, X509_V_OK, NULL},
        {"name in capitals", "good", "ca.pem", "LOCALHOST", true, X509_V_OK, NULL},
        {"name with the root's dot", "good", "ca.pem", "localhost.", true, X509_V_OK, NULL},
        {"IPv4 address", "good", "ca.pem", "127.0.0.1", true, X509_V_OK, NULL},
        {"IPv6 address", "good", "ca.pem", "::1", true, X509_V_OK, NULL},
        {"IPv6 address in brackets", "good", "ca.pem", "[::1]", true, X509_V_OK, NULL},
        {"wildcard", "good", "ca.pem", "a.wild.test", true, X509_V_OK, NULL},
        {"the server's own certificate as authority", "unknown", "unknown.pem", "localhost",
         true, X509_V_OK, NULL},
        {"wrong name", "good", "ca.pem", "example.test", true, X509_V_ERR_HOSTNAME_MISMATCH,
         "could not finish the TLS handshake: certificate verify failed: hostname mismatch"},
        {"common name beside alternative names", "good", "ca.pem", "good", true,
         X509_V_ERR_HOSTNAME_MISMATCH, NULL},
        {"wildcard over two labels", "good", "ca.pem", "a.b.wild.test", true,
         X509_V_ERR_HOSTNAME_MISMATCH, NULL},
        {"wildcard over no label", "good", "ca.pem", "wild.test", true,
         X509_V_ERR_HOSTNAME_MISMATCH, NULL},
        {"wildcard in a label", "good", "ca.pem", "foo.part.test", true,
         X509_V_ERR_HOSTNAME_MISMATCH, NULL},
        {"wrong IPv4 address", "good", "ca.pem", "127.0.0.2", true,
         X509_V_ERR_IP_ADDRESS_MISMATCH, NULL},
        {"wrong IPv6 address", "good", "ca.pem", "::2", true, X509_V_ERR_IP_ADDRESS_MISMATCH,
         NULL},
        {"expired", "expired", "ca.pem", "localhost", true, X509_V_ERR_CERT_HAS_EXPIRED,
         "could not finish the TLS handshake: certificate verify failed: "
         "certificate has expired"},
        {"not valid yet", "future", "ca.pem", "localhost", true, X509_V_ERR_CERT_NOT_YET_VALID,
         NULL},
        {"unknown authority", "unknown", "ca.pem", "localhost", true,
         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, NULL},
        {"the system does not know us", "good", NULL, "localhost", true,
         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, NULL},
        {"unknown authority, not verified", "unknown", "ca.pem", "localhost", false, X509_V_OK,
         NULL},
        {"wrong name, not verified", "good", "ca.pem", "example.test", false, X509_V_OK, NULL},
        {"expired, not verified", "expired", "ca.pem", "127.0.0.1", false, X509_V_OK, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *server = server_of(cases[i].certificate);
        SSL_CTX *client = client_of(cases[i].ca, cases[i].verify);
        struct pair p;
        bool good;

        pair_open(&p, client, server);
        assert_int_equal(tls_client_prepare(p.client, cases[i].host, cases[i].verify), RC_OK);
        good = pair_run(&p);
        if (good != (cases[i].verdict == X509_V_OK) ||
            (!good && SSL_get_verify_result(p.client) != cases[i].verdict))
            fail_msg("%s: %s (%s)", cases[i].what, good ? "accepted" : "refused",
                     X509_verify_cert_error_string(SSL_get_verify_result(p.client)));
        if (cases[i].text != NULL) {
            struct fail failure = {
                .rc = RC_TLS, .tls = p.client_error, .doing = "finish the TLS handshake"};
            char text[TLS_WHY_BYTES];

            tls_fail_text(p.client, &failure, text, sizeof(text));
            assert_string_equal(text, cases[i].text);
        }
        pair_close(&p);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static void test_what_is_agreed(void **state)
{
    static const struct {
        int max;
        const char *cipher; /* begins so */
    } cases[] = {{TLS1_3_VERSION, "TLS_AES_128_GCM"}, {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM"}};
    SSL_CTX *server = server_of("good");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *client = client_of("ca.pem", true);
        const unsigned char *protocol;
        unsigned int n;
        struct pair p;

        SSL_CTX_set_max_proto_version(client, cases[i].max);
        pair_open(&p, client, server);
        assert_int_equal(tls_client_prepare(p.client, "localhost", true), RC_OK);
        assert_true(pair_run(&p));
        assert_int_equal(SSL_version(p.client), cases[i].max);
        assert_true(
            strv_starts(strv_z(SSL_get_cipher_name(p.client)), strv_z(cases[i].cipher)));
        SSL_get0_alpn_selected(p.client, &protocol, &n);
        assert_int_equal(n, 8);
        assert_memory_equal(protocol, "http/1.1", 8);
        assert_string_equal(SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name),
                            "localhost");
        pair_close(&p);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

/* RFC 7301: what is spoken where HTTP/2 is too; NULL: nothing. */
static void test_http2_is_chosen(void **state)
{
    static const struct {
        const char *offered, *chosen;
    } cases[] = {
        {"\x02h2", "h2"},
        {"\x08http/1.1\x02h2", "h2"},
        {"\x02h3\x08http/1.1", "http/1.1"},
        {"\x02h3", NULL},
    };
    char why[TLS_WHY_BYTES];
    SSL_CTX *server =
        server_with(path_of("good.pem"), path_of("good.key"), true, why);

    (void)state;
    assert_non_null(server);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *client = SSL_CTX_new(TLS_client_method());
        const unsigned char *protocol;
        unsigned int n;
        struct pair p;

        SSL_CTX_set_alpn_protos(client, (const unsigned char *)cases[i].offered,
                                (unsigned)strlen(cases[i].offered));
        pair_open(&p, client, server);
        assert_int_equal(pair_run(&p), cases[i].chosen != NULL);
        SSL_get0_alpn_selected(p.client, &protocol, &n);
        if (cases[i].chosen) {
            assert_int_equal(n, strlen(cases[i].chosen));
            assert_memory_equal(protocol, cases[i].chosen, n);
        }
        pair_close(&p);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

/* Clients that are made as no client of ours would be. */
static void test_other_clients(void **state)
{
    static const struct {
        const char *what;
        int version;
        const char *ciphers, *alpn;
        bool good;
    } cases[] = {
        {"no ALPN", TLS1_3_VERSION, NULL, NULL, true},
        {"h2, then http/1.1", TLS1_3_VERSION, NULL, "\x02h2\x08http/1.1", true},
        {"h2 alone", TLS1_3_VERSION, NULL, "\x02h2", false},
        {"http/1.0 alone", TLS1_2_VERSION, NULL, "\x08http/1.0", false},
        {"TLS 1.1", TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false},
        {"no forward secrecy", TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, false},
        {"CBC", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", NULL, false},
        {"CHACHA20", TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL, true},
    };
    SSL_CTX *server = server_of("good");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *client = SSL_CTX_new(TLS_client_method());
        struct pair p;

        SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(client, cases[i].version);
        if (cases[i].ciphers != NULL)
            assert_int_equal(SSL_CTX_set_cipher_list(client, cases[i].ciphers), 1);
        if (cases[i].alpn != NULL)
            SSL_CTX_set_alpn_protos(client, (const unsigned char *)cases[i].alpn,
                                    (unsigned)strlen(cases[i].alpn));
        pair_open(&p, client, server);
        if (pair_run(&p) != cases[i].good)
            fail_msg("%s", cases[i].what);
        if (!cases[i].good && cases[i].alpn != NULL)
            assert_int_equal(ERR_GET_REASON(p.client_error),
                             SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

static void test_addresses_are_no_server_names(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "[::1]"};
    SSL_CTX *server = server_of("good"), *client = client_of("ca.pem", true);

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct pair p;

        pair_open(&p, client, server);
        assert_int_equal(tls_client_prepare(p.client, hosts[i], true), RC_OK);
        assert_true(pair_run(&p));
        assert_null(SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name));
        pair_close(&p);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void test_bad_hosts(void **state)
{
    SSL_CTX *client = client_of("ca.pem", true);
    char longest[256];
    SSL *ssl = SSL_new(client);

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    longest[254] = '\0';
    assert_int_equal(tls_client_prepare(ssl, "", true), RC_BAD);
    assert_int_equal(tls_client_prepare(ssl, "[]", true), RC_BAD);
    assert_int_equal(tls_client_prepare(ssl, longest, true), RC_BAD);
    longest[253] = '\0';
    assert_int_equal(tls_client_prepare(ssl, longest, true), RC_OK);
    assert_int_equal(ERR_peek_error(), 0);
    SSL_free(ssl);
    SSL_CTX_free(client);
}

/* The ticket of one connection resumes the next: what workers share by sharing the context. */
static void test_resumption(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    SSL_CTX *server = server_of("good");

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *client = client_of("ca.pem", true);
        SSL_SESSION *session = NULL;

        SSL_CTX_set_max_proto_version(client, versions[i]);
        for (int connection = 0; connection < 2; connection++) {
            char byte;
            size_t n;
            struct pair p;

            pair_open(&p, client, server);
            assert_int_equal(tls_client_prepare(p.client, "localhost", true), RC_OK);
            if (session != NULL)
                assert_int_equal(SSL_set_session(p.client, session), 1);
            assert_true(pair_run(&p));
            assert_int_equal(SSL_session_reused(p.client), connection);
            assert_int_equal(SSL_write_ex(p.server, "x", 1, &n), 1);
            assert_int_equal(SSL_read_ex(p.client, &byte, 1, &n), 1); /* takes the ticket too */
            SSL_SESSION_free(session);
            session = SSL_get1_session(p.client);
            assert_true(SSL_SESSION_has_ticket(session));
            SSL_shutdown(p.client); /* or the session counts as bad */
            pair_close(&p);
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

/* Two contexts of one set of ticket keys, as before and after a reload; then keys grow old. */
static void test_tickets_outlive_contexts_and_not_their_keys(void **state)
{
    struct certificate_pair pair = {.certificate = path_of("good.pem"),
                                    .private_key = path_of("good.key")};
    struct listen_config listen = {.pairs = &pair, .n_pairs = 1};
    struct tls_tickets *tickets = tls_tickets_new();
    SSL_CTX *client = client_of("ca.pem", true);
    SSL_SESSION *session = NULL;
    char why[TLS_WHY_BYTES];

    (void)state;
    /* Turns of the keys since the ticket was given: 0, 1 (it is renewed), 2. */
    static const int turns[] = {0, 0, 1, 0, 2, 0, 3, 9};
    static const bool resumed[] = {false, true, true, true, false, true, false, false};
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
        SSL_CTX *server = tls_server_context(&listen, false, tickets, why, sizeof(why));
        struct pair p;
        char byte;
        size_t n;

        assert_non_null(server);
        for (int turn = 0; turn < turns[i]; turn++)
            tls_tickets_rotate(tickets);
        pair_open(&p, client, server);
        SSL_CTX_free(server); /* the connection keeps it, and it the keys */
        if (session)
            assert_int_equal(SSL_set_session(p.client, session), 1);
        assert_true(pair_run(&p));
        if ((SSL_session_reused(p.client) == 1) != resumed[i])
            fail_msg("handshake %zu: %s", i, resumed[i] ? "not resumed" : "resumed");
        assert_int_equal(SSL_write_ex(p.server, "x", 1, &n), 1);
        assert_int_equal(SSL_read_ex(p.client, &byte, 1, &n), 1);
        SSL_SESSION_free(session);
        session = SSL_get1_session(p.client);
        assert_true(SSL_SESSION_get_ticket_lifetime_hint(session) <= TICKET_LIFE_S);
        SSL_shutdown(p.client);
        pair_close(&p);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    tls_tickets_unref(tickets);
}

/* Which certificate is presented for a name: RSA beside EC, wildcards, capitals, a dot. */
static void test_names(void **state)
{
    struct certificate_pair pairs[] = {{path_of("good.pem"), path_of("good.key")},
                                       {path_of("unknown.pem"), path_of("unknown.key")},
                                       {path_of("other.pem"), path_of("other.key")}};
    struct listen_config listen = {.pairs = pairs, .n_pairs = 3};
    static const struct {
        const char *asked, *common; /* name of the certificate */
    } cases[] = {
        {NULL, "good"},           {"localhost", "good"},    {"other.test", "other"},
        {"OTHER.Test", "other"},  {"other.test.", "other"}, {"b.wild.test", "good"},
        {"a.wild.test", "other"}, {"a.b.wild.test", "good"}, {"nobody.test", "good"},
        {"x.more.test", "other"}, {"more.test", "good"},    {"*.more.test", "other"},
    };
    char why[TLS_WHY_BYTES];
    SSL_CTX *server = tls_server_context(&listen, false, NULL, why, sizeof(why));

    (void)state;
    assert_non_null(server);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *client = SSL_CTX_new(TLS_client_method());
        char common[64] = "";
        struct pair p;
        X509 *shown;

        pair_open(&p, client, server);
        if (cases[i].asked) {
            char asked[64]; /* OpenSSL's macro takes no const */

            snprintf(asked, sizeof(asked), "%s", cases[i].asked);
            assert_int_equal(SSL_set_tlsext_host_name(p.client, asked), 1);
        }
        assert_true(pair_run(&p));
        shown = SSL_get1_peer_certificate(p.client);
        X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, common,
                                  sizeof(common));
        if (strcmp(common, cases[i].common) != 0)
            fail_msg("%s: %s", cases[i].asked ? cases[i].asked : "no name", common);
        X509_free(shown);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

/* Who a client is: of a verified certificate alone, and with bounds on its names. */
static void test_peers(void **state)
{
    static const struct {
        const char *certificate; /* of the client; NULL: none */
        enum client_certificates mode;
        bool good, known;
    } cases[] = {
        {"many", CLIENT_CERTIFICATES_OPTIONAL, true, true},
        {"many", CLIENT_CERTIFICATES_REQUIRED, true, true},
        {"many", CLIENT_CERTIFICATES_OFF, true, false},
        {NULL, CLIENT_CERTIFICATES_OPTIONAL, true, false},
        {NULL, CLIENT_CERTIFICATES_REQUIRED, false, false},
        {"unknown", CLIENT_CERTIFICATES_OPTIONAL, false, false},
        {"expired", CLIENT_CERTIFICATES_OPTIONAL, false, false},
        {"future", CLIENT_CERTIFICATES_REQUIRED, false, false},
    };
    char names[(PEER_NAMES_MAX + 10) * 16 + PEER_NAME_MAX_BYTES + 16] = "DNS:first.test,URI:x:";
    struct certificate_pair pair = {.certificate = path_of("good.pem"),
                                    .private_key = path_of("good.key")};
    size_t n = strlen(names);
    char why[TLS_WHY_BYTES];

    (void)state;
    memset(names + n, 'a', PEER_NAME_MAX_BYTES); /* with "x:" too long */
    n += PEER_NAME_MAX_BYTES;
    for (int i = 0; i < PEER_NAMES_MAX + 5; i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, ",DNS:n%d.test", i);
    issue_files("many", names, &authority, -DAY_SECONDS, DAY_SECONDS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct listen_config listen = {.pairs = &pair, .n_pairs = 1,
                                       .client_ca = path_of("ca.pem"),
                                       .client_certificates = cases[i].mode};
        SSL_CTX *server = tls_server_context(&listen, false, NULL, why, sizeof(why));
        SSL_CTX *client = client_of("ca.pem", true);
        struct peer *peer = NULL;
        struct pair p;

        assert_non_null(server);
        SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION); /* refusals are told in it */
        if (cases[i].certificate) {
            char *pem = xasprintf("%s.pem", cases[i].certificate);
            char *key = xasprintf("%s.key", cases[i].certificate);

            assert_int_equal(SSL_CTX_use_certificate_file(client, path_of(pem), SSL_FILETYPE_PEM),
                             1);
            assert_int_equal(SSL_CTX_use_PrivateKey_file(client, path_of(key), SSL_FILETYPE_PEM),
                             1);
            free(pem);
            free(key);
        }
        pair_open(&p, client, server);
        if (pair_run(&p) != cases[i].good)
            fail_msg("case %zu", i);
        if (cases[i].good)
            peer = peer_new(p.server, tls_trust(SSL_get_SSL_CTX(p.server)));
        if ((peer != NULL) != cases[i].known)
            fail_msg("case %zu: %s", i, peer ? "known" : "not known");
        if (peer) {
            assert_int_equal(peer->n_names, PEER_NAMES_MAX);
            assert_true(strv_eq(peer->names[0], STRV("first.test")));
            assert_true(strv_eq(peer->names[1], STRV("n0.test")));
            assert_true(strv_eq(peer->common, STRV("many")));
        }
        peer_unref(peer);
        pair_close(&p);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static void test_modes(void **state)
{
    const long modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                       SSL_MODE_AUTO_RETRY;
    SSL_CTX *contexts[2] = {server_of("good"), client_of(NULL, true)};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(SSL_CTX_get_mode(contexts[i]) & modes, modes);
        assert_int_equal(SSL_CTX_get_read_ahead(contexts[i]), 1);
        assert_int_equal(SSL_CTX_get_max_early_data(contexts[i]), 0);
        assert_true((SSL_CTX_get_options(contexts[i]) & SSL_OP_NO_COMPRESSION) != 0);
        assert_true((SSL_CTX_get_options(contexts[i]) & SSL_OP_NO_RENEGOTIATION) != 0);
        assert_non_null(SSL_CTX_get_default_passwd_cb(contexts[i])); /* else it asks the tty */
        SSL_CTX_free(contexts[i]);
    }
}

/* ---- files that are wrong ---------------------------------------------------------- */

static void assert_why(const char *why, const char *doing, const char *file)
{
    char *start = xasprintf("could not %s \"%s\": ", doing, path_of(file));

    if (!strv_starts(strv_z(why), strv_z(start)) || strlen(why) == strlen(start) ||
        strstr(why, "s3cr3t") != NULL)
        fail_msg("\"%s\" does not begin with \"%s\" and a reason", why, start);
    free(start);
}

static void test_faulty_files(void **state)
{
    static const struct {
        const char *certificate, *key, *doing, *reason;
        bool at_key;
    } cases[] = {
        {"none.pem", "good.key", "read certificate", "No such file or directory", false},
        {"good.pem", "none.key", "read private key", "No such file or directory", true},
        {"empty.pem", "good.key", "read certificate", "no start line", false},
        {"text.pem", "good.key", "read certificate", "no start line", false},
        {"good.key", "good.key", "read certificate", "no start line", false},
        {"good.pem", "empty.pem", "read private key", NULL, true},
        {"good.pem", "text.pem", "read private key", NULL, true},
        {"good.pem", "expired.key", "read private key", "key values mismatch", true},
        {"locked.pem", "locked.key", "read private key", NULL, true},
        {"good.pem", "", "read private key", NULL, true}, /* the folder */
    };
    char why[TLS_WHY_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(why, 'x', sizeof(why));
        assert_null(server_with(path_of(cases[i].certificate), path_of(cases[i].key), false, why));
        assert_why(why, cases[i].doing, cases[i].at_key ? cases[i].key : cases[i].certificate);
        if (cases[i].reason != NULL && !strv_ends(strv_z(why), strv_z(cases[i].reason)))
            fail_msg("\"%s\" does not end with \"%s\"", why, cases[i].reason);
        assert_int_equal(ERR_peek_error(), 0);
    }
    assert_null(tls_client_context(path_of("none.pem"), true, why, sizeof(why)));
    assert_why(why, "read certificate authorities", "none.pem");
    assert_null(tls_client_context(path_of("text.pem"), true, why, sizeof(why)));
    assert_why(why, "read certificate authorities", "text.pem");
    assert_null(tls_client_context(path_of("none.pem"), true, why, 10));
    assert_int_equal(strlen(why), 9);
}

static void test_text_without_tls(void **state)
{
    const struct fail failure = {.rc = RC_TIMEOUT, .doing = "finish the TLS handshake"};
    char text[TLS_WHY_BYTES];

    (void)state;
    tls_fail_text(NULL, &failure, text, sizeof(text));
    assert_string_equal(text, "could not finish the TLS handshake: timed out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_what_is_agreed),
        cmocka_unit_test(test_http2_is_chosen),
        cmocka_unit_test(test_other_clients),
        cmocka_unit_test(test_addresses_are_no_server_names),
        cmocka_unit_test(test_bad_hosts),
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_tickets_outlive_contexts_and_not_their_keys),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_faulty_files),
        cmocka_unit_test(test_text_without_tls),
    };

    return cmocka_run_group_tests_name("tls_context", tests, make_files, remove_files);
}
