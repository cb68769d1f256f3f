#include "tests/bench/load_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/strv.h"

enum {
    REQUEST_MAX_BYTES = 64 << 20,
    HEADERS_MAX_BYTES = 16384,
    READ_BYTES = 65536,
    CLIENTS_MAX = 100000,
    RATE_MAX = 1000000,
    SECONDS_MAX = 3600,
};
static const char *const MODES[] = {"open", "closed", "streams", "handshakes", "idle"};
enum { N_MODES = sizeof(MODES) / sizeof(MODES[0]) };

static bool read_request(struct options *o, const char *body_path)
{
    static char bytes[READ_BYTES];
    struct buf body;
    size_t n;
    FILE *file = fopen(body_path, "rb");
    if (file == NULL)
        return false;
    buf_init(&body, REQUEST_MAX_BYTES);
    buf_init(&o->request, REQUEST_MAX_BYTES + HEADERS_MAX_BYTES);
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
        if (buf_append(&body, bytes, n) != RC_OK)
            return false;
    fclose(file);
    struct strv headers = buf_view(&o->headers);
    enum rc rc = buf_printf(&o->request,
                            "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n" STRV_FMT
                            "\r\n",
                            o->path, o->host, buf_len(&body), STRV_ARG(headers));
    if (rc == RC_OK)
        rc = buf_append_strv(&o->request, buf_view(&body));
    buf_release(&body);
    return rc == RC_OK;
}

static bool parse_number(uint64_t max, uint64_t *out)
{
    return strv_parse_u64(strv_z(optarg), max, out) && *out > 0;
}

bool options_parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"port", required_argument, NULL, 'p'},   {"path", required_argument, NULL, 'u'},
        {"body", required_argument, NULL, 'b'},   {"header", required_argument, NULL, 'h'},
        {"rate", required_argument, NULL, 'r'},   {"connections", required_argument, NULL, 'c'},
        {"hold", no_argument, NULL, 'o'},         {"seconds", required_argument, NULL, 's'},
        {"resume", no_argument, NULL, 'e'},       {NULL, 0, NULL, 0},
    };
    const char *body = NULL;
    uint64_t port = 0, connections = 0;
    bool good = argc >= 2;
    buf_init(&o->headers, HEADERS_MAX_BYTES);
    size_t mode = 0;
    while (good && mode < N_MODES && strcmp(argv[1], MODES[mode]) != 0)
        mode++;
    if (!good || mode == N_MODES)
        return false;
    o->mode = (enum mode)mode;
    for (int c; good && (c = getopt_long(argc - 1, argv + 1, "", longs, NULL)) != -1;) {
        if (c == 'p')
            good = parse_number(UINT16_MAX, &port);
        else if (c == 'c')
            good = parse_number(CLIENTS_MAX, &connections);
        else if (c == 'r')
            good = parse_number(RATE_MAX, &o->rate);
        else if (c == 's')
            good = parse_number(SECONDS_MAX, &o->seconds);
        else if (c == 'u')
            o->path = optarg;
        else if (c == 'b')
            body = optarg;
        else if (c == 'h')
            good = buf_printf(&o->headers, "%s\r\n", optarg) == RC_OK;
        else if (c == 'o')
            o->hold = true;
        else if (c == 'e')
            o->resume = true;
        else
            good = false;
    }
    o->port = (int)port;
    o->n_clients = (size_t)connections;
    if (!good || port == 0 || connections == 0 || (o->mode == MODE_OPEN && o->rate == 0))
        return false;
    if (o->seconds == 0)
        o->seconds = SECONDS_MAX;
    return o->mode == MODE_HANDSHAKES || (body != NULL && read_request(o, body));
}

void options_free(struct options *o)
{
    buf_release(&o->request);
    buf_release(&o->headers);
}
