/*
 * admin_token.c - the token of the admin listener; see admin_int.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/admin_int.h"

enum {
    TOKEN_BYTES = 32, /* random, written as hex */
    TOKEN_FILE_MAX = 4096,
    CREDENTIALS_MAX = 4096, /* of an Authorization header */
};

static enum rc failed(struct fail *fail, enum rc rc, const char *doing)
{
    *fail = (struct fail){.rc = rc, .sys = errno, .doing = doing};
    return rc;
}

/* The folder the file is in, where it is missing. */
static void make_folder(const char *path)
{
    char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');

    if (slash && slash != folder) {
        *slash = '\0';
        (void)mkdir(folder, 0700); /* what stands in the way is told by open */
    }
    free(folder);
}

static enum rc write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return RC_IO;
        p += written;
        n -= (size_t)written;
    }
    return fsync(fd) == 0 ? RC_OK : RC_IO;
}

/* RC_STATE where the file is there. */
static enum rc make_token(const char *path, struct fail *fail)
{
    unsigned char random[TOKEN_BYTES];
    char text[2 * TOKEN_BYTES + 2];
    enum rc rc;
    int fd;

    make_folder(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? RC_STATE : failed(fail, RC_IO, "make the admin token file");
    digest_random(random, sizeof(random));
    digest_hex(random, sizeof(random), text);
    text[2 * TOKEN_BYTES] = '\n';
    rc = write_all(fd, text, 2 * TOKEN_BYTES + 1);
    if (rc != RC_OK) {
        rc = failed(fail, RC_IO, "write the admin token file");
        (void)unlink(path);
    }
    (void)close(fd);
    OPENSSL_cleanse(random, sizeof(random));
    OPENSSL_cleanse(text, sizeof(text));
    return rc;
}

static enum rc read_token(const char *path, unsigned char out[SHA256_BYTES], struct fail *fail)
{
    char text[TOKEN_FILE_MAX];
    struct strv token;
    struct stat st;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return failed(fail, RC_IO, "open the admin token file");
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        log_line(LOG_WARN, "admin", "token file can be read by others: chmod 600 it", "mode=%o",
                 (unsigned)(st.st_mode & 0777));
    n = read(fd, text, sizeof(text));
    if (n < 0) {
        enum rc rc = failed(fail, RC_IO, "read the admin token file");
        (void)close(fd);
        return rc;
    }
    (void)close(fd);
    token = strv_make(text, (size_t)n);
    while (token.n && strchr("\r\n", token.p[token.n - 1]))
        token.n--;
    token = strv_trim(token);
    if (token.n < ADMIN_TOKEN_MIN_BYTES || (size_t)n == sizeof(text)) {
        OPENSSL_cleanse(text, sizeof(text));
        *fail = (struct fail){
            .rc = RC_BAD,
            .doing = "use the admin token file: its token is too short or too long"};
        return RC_BAD;
    }
    digest_sha256(token, out);
    OPENSSL_cleanse(text, sizeof(text));
    return RC_OK;
}

enum rc admin_token_load(const char *path, unsigned char out[SHA256_BYTES], struct fail *fail)
{
    enum rc rc = make_token(path, fail);

    return rc == RC_OK || rc == RC_STATE ? read_token(path, out, fail) : rc;
}

void admin_token_now(struct admin *a, unsigned char out[SHA256_BYTES])
{
    pthread_mutex_lock(&a->lock);
    memcpy(out, a->token, SHA256_BYTES);
    pthread_mutex_unlock(&a->lock);
}

/* Digests are compared, so that neither length nor content shows in the time. */
bool admin_token_is(const unsigned char token[SHA256_BYTES], struct strv given)
{
    unsigned char digest[SHA256_BYTES];

    digest_sha256(given, digest);
    return digest_equal(digest, token, SHA256_BYTES);
}

static bool basic_matches(const unsigned char token[SHA256_BYTES], struct strv coded)
{
    unsigned char plain[CREDENTIALS_MAX];
    struct strv text;
    int n, padding = 0;
    bool same;

    if (coded.n == 0 || coded.n % 4 != 0)
        return false;
    while (padding < 2 && coded.p[coded.n - 1 - (size_t)padding] == '=')
        padding++;
    n = EVP_DecodeBlock(plain, (const unsigned char *)coded.p, (int)coded.n);
    if (n < padding)
        return false;
    /* user ":" password (RFC 7617); any user. */
    text = strv_make((const char *)plain, (size_t)(n - padding));
    same = strv_find(text, ':') < text.n &&
           admin_token_is(token, strv_skip(text, strv_find(text, ':') + 1));
    OPENSSL_cleanse(plain, sizeof(plain));
    return same;
}

bool admin_token_matches(const unsigned char token[SHA256_BYTES], struct strv authorization)
{
    size_t space = strv_find(authorization, ' ');
    struct strv scheme = strv_head(authorization, space);
    struct strv rest = strv_trim(strv_skip(authorization, space));

    if (rest.n == 0 || rest.n > CREDENTIALS_MAX)
        return false;
    if (strv_eq_nocase(scheme, STRV("bearer")))
        return admin_token_is(token, rest);
    return strv_eq_nocase(scheme, STRV("basic")) && basic_matches(token, rest);
}
