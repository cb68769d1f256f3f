/*
 * fuzz_config.c - configuration files of any content.
 *
 * Holds: any bytes give either a configuration or problems, never both and never
 * neither; a configuration that loads can be asked for its keys and upstreams, can
 * read the tags of a request and can be loaded again.  The file and a price book of
 * one model lie in a scratch folder, so that the book costs next to nothing.
 */
#include "tests/fuzz/fuzz_folder.h"

#include <stdint.h>

#include "proxy/auth.h"
#include "proxy/config.h"
#include "proxy/tags.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_folder_make();
    setenv("FUZZ", "${FUZZ}", 1);
    return 0;
}

static void use(const struct config *config)
{
    struct http1_header line = {.name = STRV("x-tollgate-tags"),
                                .value = STRV("team=a, zone=b, user=c")};
    struct http1_head head = {.headers = &line, .n_headers = 1};
    struct request_tags tags;
    struct tags_refusal refusal;
    struct arena arena;
    const struct key_config *key;
    struct key_memo *keys;

    arena_init(&arena, 1 << 16);
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
            fuzz_write("c.json", data, size);
        config = config_load(fuzz_path("c.json"), &problems);
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
