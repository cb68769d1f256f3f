/*
 * keys.h - virtual keys: looked up by their secret, kept in state_dir/keys.json.
 *
 * Only hashes are kept.  The file is written by `tollgate key` under a lock, as a
 * whole and atomically; a gateway reads it with its configuration.  Next to it lies
 * user.salt, which keys the hash of `user`.
 */
#ifndef PROXY_KEYS_H
#define PROXY_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "base/digest.h"
#include "base/problem.h"
#include "base/strv.h"

struct key_config;
struct key_table;

/* ---- look-up ---------------------------------------------------------------------- */

/* A table over keys, which must live as long. */
struct key_table *key_table_new(const struct key_config *keys, size_t n);
void key_table_free(struct key_table *table);
/* The key with that secret, or NULL. Hashes are compared in constant time. */
const struct key_config *key_table_find(const struct key_table *table, struct strv secret);

/*
 * What one thread found in a table of late, so that a key in use costs no SHA-256 a request.
 * It keeps no secrets: a slot is found and told by a 128-bit keyed hash (SipHash-2-4 under a
 * random key), and what is not in the table is never noted.
 */
struct key_memo;
enum { KEY_MEMO_SLOTS = 256 };
/* table must live as long. */
struct key_memo *key_memo_new(const struct key_table *table);
void key_memo_free(struct key_memo *memo);
/* As key_table_find. */
const struct key_config *key_memo_find(struct key_memo *memo, struct strv secret);

/* ---- secrets ---------------------------------------------------------------------- */

enum { KEY_SECRET_TEXT = 3 + 43 + 1 }; /* "tg_", 32 bytes in base64url, terminator */

/* A new random secret, terminated. */
void key_secret_make(char out[KEY_SECRET_TEXT]);
/* "sha256:<hex>" of a secret, terminated. */
enum { KEY_HASH_TEXT = 7 + SHA256_HEX };
void key_hash_text(struct strv secret, char out[KEY_HASH_TEXT]);

/* ---- the files -------------------------------------------------------------------- */

/* state_dir/keys.json, to be freed. */
char *keys_path(const char *state_dir);
/* Makes a folder and those above it, mode 0700, where missing. False with a problem. */
bool keys_make_folder(const char *folder, struct problems *problems);
/* Reads state_dir/user.salt; zeros where there is none or it cannot be read. */
bool keys_read_salt(const char *state_dir, unsigned char salt[SHA256_BYTES]);
/* The same, making it (0600, once) where it is missing. False with a problem. */
bool keys_make_salt(const char *state_dir, unsigned char salt[SHA256_BYTES],
                    struct problems *problems);

/* Changes the list of keys. False with problems, and nothing is written then. */
typedef bool keys_change_fn(cJSON *keys, void *arg, struct problems *problems);

/*
 * Under an exclusive lock: reads keys.json (an empty list where there is none), lets
 * change alter its list, writes it back as a whole (temporary file, fsync, rename),
 * mode 0600, and notes it in the trail (reports/trail.h) as that action on the key of
 * that name.  False with problems.
 */
bool keys_change(const char *state_dir, const char *action, const char *name,
                 keys_change_fn *change, void *arg, struct problems *problems);

#endif
