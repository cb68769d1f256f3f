/*
 * Paths: which endpoint a request goes to.  Only what is spelled plainly matches;
 * whatever a provider might normalise otherwise (escapes, empty or dot segments)
 * stays unknown.
 */
#include <string.h>

#include "metering/usage/protocol.h"
#include "metering/usage/route_table.h"

enum { SEGMENTS_MAX = 16 };

const struct entry *entry_of(const struct endpoint *endpoint)
{
    return (const struct entry *)(const void *)endpoint;
}

/* A path cut at its slashes. */
struct path {
    struct strv at[SEGMENTS_MAX];
    size_t n;
};

/* False where the path is one that could be read in more than one way. */
static bool split_path(struct strv path, struct path *out)
{
    struct strv part;

    out->n = 0;
    if (path.n > 0 && path.p[0] == '/')
        path = strv_skip(path, 1);
    if (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    while (strv_split(&path, '/', &part)) {
        if (out->n == SEGMENTS_MAX || part.n == 0 || strv_eq(part, STRV(".")) ||
            strv_eq(part, STRV("..")))
            return false;
        out->at[out->n++] = part;
    }
    return true;
}

bool protocol_is_version(struct strv s)
{
    size_t i = 1;

    if (s.n < 2 || s.n > 12 || s.p[0] != 'v' || s.p[1] < '0' || s.p[1] > '9')
        return false;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    s = strv_skip(s, i);
    if (strv_starts(s, STRV("alpha")))
        s = strv_skip(s, 5);
    else if (strv_starts(s, STRV("beta")))
        s = strv_skip(s, 4);
    for (i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return true;
}

/* s is one of the words, which single spaces separate. */
static bool is_listed(const char *words, struct strv s)
{
    struct strv rest = strv_z(words), word;

    while (strv_split(&rest, ' ', &word)) {
        if (s.n > 0 && strv_eq(word, s))
            return true;
    }
    return false;
}

/* How many segments stand before the endpoint's own. */
static size_t skip_prefix(const struct protocol *p, const struct path *path, struct route *out)
{
    size_t i = 0;

    while (i < path->n) {
        if (p->deployments && strv_eq(path->at[i], STRV("deployments")) && i + 1 < path->n) {
            out->path_model = path->at[i + 1];
            i += 2;
        } else if (protocol_is_version(path->at[i]) || is_listed(p->prefixes, path->at[i])) {
            out->openai_path =
                out->openai_path || (p->google_paths && strv_eq(path->at[i], STRV("openai")));
            i++;
        } else {
            break;
        }
    }
    return i;
}

/* Nothing that a provider might decode or cut: an id stands where it is and as it is. */
static bool is_plain_id(struct strv s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr("-_.~:@+", c, 7) != NULL))
            return false;
    }
    return s.n > 0;
}

/* A model's name: the same, and the encoded colons and slashes of an ARN. */
static bool is_model_segment(struct strv s)
{
    char plain[REQUEST_MODEL_MAX_BYTES];
    size_t n = 0;

    for (size_t i = 0; i < s.n && n < sizeof(plain); i++, n++) {
        struct strv code = strv_head(strv_skip(s, i), 3);

        plain[n] = s.p[i];
        if (strv_eq_nocase(code, STRV("%3a")) || strv_eq_nocase(code, STRV("%2f"))) {
            plain[n] = ':';
            i += 2;
        }
    }
    return n < sizeof(plain) && is_plain_id(strv_make(plain, n));
}

/* A wild segment is a plain id, which ends on what follows the star. */
static bool segment_matches(struct strv want, struct strv segment)
{
    if (want.n == 0 || want.p[0] != '*')
        return strv_eq(want, segment);
    want = strv_skip(want, 1);
    return is_plain_id(segment) && segment.n > want.n &&
           strv_eq(strv_skip(segment, segment.n - want.n), want);
}

static bool matches(const struct entry *entry, struct strv method, const struct path *path,
                    size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    if (entry->method[0] != '\0' && !strv_eq(method, strv_z(entry->method)))
        return false;
    while (strv_split(&rest, '/', &want)) {
        if (from == path->n)
            return false;
        if (strv_eq(want, STRV("{model}")) ? !is_model_segment(path->at[from])
                                           : !segment_matches(want, path->at[from]))
            return false;
        from++;
    }
    return from == path->n;
}

static const struct entry *find_entry(const struct route_list *list, struct strv method,
                                      const struct path *path, size_t from)
{
    for (size_t i = 0; i < list->n; i++) {
        if (matches(&list->entries[i], method, path, from))
            return &list->entries[i];
    }
    return NULL;
}

/* The segment that an entry's pattern calls {model}; empty where it has none. */
static struct strv model_segment(const struct entry *entry, const struct path *path,
                                 size_t from)
{
    struct strv rest = strv_z(entry->pattern), want;

    for (; strv_split(&rest, '/', &want); from++) {
        if (strv_eq(want, STRV("{model}")))
            return path->at[from];
    }
    return STRV_NONE;
}

/* The segment behind one of that name. */
static struct strv segment_behind(const struct path *path, struct strv name)
{
    for (size_t i = 0; i + 1 < path->n; i++) {
        if (strv_eq(path->at[i], name))
            return path->at[i + 1];
    }
    return STRV_NONE;
}

static const struct entry *find_verb(struct strv publisher, struct strv method,
                                     const struct path *verb)
{
    const struct entry *found = NULL;

    if (strv_eq(publisher, STRV("anthropic")))
        return find_entry(&ROUTE_GOOGLE_ANTHROPIC, method, verb, 0);
    if (publisher.n > 0 && !strv_eq(publisher, STRV("google")))
        found = find_entry(&ROUTE_GOOGLE_OTHERS, method, verb, 0);
    return found != NULL ? found : find_entry(&ROUTE_GOOGLE, method, verb, 0);
}

static const struct entry *find_table(unsigned tables, struct strv method,
                                      const struct path *path, size_t from)
{
    const struct entry *found = NULL;

    for (size_t i = 0; i < ROUTE_TABLES_N && found == NULL; i++) {
        if (tables & ROUTE_TABLES[i].bit)
            found = find_entry(&ROUTE_TABLES[i].list, method, path, from);
    }
    for (size_t i = 0; i < ROUTE_VOICES_N && found == NULL; i++) {
        if (tables & ROUTE_VOICES[i].bit)
            found = find_entry(&ROUTE_VOICES[i].list, method, path, from);
    }
    return found;
}

/* What the pattern's wild segments, one behind the other, stand for. */
static struct strv wild_part(const struct entry *entry, const struct path *path, size_t from)
{
    struct strv rest = strv_z(entry->pattern), want, part = STRV_NONE;

    for (; strv_split(&rest, '/', &want) && from < path->n; from++) {
        if (want.p[0] != '*')
            continue;
        if (part.n == 0)
            part = path->at[from];
        else
            part.n = (size_t)(path->at[from].p + path->at[from].n - part.p);
    }
    return part;
}

/* .../models/MODEL:method, also tunedModels/, endpoints/ (a deployed model of Vertex). */
static const struct entry *find_google(const struct path *path, struct strv method,
                                       struct route *out)
{
    const struct strv last = path->n ? path->at[path->n - 1] : STRV_NONE;
    struct strv publisher = segment_behind(path, STRV("publishers")), model;
    size_t colon = strv_find(last, ':');
    struct path verb = {.n = 1};
    const struct entry *found;

    if (path->n > 0 && strv_eq(path->at[0], STRV("ws")))
        return strv_eq(method, STRV("GET")) && strv_ends(last, STRV("BidiGenerateContent"))
                   ? &ROUTE_GOOGLE_LIVE
                   : &ROUTE_GOOGLE_OTHER_SOCKET;
    if (path->n < 2 || colon == last.n ||
        !(strv_eq(path->at[path->n - 2], STRV("models")) ||
          strv_eq(path->at[path->n - 2], STRV("tunedModels")) ||
          strv_eq(path->at[path->n - 2], STRV("endpoints"))))
        return NULL;
    verb.at[0] = strv_skip(last, colon + 1);
    model = strv_head(last, colon);
    if (strv_eq(publisher, STRV("anthropic")) && strv_eq(model, STRV("count-tokens")))
        return strv_eq(method, STRV("POST")) ? &ROUTE_COUNT_TOKENS : NULL;
    found = find_verb(publisher, method, &verb);
    if (found != NULL && found->endpoint.kind == ENDPOINT_FREE && !is_plain_id(model))
        return NULL;
    if (found != NULL)
        out->path_model = model;
    return found;
}

/* projects/P/locations/L/endpoints/openapi/...: Vertex's OpenAI-compatible form; a deployed
 * model's id may stand in its place. */
static size_t skip_endpoint(const struct path *path, size_t from)
{
    for (size_t i = from; i + 1 < path->n; i++) {
        if (strv_eq(path->at[i], STRV("endpoints")) && is_plain_id(path->at[i + 1]))
            return i + 2;
    }
    return from;
}

static const struct entry *find_route(const struct protocol *p, struct strv method,
                                      const struct path *path, struct route *out)
{
    const struct entry *found = NULL;
    size_t from = skip_prefix(p, path, out);
    unsigned tables = p->tables;

    if (p->google_paths) {
        out->region = segment_behind(path, STRV("locations"));
        found = find_google(path, method, out);
        from = skip_endpoint(path, from);
    }
    if (found != NULL)
        return found;
    if (out->openai_path)
        tables &= ~(unsigned)ENTRIES_GOOGLE;
    found = find_table(tables, method, path, from);
    if (found == NULL)
        return NULL;
    if (found->flags & ENTRY_PATH_MODEL)
        out->path_model = wild_part(found, path, from);
    else if (out->path_model.n == 0)
        out->path_model = model_segment(found, path, from);
    if (found->endpoint.kind == ENDPOINT_FETCHED || (found->flags & ENTRY_ADDS))
        out->path_id = wild_part(found, path, from);
    if (found->flags & ENTRY_SESSION) /* whatever of it is asked for */
        out->path_id = strv_head(out->path_id, strv_find(out->path_id, '/'));
    out->is_by_path = (found->flags & ENTRY_BY_PATH) != 0;
    out->is_by_name = (found->flags & ENTRY_BY_NAME) != 0;
    out->is_session = (found->flags & ENTRY_SESSION) != 0;
    out->is_unnamed = (found->flags & ENTRY_UNNAMED) != 0;
    return found;
}

void protocol_route(const struct protocol *p, struct strv method, struct strv path,
                    struct strv query, struct route *out)
{
    const struct entry *found = NULL;
    struct path parts;
    bool is_split;

    *out = (struct route){.endpoint = NULL};
    /* Azure takes "//openai/...", which clients of its SDKs send whose endpoint ends in "/". */
    while (p->deployments && strv_starts(path, STRV("//")))
        path = strv_skip(path, 1);
    is_split = split_path(path, &parts);
    if (is_split)
        found = find_route(p, method, &parts, out);
    if (found == NULL) {
        bool read = strv_eq(method, STRV("GET")) || strv_eq(method, STRV("HEAD"));

        /* Some that are only read there open sockets or give keys away, however spelled. */
        if ((p->tables & ENTRIES_VOICES) &&
            (!is_split || memchr(path.p, '%', path.n) != NULL))
            read = false;

        found = read ? &ROUTE_READ : &ROUTE_OTHER;
        out->path_model = STRV_NONE;
    }
    out->path_stream = (found->flags & ENTRY_STREAM) != 0;
    out->is_duplex = (found->flags & ENTRY_DUPLEX) != 0;
    if (found->flags & ENTRY_QUERY)
        out->query = query;
    out->endpoint = &found->endpoint;
}
