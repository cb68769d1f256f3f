/*
 * What differs between clouds in an upstream's configuration: its credential (a key in some
 * header, a signature, tokens that must be got) and the names that its models have there.
 */
#include "proxy/config_draft.h"

#include <stdlib.h>
#include <string.h>

enum { DEPLOYMENTS_MAX = 10000 };

/* Exactly one credential, or none; and whole. */
static void check_credentials(struct config_loader *l, const cJSON *item,
                              const struct upstream_config *up)
{
    const cJSON *aws = config_member_or(item, "aws"), *entra = config_member_or(item, "entra");
    bool has_aws = aws != item, has_entra = entra != item;
    int kinds = (up->api_key != NULL) + has_aws + has_entra + (up->google.credentials != NULL);

    if (kinds > 0 && up->credentials == CREDENTIALS_CLIENT)
        config_problem(
            l, item,
            "upstreams[].%s is not used with \"credentials\": \"client\": take one of "
            "them out",
            up->api_key ? "api_key"
            : has_aws   ? "aws"
            : has_entra ? "entra"
                        : "google");
    else if (kinds > 1)
        config_problem(l, item,
                       "upstreams[]: api_key, aws, google and entra exclude each other: keep "
                       "one");
    if (config_member_or(item, "google") != item && !up->google.credentials)
        config_problem(l, item, "upstreams[].google.credentials is missing: name a key file");
    if (has_aws && (!up->aws.access_key_id || !up->aws.secret_access_key))
        config_problem(l, aws, "upstreams[].aws needs access_key_id and secret_access_key");
    if (has_aws && !up->aws.region && up->host)
        config_problem(l, aws,
                       "upstreams[].aws.region is missing, and the host does not tell it");
    if (has_entra && (!up->entra.tenant_id || !up->entra.client_id || !up->entra.client_secret))
        config_problem(l, entra,
                       "upstreams[].entra needs tenant_id, client_id and client_secret");
    if (has_entra && strncmp(up->entra.authority, "https://", 8) != 0)
        config_problem(l, entra, "upstreams[].entra.authority must begin with https://");
}

static void read_key_header(struct config_loader *l, const cJSON *item, const char *name,
                            struct upstream_config *up)
{
    static const char *const HEADERS[] = {"authorization", "api-key", "x-api-key",
                                          "x-goog-api-key", "xi-api-key", NULL};

    if (up->protocol)
        protocol_credential(up->protocol, &up->key_header, &up->key_prefix);
    if (upstream_takes_token(up))
        name = HEADERS[0];
    if (!name || (up->protocol && !upstream_takes_token(up) &&
                  strv_eq(strv_z(name), up->key_header)))
        return; /* with what the protocol has before it */
    for (size_t i = 0; HEADERS[i]; i++) {
        if (strcmp(name, HEADERS[i]) == 0) {
            up->key_header = strv_z(HEADERS[i]);
            up->key_prefix = i == 0 ? STRV("Bearer ") : STRV_NONE;
            return;
        }
    }
    config_problem(l, config_member_or(item, "key_header"),
                   "upstreams[].key_header is authorization, api-key, x-api-key, "
                   "x-goog-api-key or xi-api-key: the nearest is \"%s\"",
                   config_nearest(strv_z(name), HEADERS));
}

/* The label behind the one that names the service: bedrock-runtime.REGION.amazonaws.com. */
static struct strv region_of_host(const char *host)
{
    struct strv rest = strv_z(host), label;
    bool here = false;

    while (strv_split(&rest, '.', &label)) {
        if (here)
            return label;
        here = strv_starts(label, STRV("bedrock"));
    }
    return STRV_NONE;
}

static void read_regions(struct config_loader *l, const struct upstream_draft *draft,
                         struct upstream_config *up)
{
    struct strv of_host = up->host ? region_of_host(up->host) : STRV_NONE;

    if (draft->region)
        up->region = strv_z(draft->region);
    else
        up->region = of_host.n > 0 ? strv_z(config_strdup(l->config, of_host)) : STRV_NONE;
    if (up->aws.access_key_id && !up->aws.region && up->region.n > 0)
        up->aws.region = config_strdup(l->config, up->region);
}

static int compare_names(const void *a, const void *b)
{
    const struct deployment *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = memcmp(x->name.p, y->name.p, n);

    return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static void read_deployments(struct config_loader *l, const cJSON *item,
                             struct upstream_config *up)
{
    const cJSON *each;
    size_t most = 0;

    if (!item)
        return;
    if (!cJSON_IsObject(item) || (most = (size_t)cJSON_GetArraySize(item)) > DEPLOYMENTS_MAX) {
        config_problem(l, item,
                       "upstreams[].deployments is an object of at most %d names and models",
                       DEPLOYMENTS_MAX);
        return;
    }
    if (!config_unique_members(l, item))
        return;
    up->deployments = config_alloc(l->config, most * sizeof(up->deployments[0]));
    cJSON_ArrayForEach(each, item)
    {
        char *model = config_read_text(l, each, "upstreams[].deployments");

        if (!model)
            continue;
        if (each->string[0] == '\0' || model[0] == '\0') {
            config_problem(l, each, "upstreams[].deployments: a name or model is empty");
            continue;
        }
        up->deployments[up->n_deployments++] =
            (struct deployment){.name = strv_z(config_strdup(l->config, strv_z(each->string))),
                                .model = strv_z(model)};
    }
    if (up->n_deployments > 1)
        qsort(up->deployments, up->n_deployments, sizeof(up->deployments[0]), compare_names);
}

void config_read_clouds(struct config_loader *l, const cJSON *item,
                        struct upstream_draft *draft)
{
    struct upstream_config *up = &draft->up;

    read_regions(l, draft, up);
    check_credentials(l, item, up);
    read_key_header(l, item, draft->key_header, up);
    read_deployments(l, draft->deployments, up);
}

struct strv config_deployment(const struct upstream_config *up, struct strv name)
{
    const struct deployment wanted = {.name = name};
    const struct deployment *found;

    if (up->n_deployments == 0 || name.n == 0)
        return STRV_NONE;
    found = bsearch(&wanted, up->deployments, up->n_deployments, sizeof(up->deployments[0]),
                    compare_names);
    return found ? found->model : STRV_NONE;
}
