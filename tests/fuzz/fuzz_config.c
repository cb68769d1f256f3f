/*
 * fuzz_config.c - configuration files of any content.
 *
 * Holds: any bytes give either a configuration or problems, never both and never
 * neither; a configuration that loads can be asked for its keys and upstreams, can
 * read the tags of a request and can be loaded again.  The file and a price book of
 * one model lie in a scratch folder, so that the book costs next to nothing.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "proxy/auth.h"
#include "proxy/config.h"
#include "proxy/tags.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = 128 };

static char folder[] = "/tmp/tollgate-fuzz-XXXXXX";
static char config_path[PATH_BYTES];
static char book_folder[PATH_BYTES];
static char book_path[2 * PATH_BYTES];

static const char book_text[] =
    "{\"schema\":\"tollgate-prices/1\",\"version\":\"1\",\"currency\":\"USD\",\"units\":{"
    "\"in\":{\"per\":1000000,\"of\":\"token\",\"dir\":\"in\"},"
    "\"out\":{\"per\":1000000,\"of\":\"token\",\"dir\":\"out\"}},\"providers\":{"
    "\"openai\":{\"hosts\":[\"api.openai.com\"],\"models\":[{\"id\":\"m\",\"kind\":\"chat\","
    "\"ids\":[\"m\"],\"prices\":[{\"from\":null,\"to\":null,\"rates\":{\"in\":\"1\",\"out\":"
    "\"2\"}"
    "}],\"prov\":{\"src\":\"x\",\"confidence\":\"confirmed\"}}]}}}";

static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ASSERT(fd >= 0);
    ASSERT(write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void clean_up(void)
{
    char parent[PATH_BYTES];

    snprintf(parent, sizeof(parent), "%s/pricing", folder);
    (void)unlink(book_path);
    (void)rmdir(book_folder);
    (void)rmdir(parent);
    (void)unlink(config_path);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    ASSERT(mkdtemp(folder));
    snprintf(config_path, sizeof(config_path), "%s/c.json", folder);
    snprintf(book_folder, sizeof(book_folder), "%s/pricing", folder);
    ASSERT(mkdir(book_folder, 0700) == 0);
    snprintf(book_folder, sizeof(book_folder), "%s/pricing/book", folder);
    ASSERT(mkdir(book_folder, 0700) == 0);
    snprintf(book_path, sizeof(book_path), "%s/one.json", book_folder);
    write_file(book_path, book_text, sizeof(book_text) - 1);
    setenv("FUZZ", "${FUZZ}", 1);
    atexit(clean_up);
    return 0;
}

static void use(const struct config *config)
{
    struct http1_head head = {.n_headers = 1};
    struct request_tags tags;
    struct tags_refusal refusal;
    struct arena arena;
    const struct key_config *key;
    struct key_memo *keys;

    arena_init(&arena, 1 << 16);
    head.headers[0] =
        (struct http1_header){STRV("x-tollgate-tags"), STRV("team=a, zone=b, user=c")};
    for (size_t i = 0; i < config->n_keys && i < 8; i++) {
        if (!tags_read(config, &config->keys[i], &head, &arena, &tags, &refusal))
            ASSERT(refusal.message[0]);
        arena_reset(&arena);
        (void)key_allows_model(&config->keys[i], STRV("m"));
    }
    keys = key_memo_new(config->key_table);
    (void)auth_find(keys, CREDENTIALS_PROXY, &head, STRV("key=x"), 0, &key);
    key_memo_free(keys);
    for (size_t i = 0; i < config->n_upstreams && i < 8; i++)
        ASSERT(config_upstream(config, strv_z(config->upstreams[i].name)));
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int round = 0; round < 2; round++) {
        struct problems problems;
        struct config *config;

        problems_init(&problems);
        if (round == 0)
            write_file(config_path, data, size);
        config = config_load(config_path, &problems);
        ASSERT((config != NULL) == (problems.total == 0));
        if (config) {
            use(config);
            config_check_files(config, &problems);
            config_check_wisdom(config, &problems);
        } else {
            round = 1;
        }
        config_free(config);
        problems_release(&problems);
    }
    return 0;
}
