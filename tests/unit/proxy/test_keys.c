#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proxy/config.h"
#include "proxy/keys.h"
#include "tests/unit/proxy/scratch_dir.h"

static struct scratch_dir dir;
static struct problems problems;

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    problems_init(&problems);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    problems_release(&problems);
    scratch_remove(&dir);
    return 0;
}

/* Every key is found by its secret, and nothing else is. */
static void test_table(void **state)
{
    enum { KEYS = 1000 };
    struct key_config *keys = calloc(KEYS, sizeof(*keys));
    struct key_table *table;
    struct key_memo *memo;
    char secret[32];

    (void)state;
    assert_non_null(keys);
    for (int i = 0; i < KEYS; i++) {
        snprintf(secret, sizeof(secret), "secret %d", i);
        digest_sha256(strv_z(secret), keys[i].hash);
    }
    table = key_table_new(keys, KEYS);
    for (int i = 0; i < KEYS; i++) {
        snprintf(secret, sizeof(secret), "secret %d", i);
        assert_ptr_equal(key_table_find(table, strv_z(secret)), &keys[i]);
        snprintf(secret, sizeof(secret), "Secret %d", i);
        assert_null(key_table_find(table, strv_z(secret)));
    }
    /* More keys than the memo has slots, each asked for twice. */
    memo = key_memo_new(table);
    for (int i = 0; i < 2 * KEYS; i++) {
        snprintf(secret, sizeof(secret), "secret %d", i / 2);
        assert_ptr_equal(key_memo_find(memo, strv_z(secret)), &keys[i / 2]);
        snprintf(secret, sizeof(secret), "Secret %d", i / 2);
        assert_null(key_memo_find(memo, strv_z(secret)));
    }
    key_memo_free(memo);
    key_table_free(table);
    table = key_table_new(NULL, 0);
    assert_null(key_table_find(table, STRV("x")));
    key_table_free(table);
    free(keys);
}

/* Hashes that share their start stand one after the other. */
static void test_collisions(void **state)
{
    struct key_config keys[8];
    struct key_table *table;

    (void)state;
    memset(keys, 0, sizeof(keys));
    for (size_t i = 0; i < 8; i++) {
        digest_sha256(STRV("one"), keys[i].hash);
        keys[i].hash[SHA256_BYTES - 1] ^= (unsigned char)(7 - i); /* the last is the real one */
    }
    table = key_table_new(keys, 8);
    assert_ptr_equal(key_table_find(table, STRV("one")), &keys[7]);
    key_table_free(table);
}

static void test_secrets(void **state)
{
    char first[KEY_SECRET_TEXT], second[KEY_SECRET_TEXT], hash[KEY_HASH_TEXT];
    bool seen[256] = {false};
    size_t kinds = 0;

    (void)state;
    key_secret_make(first);
    key_secret_make(second);
    assert_int_equal(strlen(first), KEY_SECRET_TEXT - 1);
    assert_memory_equal(first, "tg_", 3);
    assert_string_not_equal(first, second);
    for (int i = 0; i < 100; i++) {
        key_secret_make(first);
        for (size_t at = 3; first[at]; at++)
            seen[(unsigned char)first[at]] = true;
    }
    for (int c = 0; c < 256; c++) {
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || c == '-' || c == '_';

        assert_true(digit || !seen[c]);
        kinds += seen[c];
    }
    assert_int_equal(kinds, 64);
    key_hash_text(STRV("abc"), hash); /* FIPS 180-4's example */
    assert_string_equal(hash, "sha256:ba7816bf8f01cfea414140de5dae2223"
                              "b00361a396177a9cb410ff61f20015ad");
}

static bool add_name(cJSON *keys, void *arg, struct problems *list)
{
    (void)list;
    return cJSON_AddItemToArray(keys, cJSON_CreateString(arg));
}

static bool refuse(cJSON *keys, void *arg, struct problems *list)
{
    (void)arg;
    cJSON_AddItemToArray(keys, cJSON_CreateString("must not be written"));
    problems_add(list, "test", 0, "no");
    return false;
}

static cJSON *read_back(const char *state_dir)
{
    char *path = keys_path(state_dir);
    char text[4096];
    FILE *file = fopen(path, "re");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof(text), file);
    fclose(file);
    free(path);
    return cJSON_ParseWithLength(text, n);
}

static void test_change(void **state)
{
    char one[] = "one", two[] = "two";
    char folder[256], path[256];
    struct stat status;
    cJSON *root;

    (void)state;
    scratch_path(&dir, "a/b", folder);
    assert_true(keys_change(folder, "key create", one, add_name, one, &problems));
    assert_true(keys_change(folder, "key create", two, add_name, two, &problems));
    assert_false(keys_change(folder, "key create", "nobody", refuse, NULL, &problems));
    assert_int_equal(problems.total, 1);
    root = read_back(folder);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "keys")), 2);
    cJSON_Delete(root);
    assert_int_equal(stat(scratch_path(&dir, "a/b/keys.json", path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(scratch_path(&dir, "a", path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

/* A damaged file is told and left as it is. */
static void test_damaged(void **state)
{
    static const char *const texts[] = {"", "{", "{}", "{\"keys\": 5}", "[]"};
    char one[] = "one";

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char path[256];
        struct stat status;

        scratch_write(&dir, "keys.json", texts[i], strlen(texts[i]));
        problems_release(&problems);
        assert_false(keys_change(dir.path, "key create", one, add_name, one, &problems));
        assert_int_equal(problems.total, 1);
        assert_int_equal(stat(scratch_path(&dir, "keys.json", path), &status), 0);
        assert_int_equal(status.st_size, strlen(texts[i]));
    }
}

static void test_salt(void **state)
{
    unsigned char first[SHA256_BYTES], second[SHA256_BYTES];
    static const unsigned char zeros[SHA256_BYTES];

    (void)state;
    assert_false(keys_read_salt(dir.path, first));
    assert_memory_equal(first, zeros, SHA256_BYTES);
    assert_true(keys_make_salt(dir.path, first, &problems));
    assert_memory_not_equal(first, zeros, SHA256_BYTES);
    assert_true(keys_make_salt(dir.path, second, &problems));
    assert_memory_equal(first, second, SHA256_BYTES);
    assert_true(keys_read_salt(dir.path, second));
    assert_memory_equal(first, second, SHA256_BYTES);
}

int main(void)
{
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_secrets), WITH_DIR(test_change),
        WITH_DIR(test_damaged),         WITH_DIR(test_salt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
