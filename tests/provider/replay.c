#include "tests/provider/replay.h"

#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "base/xalloc.h"

enum { META_MAX_BYTES = 8 << 20, FILE_READ_BYTES = 65536 };

/* Appends a whole file; false where it cannot be read or is over the buffer's maximum. */
static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rbe");
    bool good = file != NULL;
    while (good) {
        if (buf_reserve(out, FILE_READ_BYTES) != RC_OK) {
            good = false;
            break;
        }
        size_t n = fread(buf_tail(out), 1, FILE_READ_BYTES, file);
        buf_commit(out, n);
        if (n == 0)
            break;
    }
    if (file != NULL) {
        good = good && !ferror(file);
        fclose(file);
    }
    return good;
}

static bool is_safe(struct strv name)
{
    for (size_t i = 0; i + 1 < name.n; i++)
        if (name.p[i] == '.' && name.p[i + 1] == '.')
            return false;
    return name.n > 0 && name.p[0] != '/';
}

static cJSON *read_meta(const char *dir, struct strv name)
{
    char *path = xasprintf("%s/" STRV_FMT "/meta.json", dir, STRV_ARG(name));
    struct buf text;
    cJSON *meta = NULL;
    buf_init(&text, META_MAX_BYTES);
    if (read_file(path, &text))
        meta = cJSON_ParseWithLength(buf_view(&text).p, buf_len(&text));
    buf_release(&text);
    free(path);
    return meta;
}

static bool framing_header(const char *name)
{
    static const char *const names[] = {"content-type",     "content-length",
                                        "content-encoding", "transfer-encoding",
                                        "connection",       "date"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strv_eq_nocase(strv_z(name), strv_z(names[i])))
            return true;
    return false;
}

static void add_headers(const cJSON *meta, struct reply *reply)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(meta, "response_content_type");
    const cJSON *header;
    if (cJSON_IsString(type))
        reply_header(reply, "Content-Type: %s", type->valuestring);
    reply->content_type = STRV_NONE;
    cJSON_ArrayForEach(header, cJSON_GetObjectItemCaseSensitive(meta, "response_headers"))
    {
        if (cJSON_IsString(header) && !framing_header(header->string))
            reply_header(reply, "%s: %s", header->string, header->valuestring);
    }
}

/* Pieces at the recorded chunk boundaries, where they add up to the body. */
static void add_pieces(const cJSON *meta, struct reply *reply)
{
    size_t length = buf_len(&reply->body);
    size_t sum = 0;
    const cJSON *size;
    cJSON_ArrayForEach(size, cJSON_GetObjectItemCaseSensitive(meta, "chunk_sizes"))
    {
        if (!cJSON_IsNumber(size) || size->valuedouble < 1 ||
            size->valuedouble > (double)(length - sum))
            break;
        sum += (size_t)size->valuedouble;
        reply_piece(reply, 0, true);
        reply->pieces[reply->n_pieces - 1].end = sum;
    }
    if (sum < length || reply->n_pieces == 0)
        reply_piece(reply, 0, true);
}

bool replay_answer(const char *dir, struct strv name, struct reply *reply)
{
    if (!is_safe(name))
        return false;
    cJSON *meta = read_meta(dir, name);
    char *path = xasprintf("%s/" STRV_FMT "/response.body", dir, STRV_ARG(name));
    bool good = meta != NULL && read_file(path, &reply->body);
    if (good) {
        const cJSON *status = cJSON_GetObjectItemCaseSensitive(meta, "status");
        if (cJSON_IsNumber(status))
            reply->status = status->valueint;
        reply->stream = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(meta, "stream"));
        add_headers(meta, reply);
        add_pieces(meta, reply);
    }
    free(path);
    cJSON_Delete(meta);
    return good;
}
