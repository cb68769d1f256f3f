#include "proxy/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/xalloc.h"
#include "proxy/config.h"
#include "proxy/config_draft.h"
#include "proxy/keys.h"

enum {
    TAGS_MAX = STANDING_TAGS + FREE_TAGS_MAX,
    LISTING_MAX_BYTES = 1 << 30,
};

struct key_options {
    const char *file;
    const char *name;
    const char *expires;
    const char *lock, *models, *upstreams; /* comma-separated */
    struct tag tags[TAGS_MAX];
    size_t n_tags;
    bool json;
};

static void print_usage(void)
{
    puts("usage: tollgate key create -c FILE [--name] NAME [options]");
    puts("       tollgate key list   -c FILE [--format table|json]");
    puts("       tollgate key revoke -c FILE [--name] NAME\n");
    puts("Virtual keys stand where an SDK puts its API key. create prints the secret once, on");
    puts("standard output; only its hash is kept, in keys.json of the state folder. A running");
    puts("gateway takes changes up on SIGHUP.\n");
    puts("  -c, --config FILE       the configuration");
    puts("  -n, --name NAME         what records and limits call the key");
    puts("      --team VALUE        tags of its requests");
    puts("      --feature VALUE");
    puts("      --environment VALUE");
    puts("      --tag NAME=VALUE    any other tag; may be repeated");
    puts("      --lock NAMES        tags that no header changes, such as team,environment");
    puts("      --models GLOBS      models that it may use, such as gpt-4o*,claude-*");
    puts("      --upstreams NAMES   upstreams that it may use");
    puts("      --expires TIME      date or RFC 3339 time from which on it is refused");
    puts("      --format FORMAT     of list: table or json");
    puts("  -h, --help              this text");
}

/* ---- create ------------------------------------------------------------------------ */

static void add_text(cJSON *object, const char *name, struct strv text)
{
    char *copy = xmemdupz(text.n ? text.p : "", text.n);

    cJSON_AddStringToObject(object, name, copy);
    free(copy);
}

static void add_list(cJSON *object, const char *name, const char *list)
{
    struct strv rest = strv_z(list);
    struct strv part;
    cJSON *array;

    if (!list)
        return;
    array = cJSON_AddArrayToObject(object, name);
    while (strv_split(&rest, ',', &part)) {
        char *copy;

        part = strv_trim(part);
        if (part.n == 0)
            continue;
        copy = xmemdupz(part.p, part.n);
        cJSON_AddItemToArray(array, cJSON_CreateString(copy));
        free(copy);
    }
}

static cJSON *make_entry(const struct key_options *options, const char *hash)
{
    cJSON *entry = cJSON_CreateObject();
    char when[DATETIME_TEXT];

    cJSON_AddStringToObject(entry, "name", options->name);
    cJSON_AddStringToObject(entry, "hash", hash);
    if (options->n_tags > 0) {
        cJSON *tags = cJSON_AddObjectToObject(entry, "tags");

        for (size_t i = 0; i < options->n_tags; i++) {
            char *name = xmemdupz(options->tags[i].name.p, options->tags[i].name.n);

            add_text(tags, name, options->tags[i].value);
            free(name);
        }
    }
    add_list(entry, "locked", options->lock);
    add_list(entry, "models", options->models);
    add_list(entry, "upstreams", options->upstreams);
    if (options->expires) {
        char *time = NULL;
        int year, month, day;

        if (date_parse(strv_z(options->expires), &year, &month, &day))
            time = xasprintf("%sT00:00:00Z", options->expires);
        cJSON_AddStringToObject(entry, "expires", time ? time : options->expires);
        free(time);
    }
    datetime_format_s(clock_wall_us(), when);
    cJSON_AddStringToObject(entry, "created", when);
    return entry;
}

static cJSON *find_entry(cJSON *keys, const char *name)
{
    cJSON *each;

    cJSON_ArrayForEach(each, keys)
    {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(each, "name");

        if (cJSON_IsString(other) && strcmp(other->valuestring, name) == 0)
            return each;
    }
    return NULL;
}

/* Reads the new entry as the gateway will, so that no faulty one is ever written. */
static bool check_entry(struct config *config, cJSON *entry, struct problems *problems)
{
    struct config_loader l = {
        .config = config, .file = "tollgate key create", .problems = problems};
    cJSON *list = cJSON_CreateArray();

    cJSON_AddItemReferenceToArray(list, entry);
    config_read_keys(&l, list);
    config_check_keys(&l);
    cJSON_Delete(list);
    return problems->total == 0;
}

static bool append_entry(cJSON *keys, void *arg, struct problems *problems)
{
    cJSON *entry = arg;
    const char *name = cJSON_GetObjectItemCaseSensitive(entry, "name")->valuestring;

    if (find_entry(keys, name)) {
        problems_add(problems, "tollgate key create", 0, "key \"%s\" is there already", name);
        return false;
    }
    return cJSON_AddItemReferenceToArray(keys, entry);
}

static int create(const struct key_options *options, struct config *config,
                  struct problems *problems)
{
    char secret[KEY_SECRET_TEXT];
    char hash[KEY_HASH_TEXT];
    cJSON *entry;
    int status = EXIT_USAGE;

    key_secret_make(secret);
    key_hash_text(strv_z(secret), hash);
    entry = make_entry(options, hash);
    if (check_entry(config, entry, problems) &&
        keys_change(config->state_dir, "key create", options->name, append_entry, entry, problems)) {
        puts(secret);
        fprintf(stderr,
                "key \"%s\" created; its secret is shown this once; a running gateway takes it "
                "up on SIGHUP\n",
                options->name);
        status = EXIT_GOOD;
    }
    cJSON_Delete(entry);
    explicit_bzero(secret, sizeof(secret));
    return status;
}

/* ---- revoke ------------------------------------------------------------------------ */

static bool revoke_entry(cJSON *keys, void *arg, struct problems *problems)
{
    const char *name = arg;
    cJSON *entry = find_entry(keys, name);
    char when[DATETIME_TEXT];

    if (!entry) {
        problems_add(problems, "tollgate key revoke", 0, "there is no key \"%s\"", name);
        return false;
    }
    if (!cJSON_GetObjectItemCaseSensitive(entry, "revoked")) {
        datetime_format_s(clock_wall_us(), when);
        cJSON_AddStringToObject(entry, "revoked", when);
    }
    return true;
}

static int revoke(const struct key_options *options, const struct config *config,
                  struct problems *problems)
{
    char *name = xstrdup(options->name);
    bool good;

    for (size_t i = 0; i < config->n_keys; i++) {
        if (strcmp(config->keys[i].name, name) == 0 && config->keys[i].file == config->file) {
            problems_add(problems, config->file, config->keys[i].line,
                         "key \"%s\" is written here: add \"enabled\": false, or take it out",
                         name);
            free(name);
            return EXIT_NO;
        }
    }
    good = keys_change(config->state_dir, "key revoke", name, revoke_entry, name, problems);
    if (good)
        fprintf(stderr, "key \"%s\" revoked; a running gateway refuses it from SIGHUP on\n",
                name);
    free(name);
    return good ? EXIT_GOOD : EXIT_NO;
}

/* ---- list -------------------------------------------------------------------------- */

static const char *status_of(const struct key_config *key)
{
    if (key->disabled)
        return "revoked";
    return key->expires_us <= clock_wall_us() ? "expired" : "valid";
}

static void write_list(struct jsonw *w, const char *name, const struct strv *list, size_t n)
{
    if (n == 0)
        return;
    jsonw_key(w, strv_z(name));
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        jsonw_string(w, list[i]);
    jsonw_end(w);
}

static void write_key(struct jsonw *w, const struct key_config *key)
{
    char when[DATETIME_TEXT];

    jsonw_object(w);
    jsonw_key(w, STRV("name"));
    jsonw_string(w, strv_z(key->name));
    jsonw_key(w, STRV("status"));
    jsonw_string(w, strv_z(status_of(key)));
    jsonw_key(w, STRV("tags"));
    jsonw_object(w);
    for (size_t i = 0; i < key->n_tags; i++) {
        jsonw_key(w, key->tags[i].name);
        jsonw_string(w, key->tags[i].value);
    }
    jsonw_end(w);
    jsonw_key(w, STRV("locked"));
    jsonw_array(w);
    for (size_t i = 0; i < key->n_tags; i++) {
        if (key->tags[i].locked)
            jsonw_string(w, key->tags[i].name);
    }
    jsonw_end(w);
    write_list(w, "models", key->models, key->n_models);
    write_list(w, "upstreams", key->upstreams, key->n_upstreams);
    if (key->expires_us != INT64_MAX) {
        datetime_format_s(key->expires_us, when);
        jsonw_key(w, STRV("expires"));
        jsonw_string(w, strv_z(when));
    }
    jsonw_key(w, STRV("file"));
    jsonw_string(w, strv_z(key->file));
    jsonw_end(w);
}

static int list_json(const struct config *config)
{
    struct buf out;
    struct jsonw w;
    enum rc rc;

    buf_init(&out, LISTING_MAX_BYTES);
    jsonw_start(&w, &out);
    jsonw_array(&w);
    for (size_t i = 0; i < config->n_keys; i++)
        write_key(&w, &config->keys[i]);
    jsonw_end(&w);
    rc = jsonw_finish(&w);
    if (rc == RC_OK)
        printf(STRV_FMT "\n", STRV_ARG(buf_view(&out)));
    buf_release(&out);
    return rc == RC_OK ? EXIT_GOOD : EXIT_NO;
}

/* Joined by commas to out, "-" where there are none. */
static void join(struct buf *out, const struct strv *list, size_t n)
{
    enum rc rc = RC_OK;

    buf_clear(out);
    for (size_t i = 0; i < n && rc == RC_OK; i++)
        rc = buf_printf(out, "%s" STRV_FMT, i ? "," : "", STRV_ARG(list[i]));
    if (n == 0)
        rc = buf_append(out, "-", 1);
    (void)rc; /* what is too long is cut */
}

static int list_table(const struct config *config)
{
    int width = (int)strlen("NAME");
    struct buf text, tags;

    buf_init(&text, 4096);
    buf_init(&tags, 4096);
    for (size_t i = 0; i < config->n_keys; i++) {
        int n = (int)strlen(config->keys[i].name);

        width = n > width ? n : width;
    }
    printf("%-*s  %-7s  %-20s  %-20s  %-20s  %s\n", width, "NAME", "STATUS", "EXPIRES",
           "UPSTREAMS", "MODELS", "TAGS (* LOCKED)");
    for (size_t i = 0; i < config->n_keys; i++) {
        const struct key_config *key = &config->keys[i];
        char when[DATETIME_TEXT] = "never";
        enum rc rc = RC_OK;

        if (key->expires_us != INT64_MAX)
            datetime_format_s(key->expires_us, when);
        printf("%-*s  %-7s  %-20s", width, key->name, status_of(key), when);
        join(&text, key->upstreams, key->n_upstreams);
        printf("  %-20.*s", STRV_ARG(buf_view(&text)));
        join(&text, key->models, key->n_models);
        printf("  %-20.*s", STRV_ARG(buf_view(&text)));
        buf_clear(&tags);
        for (size_t t = 0; t < key->n_tags && rc == RC_OK; t++)
            rc = buf_printf(&tags, "%s" STRV_FMT "=" STRV_FMT "%s", t ? " " : "",
                            STRV_ARG(key->tags[t].name), STRV_ARG(key->tags[t].value),
                            key->tags[t].locked ? "*" : "");
        printf("  " STRV_FMT "\n", STRV_ARG(buf_view(&tags)));
    }
    buf_release(&tags);
    buf_release(&text);
    return EXIT_GOOD;
}

/* ---- the command ------------------------------------------------------------------- */

static bool add_tag(struct key_options *options, struct strv name, struct strv value)
{
    if (options->n_tags == TAGS_MAX || name.n == 0) {
        fprintf(stderr, "tollgate key: --tag takes NAME=VALUE, at most %d of them\n", TAGS_MAX);
        return false;
    }
    options->tags[options->n_tags++] = (struct tag){.name = name, .value = value};
    return true;
}

enum option_id {
    OPTION_TEAM = 256,
    OPTION_FEATURE,
    OPTION_ENVIRONMENT,
    OPTION_TAG,
    OPTION_LOCK,
    OPTION_MODELS,
    OPTION_UPSTREAMS,
    OPTION_EXPIRES,
    OPTION_FORMAT
};

/* False where the option is not one, or is misused; told already. */
static bool take_option(struct key_options *options, int c)
{
    struct strv value = strv_z(optarg);
    size_t equals = strv_find(value, '=');

    switch (c) {
    case 'c':
        options->file = optarg;
        return true;
    case 'n':
        options->name = optarg;
        return true;
    case OPTION_TEAM:
        return add_tag(options, STRV("team"), value);
    case OPTION_FEATURE:
        return add_tag(options, STRV("feature"), value);
    case OPTION_ENVIRONMENT:
        return add_tag(options, STRV("environment"), value);
    case OPTION_TAG:
        return add_tag(options, equals < value.n ? strv_head(value, equals) : STRV_NONE,
                       strv_skip(value, equals + 1));
    case OPTION_LOCK:
        options->lock = optarg;
        return true;
    case OPTION_MODELS:
        options->models = optarg;
        return true;
    case OPTION_UPSTREAMS:
        options->upstreams = optarg;
        return true;
    case OPTION_EXPIRES:
        options->expires = optarg;
        return true;
    case OPTION_FORMAT:
        options->json = strcmp(optarg, "json") == 0;
        if (options->json || strcmp(optarg, "table") == 0)
            return true;
        fprintf(stderr, "tollgate key: --format is table or json\n");
        return false;
    default:
        return false;
    }
}

static int run(const char *verb, const struct key_options *options)
{
    struct problems problems;
    struct config *config;
    int status = EXIT_USAGE;

    problems_init(&problems);
    config = config_load_without_secrets(options->file, &problems);
    if (config && strcmp(verb, "create") == 0)
        status = create(options, config, &problems);
    else if (config && strcmp(verb, "revoke") == 0)
        status = revoke(options, config, &problems);
    else if (config)
        status = options->json ? list_json(config) : list_table(config);
    cmd_print_problems(&problems, NULL);
    config_free(config);
    problems_release(&problems);
    return status;
}

int cmd_key(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"name", required_argument, NULL, 'n'},
        {"team", required_argument, NULL, OPTION_TEAM},
        {"feature", required_argument, NULL, OPTION_FEATURE},
        {"environment", required_argument, NULL, OPTION_ENVIRONMENT},
        {"tag", required_argument, NULL, OPTION_TAG},
        {"lock", required_argument, NULL, OPTION_LOCK},
        {"models", required_argument, NULL, OPTION_MODELS},
        {"upstreams", required_argument, NULL, OPTION_UPSTREAMS},
        {"expires", required_argument, NULL, OPTION_EXPIRES},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct key_options options = {.file = NULL};
    const char *verb;
    int c;

    while ((c = getopt_long(argc, argv, "c:n:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            print_usage();
            return EXIT_GOOD;
        }
        if (!take_option(&options, c))
            return EXIT_USAGE;
    }
    verb = optind < argc ? argv[optind] : "";
    if (optind + 2 == argc && !options.name && strcmp(verb, "list") != 0)
        options.name = argv[optind + 1]; /* "key revoke NAME" */
    else if (optind + 1 != argc)
        verb = "";
    if (strcmp(verb, "create") != 0 && strcmp(verb, "list") != 0 &&
        strcmp(verb, "revoke") != 0) {
        fprintf(stderr,
                "tollgate key: say one of create, list, revoke (tollgate key --help)\n");
        return EXIT_USAGE;
    }
    if (!options.file)
        return cmd_no_file("key");
    if (!options.name && strcmp(verb, "list") != 0) {
        fprintf(stderr, "tollgate key %s: which key? give --name NAME\n", verb);
        return EXIT_USAGE;
    }
    return run(verb, &options);
}
