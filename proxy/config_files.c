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

/* Time of an ASN.1 field in microseconds; false where it is none. */
static bool asn1_us(const ASN1_TIME *when, int64_t *us)
{
    struct tm parts;

    if (!when || ASN1_TIME_to_tm(when, &parts) != 1)
        return false;
    *us = (date_to_days(parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday) * US_PER_DAY) +
          ((int64_t)parts.tm_hour * 3600 + parts.tm_min * 60 + parts.tm_sec) * US_PER_SECOND;
    return true;
}

static X509 *read_certificate(const char *path, struct problems *problems)
{
    FILE *file = open_file(path, "certificate", problems);
    X509 *certificate = NULL;

    if (!file)
        return NULL;
    certificate = PEM_read_X509(file, NULL, no_password, NULL);
    if (!certificate)
        problems_add(problems, path, 0,
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
    key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    if (!key)
        problems_add(problems, path, 0,
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

    if (!asn1_us(X509_get0_notBefore(certificate), &from) ||
        !asn1_us(X509_get0_notAfter(certificate), &to)) {
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

static void check_pair(const struct listen_config *listen, struct problems *problems)
{
    X509 *certificate = read_certificate(listen->certificate, problems);
    EVP_PKEY *key = read_private_key(listen->private_key, problems);

    if (certificate)
        check_dates(listen->certificate, certificate, problems);
    if (certificate && key && X509_check_private_key(certificate, key) != 1)
        problems_add(problems, listen->private_key, 0,
                     "is not the private key of %s: give the pair that was made together",
                     listen->certificate);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static void check_authorities(const char *path, struct problems *problems)
{
    FILE *file = open_file(path, "authorities (ca_file)", problems);
    X509 *certificate;
    size_t n = 0;

    if (!file)
        return;
    while ((certificate = PEM_read_X509(file, NULL, no_password, NULL)) != NULL) {
        X509_free(certificate);
        n++;
    }
    if (n == 0)
        problems_add(problems, path, 0, "holds no PEM certificate");
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
        check_authorities(ca_file, problems);
}

void config_check_files(const struct config *config, struct problems *problems)
{
    check_pair(&config->proxy, problems);
    if (strcmp(config->admin.certificate, config->proxy.certificate) != 0 ||
        strcmp(config->admin.private_key, config->proxy.private_key) != 0)
        check_pair(&config->admin, problems);
    for (size_t i = 0; i < config->n_upstreams; i++) {
        const char *path = config->upstreams[i].ca_file;
        bool seen = !path;

        for (size_t j = 0; j < i && !seen; j++)
            seen =
                config->upstreams[j].ca_file && strcmp(config->upstreams[j].ca_file, path) == 0;
        if (!seen)
            check_authorities(path, problems);
        check_tokens(config, &config->upstreams[i], problems);
    }
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

static void warn_certificate(const struct listen_config *listen, struct problems *warnings)
{
    struct problems ignored;
    X509 *certificate;
    int64_t to;

    problems_init(&ignored);
    certificate = read_certificate(listen->certificate, &ignored);
    problems_release(&ignored);
    if (certificate && asn1_us(X509_get0_notAfter(certificate), &to) && to > clock_wall_us() &&
        to < clock_wall_us() + CERTIFICATE_WARN_DAYS * US_PER_DAY) {
        char text[DATETIME_TEXT];

        datetime_format_s(to, text);
        problems_add(warnings, listen->certificate, 0,
                     "the certificate expires at %s: renew it", text);
    }
    X509_free(certificate);
}

void config_check_wisdom(const struct config *config, struct problems *warnings)
{
    struct stat status;

    for (size_t i = 0; i < config->n_upstreams; i++)
        warn_upstream(config, &config->upstreams[i], warnings);
    if (config->n_keys == 0)
        problems_add(warnings, config->file, 0,
                     "there is no key yet, so every request is refused: `tollgate key create`");
    warn_certificate(&config->proxy, warnings);
    if (stat(config->proxy.private_key, &status) == 0 && (status.st_mode & S_IROTH) != 0)
        problems_add(warnings, config->proxy.private_key, 0,
                     "every user of this machine can read the private key: chmod 600");
}
