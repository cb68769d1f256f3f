#include "proxy/config_draft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

/* First path segment of the gateway's own routes. */
#define OWN_ROUTES "_tollgate"

enum {
    URL_MAX_BYTES = 2048,
    HOST_MAX_BYTES = 253, /* RFC 1035 section 2.3.4, as text */
    PROTOCOLS_MAX = 32,
};

/* Parts of a base_url; views into it. */
struct url {
    bool tls;
    struct strv host; /* without brackets */
    bool bracketed;
    int port;
    struct strv path; /* without slashes at its end */
};

static bool is_host_byte(char c, bool bracketed)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.')
        return true;
    return bracketed ? c == ':' : c == '-' || c == '_';
}

/* host[:port] of RFC 3986 section 3.2, without user information. */
static const char *parse_authority(struct strv authority, struct url *url)
{
    struct strv rest;
    uint64_t port;

    url->bracketed = authority.n > 0 && authority.p[0] == '[';
    if (url->bracketed) {
        size_t end = strv_find(authority, ']');

        if (end == authority.n)
            return "the host has no \"]\"";
        url->host = strv_make(authority.p + 1, end - 1);
        rest = strv_skip(authority, end + 1);
    } else {
        size_t colon = strv_find(authority, ':');

        url->host = strv_head(authority, colon);
        rest = strv_skip(authority, colon);
    }
    if (strv_find(authority, '@') < authority.n)
        return "it holds user information: put credentials in api_key";
    if (url->host.n == 0 || url->host.n > HOST_MAX_BYTES)
        return "it has no host, or one too long";
    for (size_t i = 0; i < url->host.n; i++) {
        if (!is_host_byte(url->host.p[i], url->bracketed))
            return "the host holds a character that no host name has";
    }
    url->port = url->tls ? 443 : 80;
    if (rest.n > 0) {
        if (rest.p[0] != ':' || !strv_parse_u64(strv_skip(rest, 1), 65535, &port) || port == 0)
            return "the port is not a number from 1 to 65535";
        url->port = (int)port;
    }
    return NULL;
}

/* NULL, or what is wrong with text. */
static const char *parse_url(struct strv text, struct url *url)
{
    const char *fault;
    size_t slash;

    if (text.n > URL_MAX_BYTES)
        return "it is too long";
    if (strv_starts_nocase(text, STRV("https://")))
        url->tls = true;
    else if (strv_starts_nocase(text, STRV("http://")))
        url->tls = false;
    else
        return "it does not begin with https:// or http://";
    text = strv_skip(text, url->tls ? 8 : 7);
    slash = strv_find(text, '/');
    fault = parse_authority(strv_head(text, slash), url);
    if (fault)
        return fault;
    url->path = strv_skip(text, slash);
    for (size_t i = 0; i < url->path.n; i++) {
        char c = url->path.p[i];

        if (c == '?' || c == '#')
            return "it has a query or fragment: leave them out";
        if (c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' || c == '\\')
            return "the path holds a character that must be percent-encoded";
    }
    while (strv_ends(url->path, STRV("/")))
        url->path.n--;
    return NULL;
}

static void read_base_url(struct config_loader *l, const cJSON *item, const char *text,
                          struct upstream_config *up)
{
    struct url url = {.tls = true};
    const char *fault = parse_url(strv_z(text), &url);
    const char *open, *close;
    char *joined;

    if (fault) {
        config_problem(l, item, "upstreams[].base_url: %s; write https://host[:port][/path]",
                       fault);
        return;
    }
    open = url.bracketed ? "[" : "";
    close = url.bracketed ? "]" : "";
    up->tls = url.tls;
    up->port = url.port;
    up->host = config_strdup(l->config, url.host);
    for (char *p = up->host; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
    up->base_path = config_strdup(l->config, url.path);
    if (url.port == (url.tls ? 443 : 80))
        joined = xasprintf("%s%s%s", open, up->host, close);
    else
        joined = xasprintf("%s%s%s:%d", open, up->host, close, url.port);
    up->host_header = config_strdup(l->config, strv_z(joined));
    free(joined);
    joined = xasprintf("%s://%s", url.tls ? "https" : "http", up->host_header);
    up->scheme_host = config_strdup(l->config, strv_z(joined));
    free(joined);
}

static void read_protocol(struct config_loader *l, const cJSON *item, const char *name,
                          struct upstream_config *up)
{
    const char *known[PROTOCOLS_MAX + 1] = {NULL};
    char list[512] = "";
    size_t used = 0;

    up->protocol = protocol_find(strv_z(name));
    if (up->protocol)
        return;
    for (size_t i = 0; i < PROTOCOLS_MAX && protocol_name_at(i) && used < sizeof(list); i++) {
        known[i] = protocol_name_at(i);
        used +=
            (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", known[i]);
    }
    config_problem(l, item,
                   "upstreams[].protocol is not known: the nearest is \"%s\"; known are "
                   "%s",
                   config_nearest(strv_z(name), known), list);
}

/* Prices are looked up under the provider that name, host or protocol tell. */
static void read_provider(struct config_loader *l, const cJSON *item,
                          const struct upstream_draft *draft, struct upstream_config *up)
{
    const struct book *book = l->config->book;

    if (!book || !up->host || !up->protocol)
        return; /* told already */
    if (draft->provider) {
        up->provider = book_provider(book, strv_z(draft->provider), STRV_NONE);
        if (up->provider.n == 0)
            config_problem(l, item,
                           "upstreams[].provider is not in the price book: leave it out, "
                           "or add the provider to prices.book");
        return;
    }
    up->provider = book_provider(book, strv_z(up->name), strv_z(up->host));
    if (up->provider.n == 0)
        up->provider = book_provider(book, strv_z(protocol_book(up->protocol)), STRV_NONE);
}

static bool is_good_name(struct config_loader *l, const cJSON *item, const char *name)
{
    struct strv text = strv_z(name);

    if (!tag_name_is_valid(text) || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        config_problem(l, item, "upstreams[].name must be 1 to %d of a-z 0-9 _ . -",
                       TAG_NAME_MAX_BYTES);
    else if (strcmp(name, OWN_ROUTES) == 0)
        config_problem(l, item,
                       "upstreams[].name \"%s\" belongs to the gateway: choose another",
                       OWN_ROUTES);
    else if (config_upstream(l->config, text))
        config_problem(l, item, "upstream \"%s\" is there twice: rename one", name);
    else
        return true;
    return false;
}

static void read_upstream(struct config_loader *l, const cJSON *item)
{
    struct upstream_draft draft = {.protocol = NULL};
    struct config *config = l->config;

    config_preset_section(l, &config_section_upstream, &draft);
    config_read_section(l, &config_section_upstream, item, &draft);
    if (draft.base_url)
        read_base_url(l, config_member_or(item, "base_url"), draft.base_url, &draft.up);
    if (draft.protocol)
        read_protocol(l, config_member_or(item, "protocol"), draft.protocol, &draft.up);
    if (draft.up.name && !is_good_name(l, config_member_or(item, "name"), draft.up.name))
        return;
    config_read_clouds(l, item, &draft);
    if (draft.up.name)
        read_provider(l, config_member_or(item, "provider"), &draft, &draft.up);
    if (draft.up.name) /* kept even if faulty, so that keys and limits may name it */
        config->upstreams[config->n_upstreams++] = draft.up;
}

void config_read_upstreams(struct config_loader *l, const cJSON *item)
{
    const cJSON *each;
    size_t n;

    if (!item) {
        problems_add(l->problems, l->file, 0,
                     "\"upstreams\" is missing: name at least one provider to forward to");
        return;
    }
    if (!config_count_items(l, item, "upstreams", CONFIG_UPSTREAMS_MAX, &n))
        return;
    if (n == 0)
        config_problem(l, item, "\"upstreams\" is empty: name at least one provider");
    l->config->upstreams = config_alloc(l->config, n * sizeof(l->config->upstreams[0]));
    cJSON_ArrayForEach(each, item) read_upstream(l, each);
}

const struct upstream_config *config_upstream(const struct config *config, struct strv name)
{
    for (size_t i = 0; i < config->n_upstreams; i++) {
        if (strv_eq(strv_z(config->upstreams[i].name), name))
            return &config->upstreams[i];
    }
    return NULL;
}

bool config_has_upstream(const struct config *config, struct strv name)
{
    for (size_t i = 0; i < config->n_upstreams; i++) {
        if (strv_glob(name, strv_z(config->upstreams[i].name)))
            return true;
    }
    return false;
}
