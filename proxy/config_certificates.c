/*
 * config_certificates.c - the certificates of the proxy listener, and keys that are certificates.
 */
#include "proxy/config_draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/tag.h"
#include "proxy/peer.h"

static const struct strv fingerprint_form = {"sha256:", 7};
static const struct strv common_form = {"CN=", 3};

/* ---- certificates of the listener -------------------------------------------------------- */

static char *preset_path(struct config *config, char *given, const char *preset)
{
    return given ? given : config_resolve(config, preset);
}

static void read_pair(struct config_loader *l, const cJSON *item, struct listen_config *listen)
{
    struct certificate_pair pair = {.certificate = NULL};

    config_preset_section(l, &config_section_certificate, &pair);
    config_read_section(l, &config_section_certificate, item, &pair);
    if (pair.certificate && pair.private_key)
        listen->pairs[listen->n_pairs++] = pair;
    else
        config_problem(l, item,
                       "listen.proxy.certificates[] needs \"certificate\" and \"private_key\"");
}

static void read_clients(struct config_loader *l, struct listen_config *listen)
{
    if (listen->client_ca)
        return;
    if (listen->client_certificates == CLIENT_CERTIFICATES_REQUIRED)
        problems_add(l->problems, l->file, 0,
                     "listen.proxy.client_certificates is \"required\" without client_ca: name "
                     "the authorities that they must come from");
    listen->client_certificates = CLIENT_CERTIFICATES_OFF;
}

void config_read_certificates(struct config_loader *l, const cJSON *item)
{
    struct listen_config *listen = &l->config->proxy;
    const cJSON *each;
    size_t n = 0;

    if (item && !config_count_items(l, item, "listen.proxy.certificates",
                                    CONFIG_CERTIFICATES_MAX, &n))
        return;
    listen->pairs = config_alloc(l->config, (n + 1) * sizeof(listen->pairs[0]));
    listen->n_pairs = 0;
    if (n == 0 || listen->certificate || listen->private_key) {
        listen->certificate = preset_path(l->config, listen->certificate, "tls/server.pem");
        listen->private_key = preset_path(l->config, listen->private_key, "tls/server.key");
        listen->pairs[listen->n_pairs++] = (struct certificate_pair){
            .certificate = listen->certificate, .private_key = listen->private_key};
    }
    cJSON_ArrayForEach(each, item) read_pair(l, each, listen);
    if (listen->n_pairs > 0) {
        listen->certificate = listen->pairs[0].certificate;
        listen->private_key = listen->pairs[0].private_key;
    }
    read_clients(l, listen);
}

/* ---- keys that are certificates ---------------------------------------------------------- */

static bool is_hex(struct strv text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!strchr("0123456789abcdefABCDEF", text.p[i]))
            return false;
    }
    return true;
}

struct strv config_read_identity(struct config_loader *l, const cJSON *item, const char *text)
{
    struct strv s = strv_z(text);

    if (strv_starts(s, fingerprint_form)) {
        char *lower = config_strdup(l->config, s);

        if (s.n == fingerprint_form.n + SHA256_HEX - 1 &&
            is_hex(strv_skip(s, fingerprint_form.n))) {
            for (char *c = lower; *c; c++)
                *c = *c >= 'A' && *c <= 'F' ? (char)(*c - 'A' + 'a') : *c;
            return strv_z(lower);
        }
        config_problem(l, item, "keys[].certificate must be sha256: and 64 hex digits, as "
                                "`openssl x509 -fingerprint -sha256` gives them without colons");
        return STRV_NONE;
    }
    if (s.n > (strv_starts(s, common_form) ? common_form.n : 0) && s.n <= PEER_NAME_MAX_BYTES)
        return s;
    config_problem(l, item,
                   "keys[].certificate must be a name in the certificate (DNS name, URI, mail "
                   "address), CN=name, or sha256: and its fingerprint");
    return STRV_NONE;
}

static int order(const void *a, const void *b)
{
    const struct key_config *x = *(const struct key_config *const *)a;
    const struct key_config *y = *(const struct key_config *const *)b;
    int by_text = strv_cmp(x->certificate, y->certificate);

    return by_text ? by_text : (x > y) - (x < y);
}

void config_index_identities(struct config_loader *l)
{
    struct config *config = l->config;
    const struct key_config **all = NULL;
    size_t n = 0;

    for (size_t i = 0; i < config->n_keys; i++)
        n += config->keys[i].certificate.n > 0;
    if (n == 0)
        return;
    all = config_alloc(config, n * sizeof(*all));
    n = 0;
    for (size_t i = 0; i < config->n_keys; i++) {
        if (config->keys[i].certificate.n > 0)
            all[n++] = &config->keys[i];
    }
    qsort(all, n, sizeof(*all), order);
    for (size_t i = 1; i < n; i++) {
        if (strv_eq(all[i]->certificate, all[i - 1]->certificate))
            problems_add(l->problems, all[i]->file, all[i]->line,
                         "this key has the certificate of another (%s:%d): a certificate "
                         "stands for one key",
                         all[i - 1]->file, all[i - 1]->line);
    }
    config->by_certificate = all;
    config->n_by_certificate = n;
}

static const struct key_config *find(const struct config *config, struct strv text)
{
    size_t low = 0, high = config->n_by_certificate;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int by = strv_cmp(config->by_certificate[middle]->certificate, text);

        if (by == 0)
            return config->by_certificate[middle];
        if (by < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const struct key_config *find_with(const struct config *config, struct strv form,
                                          struct strv text)
{
    char joined[PEER_NAME_MAX_BYTES + 16];

    if (text.n == 0 || form.n + text.n > sizeof(joined))
        return NULL;
    memcpy(joined, form.p, form.n);
    memcpy(joined + form.n, text.p, text.n);
    return find(config, strv_make(joined, form.n + text.n));
}

/* A name that has one of the forms is what a certificate can write but no key means by it. */
static const struct key_config *find_name(const struct config *config, struct strv name)
{
    if (strv_starts(name, fingerprint_form) || strv_starts(name, common_form))
        return NULL;
    return find(config, name);
}

const struct key_config *config_peer_key(const struct config *config, const struct peer *peer)
{
    const struct key_config *key, *other;

    if (config->n_by_certificate == 0)
        return NULL;
    key = find_with(config, fingerprint_form, strv_z(peer->fingerprint));
    if (key)
        return key;
    key = find_with(config, common_form, peer->common);
    /* RFC 6125 6.4.4: alone, the common name is a name only where there is no other. */
    for (size_t i = 0; i < peer->n_names + (peer->n_names == 0); i++) {
        other = find_name(config, peer->n_names == 0 ? peer->common : peer->names[i]);
        if (key && other && key != other)
            return NULL;
        key = key ? key : other;
    }
    return key;
}
