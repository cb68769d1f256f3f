/*
 * config_fields.h - reads objects of the configuration by tables of fields.
 *
 * One table a section: name, kind, place in its struct, default, range, help.  The
 * tables drive parsing, defaults, the messages for unknown and ill-typed fields,
 * `tollgate help configuration`, and the check that docs/configuration.md names
 * every field.  What a table cannot say (a URL, a list of keys) is read by the
 * field's own function, in config_read.c and its neighbours.
 */
#ifndef PROXY_CONFIG_FIELDS_H
#define PROXY_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "proxy/config.h"
#include "proxy/config_json.h"

/* One file being read into a configuration; also used for state_dir/keys.json. */
struct config_loader {
    struct config *config;
    const char *file; /* of messages */
    struct problems *problems;
    size_t expanded;      /* bytes of all texts read so far */
    size_t key_looks;     /* keys looked at for limits so far (config_reach.c) */
    bool without_secrets; /* a secret whose variable is not set is no fault */
};

enum field_kind {
    FIELD_TEXT = 0, /* char * in the config's arena, ${NAME} expanded */
    FIELD_SECRET,   /* the same; empty where a variable is not set and none is needed */
    FIELD_PATH,     /* the same, resolved against the file's folder */
    FIELD_INT,      /* int */
    FIELD_SIZE,     /* size_t or uint64_t */
    FIELD_BOOL,
    FIELD_WORD,    /* an enum: the index in words */
    FIELD_SECTION, /* an object with a table of its own, into the same struct */
    FIELD_OWN,     /* read by its own function */
};

struct config_field;

/* Reads item into base, the section's struct. Faults go to the loader's problems. */
typedef void config_read_fn(struct config_loader *l, const struct config_field *field,
                            const cJSON *item, void *base);

struct config_field {
    const char *name;
    enum field_kind kind;
    bool required;
    size_t offset;  /* of the member in the section's struct */
    size_t bytes;   /* of the member */
    int64_t preset; /* default of numbers, booleans (0, 1) and words (index) */
    int64_t min, max;
    const char *preset_text;              /* default of texts and paths, NULL: NULL */
    const char *const *words;             /* ends with NULL */
    const struct config_section *section; /* of FIELD_SECTION; of FIELD_OWN for documentation */
    config_read_fn *read;
    const char *help; /* one line, with the unit */
};

struct config_section {
    const char *path; /* "listen.proxy", "upstreams[]": for messages and documents */
    const struct config_field *fields;
    size_t n_fields;
};

enum {
    CONFIG_TEXT_MAX_BYTES = 65536,      /* of one string, expanded */
    CONFIG_TEXTS_MAX_BYTES = 128 << 20, /* of all of them */
};

/* Adds a problem at item's line. */
void config_problem(struct config_loader *l, const cJSON *item, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives every field of a section its default. */
void config_preset_section(struct config_loader *l, const struct config_section *section,
                           void *base);
/*
 * Reads the members of object into base after config_preset_section: unknown,
 * repeated and missing members are problems; null is as if not given.
 */
void config_read_section(struct config_loader *l, const struct config_section *section,
                         const cJSON *object, void *base);

/*
 * A string with ${NAME} taken from the environment ("$${" stands for "${"), copied
 * to the config's arena.  NULL with a problem, which never shows the text: it may
 * be a secret.  where names the field.
 */
char *config_read_text(struct config_loader *l, const cJSON *item, const char *where);
/* The same for an array of strings, or one string alone; *out is NULL where there are none. */
bool config_read_list(struct config_loader *l, const cJSON *item, const char *where,
                      struct strv **out, size_t *n);
/* A decimal as text: a string, or a whole number (a fraction would not be exact). NULL with a
 * problem. */
char *config_read_decimal(struct config_loader *l, const cJSON *item, const char *where);
/* The member of that name, else object itself: for the line of a problem. */
const cJSON *config_member_or(const cJSON *object, const char *name);
/* path against the folder of the configuration file, in its arena. */
char *config_resolve(struct config *config, const char *path);
/* n bytes that live as long as config; aborts where the file's bound is passed by far. */
void *config_alloc(struct config *config, size_t n);
char *config_strdup(struct config *config, struct strv text);

/* Reports members of an object that are there twice. True where there is none. */
bool config_unique_members(struct config_loader *l, const cJSON *object);

/* The word of a list (ends with NULL) that is nearest to one that is not in it. */
const char *config_nearest(struct strv word, const char *const *words);

/* The whole file. */
extern const struct config_section config_root;

/* Calls fn for every field, sections after the field that leads to them. */
typedef void config_field_fn(const struct config_section *section,
                             const struct config_field *field, void *arg);
void config_each_field(config_field_fn *fn, void *arg);

#endif
