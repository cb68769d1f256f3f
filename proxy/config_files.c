#include "proxy/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/xalloc.h"
#include "proxy/grant.h"
#include "proxy/tls_context.h"

enum {
    CERTIFICATE_WARN_DAYS = 21,
    PASSWORD_NONE = 0,
};

/* A key file that asks for a password would stop the program at a prompt. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return PASSWORD_NONE;
}

static FILE *open_file(const char *path, const char *what, struct problems *problems)
{
    FILE *file = fopen(path, "re");

    if (!file)
        problems_add(problems, path, 0, "could not read the %s: %s", what, strerror(errno));
    return file;
}

/*
 * What OpenSSL could not make of a file: the file's fault, unless memory was out. errno was 0
 * before.
 */
static void add_fault(struct problems *problems, const char *path, const char *fault)
{
    if (errno == ENOMEM)
        problems_add(problems, path, 0, "could not read: out of memory");
    else
        problems_add(problems, path, 0, "%s", fault);
}

static X509 *read_certificate(const char *path, struct problems *problems)
{
    FILE *file = open_file(path, "certificate", problems);
    X509 *certificate = NULL;

    if (!file)
        return NULL;
    errno = 0;
    certificate = PEM_read_X509(file, NULL, no_password, NULL);
    if (!certificate)
        add_fault(problems, path,
                  "holds no PEM certificate: it must begin with the server's own");
    ERR_clear_error();
    fclose(file);
    return certificate;
}

static EVP_PKEY *read_private_key(const char *path, struct problems *problems)
{
    FILE *file = open_file(path, "private key", problems);
    EVP_PKEY *key = NULL;

    if (!file)
        return NULL;
    errno = 0;
    key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    if (!key)
        add_fault(problems, path,
                  "holds no PEM private key that can be read without a password");
    ERR_clear_error();
    fclose(file);
    return key;
}

static void check_dates(const char *path, const X509 *certificate, struct problems *problems)
{
    int64_t now = clock_wall_us();
    int64_t from, to;
    char text[DATETIME_TEXT];

    if (!tls_time(X509_get0_notBefore(certificate), &from) ||
        !tls_time(X509_get0_notAfter(certificate), &to)) {
        problems_add(problems, path, 0, "the certificate's dates cannot be read");
        return;
    }
    if (now < from) {
        datetime_format_s(from, text);
        problems_add(problems, path, 0,
                     "the certificate is not valid before %s: check the clock", text);
    }
    if (now >= to) {
        datetime_format_s(to, text);
        problems_add(problems, path, 0, "the certificate expired at %s: renew it", text);
    }
}

static void check_pair(const char *certificate_path, const char *key_path,
                       struct problems *problems)
{
    X509 *certificate = read_certificate(certificate_path, problems);
    EVP_PKEY *key = read_private_key(key_path, problems);

    if (certificate)
        check_dates(certificate_path, certificate, problems);
    errno = 0;
    if (certificate && key && X509_check_private_key(certificate, key) != 1) {
        int reason = ERR_GET_REASON(ERR_peek_last_error());

        if (errno != ENOMEM &&
            (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH))
            problems_add(problems, key_path, 0,
                         "is not the private key of %s: give the pair that was made together",
                         certificate_path);
        else
            problems_add(problems, key_path, 0,
                         "could not be compared with %s: memory is out, or OpenSSL does not "
                         "know this kind of key",
                         certificate_path);
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static void check_authorities(const char *path, const char *field, struct problems *problems)
{
    char what[64];
    FILE *file;
    X509 *certificate;
    size_t n = 0;

    (void)snprintf(what, sizeof(what), "authorities (%s)", field);
    file = open_file(path, what, problems);
    if (!file)
        return;
    errno = 0;
    while ((certificate = PEM_read_X509(file, NULL, no_password, NULL)) != NULL) {
        X509_free(certificate);
        n++;
    }
    if (n == 0)
        add_fault(problems, path, "holds no PEM certificate");
    ERR_clear_error();
    fclose(file);
}

/* The folder itself, or the nearest one above it that is there, must be writable. */
static void check_writable(const char *folder, struct problems *problems)
{
    char *path = xstrdup(folder);
    struct stat status;

    while (path && stat(path, &status) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');

        if (!slash || slash == path) {
            free(path);
            path = xstrdup(slash ? "/" : ".");
            break;
        }
        *slash = '\0';
    }
    if (!path || stat(path, &status) != 0)
        problems_add(problems, folder, 0, "state_dir cannot be reached: %s", strerror(errno));
    else if (!S_ISDIR(status.st_mode))
        problems_add(problems, folder, 0, "state_dir is not a folder: %s is a file", path);
    else if (access(path, W_OK | X_OK) != 0)
        problems_add(problems, folder, 0,
                     "state_dir is not writable: give this user the right to write in %s",
                     path);
    free(path);
}

/* What its tokens are got with. */
static void check_tokens(const struct config *config, const struct upstream_config *up,
                         struct problems *problems)
{
    const char *ca_file = up->google.credentials ? up->google.ca_file : up->entra.ca_file;
    char why[GRANT_WHY_BYTES];
    struct grant *grant;

    if (!upstream_takes_token(up))
        return;
    grant = grant_new(up, why);
    if (!grant)
        problems_add(problems, config->file, 0, "upstream \"%s\": %s", up->name, why);
    grant_free(grant);
    if (ca_file)
        check_authorities(ca_file, "ca_file", problems);
}

void config_check_files(const struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->proxy.n_pairs; i++)
        check_pair(config->proxy.pairs[i].certificate, config->proxy.pairs[i].private_key,
                   problems);
    if (config->proxy.client_certificates != CLIENT_CERTIFICATES_OFF)
        check_authorities(config->proxy.client_ca, "client_ca", problems);
    if (strcmp(config->admin.certificate, config->proxy.certificate) != 0 ||
        strcmp(config->admin.private_key, config->proxy.private_key) != 0)
        check_pair(config->admin.certificate, config->admin.private_key, problems);
    for (size_t i = 0; i < config->n_upstreams; i++) {
        const char *path = config->upstreams[i].ca_file;
        bool seen = !path;

        for (size_t j = 0; j < i && !seen; j++)
            seen =
                config->upstreams[j].ca_file && strcmp(config->upstreams[j].ca_file, path) == 0;
        if (!seen)
            check_authorities(path, "ca_file", problems);
        check_tokens(config, &config->upstreams[i], problems);
    }
    if (config->counters_tls && config->counters_ca_file)
        check_authorities(config->counters_ca_file, "counters.ca_file", problems);
    if (config->counters_tls && config->counters_pair.certificate)
        check_pair(config->counters_pair.certificate, config->counters_pair.private_key, problems);
    check_writable(config->state_dir, problems);
    if (config->proxy.port != 0 && config->proxy.port == config->admin.port &&
        strcmp(config->proxy.address, config->admin.address) == 0)
        problems_add(
            problems, config->file, 0,
            "listen.proxy and listen.admin have the same address and port: change one");
}

static void warn_upstream(const struct config *config, const struct upstream_config *up,
                          struct problems *warnings)
{
    if (!up->tls)
        problems_add(warnings, config->file, 0,
                     "upstream \"%s\" is called without TLS: prompts and its credential travel "
                     "in the clear",
                     up->name);
    else if (!up->tls_verify)
        problems_add(
            warnings, config->file, 0,
            "upstream \"%s\" is not verified (tls_verify is false): anyone between can "
            "read and change what passes; use ca_file instead",
            up->name);
    if (!up->api_key && !up->aws.access_key_id && !upstream_takes_token(up) &&
        up->credentials == CREDENTIALS_PROXY)
        problems_add(warnings, config->file, 0,
                     "upstream \"%s\" has no api_key: its requests carry no credential",
                     up->name);
    if (up->provider.n == 0)
        problems_add(warnings, config->file, 0,
                     "upstream \"%s\" has no provider in the price book: its requests are "
                     "unpriced",
                     up->name);
}

static void warn_pair(const struct certificate_pair *pair, struct problems *warnings)
{
    struct problems ignored;
    struct stat status;
    X509 *certificate;
    int64_t to;

    problems_init(&ignored);
    certificate = read_certificate(pair->certificate, &ignored);
    problems_release(&ignored);
    if (certificate && tls_time(X509_get0_notAfter(certificate), &to) && to > clock_wall_us() &&
        to < clock_wall_us() + CERTIFICATE_WARN_DAYS * US_PER_DAY) {
        char text[DATETIME_TEXT];

        datetime_format_s(to, text);
        problems_add(warnings, pair->certificate, 0,
                     "the certificate expires at %s: renew it", text);
    }
    X509_free(certificate);
    if (stat(pair->private_key, &status) == 0 && (status.st_mode & S_IROTH) != 0)
        problems_add(warnings, pair->private_key, 0,
                     "every user of this machine can read the private key: chmod 600");
}

void config_check_wisdom(const struct config *config, struct problems *warnings)
{
    for (size_t i = 0; i < config->n_upstreams; i++)
        warn_upstream(config, &config->upstreams[i], warnings);
    if (config->counters_tls && !config->counters_tls_verify)
        problems_add(warnings, config->file, 0,
                     "Redis is not verified (counters.tls_verify is false): anyone between can "
                     "read its password and change what is counted; use ca_file or server_name "
                     "instead");
    if (config->n_keys == 0)
        problems_add(warnings, config->file, 0,
                     "there is no key yet, so every request is refused: `tollgate key create`");
    if (config->n_by_certificate > 0 &&
        config->proxy.client_certificates == CLIENT_CERTIFICATES_OFF)
        problems_add(warnings, config->by_certificate[0]->file, config->by_certificate[0]->line,
                     "a key has a certificate, but no client is asked for one: give "
                     "listen.proxy.client_ca");
    for (size_t i = 0; i < config->proxy.n_pairs; i++)
        warn_pair(&config->proxy.pairs[i], warnings);
    if (config->counters_tls && config->counters_pair.certificate)
        warn_pair(&config->counters_pair, warnings);
}
