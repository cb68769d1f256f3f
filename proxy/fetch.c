#include "proxy/fetch.h"

#include <stdio.h>

#include "base/check.h"
#include "proxy/libcurl.h"

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    return buf_append(arg, bytes, size * n) == RC_OK ? size * n : 0;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    const atomic_bool *stop = arg;

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return atomic_load(stop) ? 1 : 0;
}

static enum rc rc_of(CURLcode code)
{
    switch ((int)code) { /* libcurl has a hundred of them */
    case CURLE_OK:
        return RC_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return RC_TIMEOUT;
    case CURLE_WRITE_ERROR:
        return RC_LIMIT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return RC_TLS;
    default:
        return RC_IO;
    }
}

enum rc fetch_post(const struct fetch *f, int *status, struct buf *out,
                   char why[FETCH_WHY_BYTES])
{
    char error[CURL_ERROR_SIZE] = "";
    const struct libcurl *lib = libcurl();
    CURL *curl;
    CURLcode code;
    long answered = 0;

    if (!lib) {
        *status = 0;
        snprintf(why, FETCH_WHY_BYTES, "libcurl cannot be loaded");
        return RC_IO;
    }
    curl = lib->easy_init();
    ASSERT(curl != NULL);
    lib->easy_setopt(curl, CURLOPT_URL, f->url);
    lib->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    lib->easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    lib->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    lib->easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)FETCH_TIMEOUT_MS);
    lib->easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    lib->easy_setopt(curl, CURLOPT_POST, 1L);
    lib->easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->form.n);
    lib->easy_setopt(curl, CURLOPT_POSTFIELDS, f->form.p);
    lib->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    lib->easy_setopt(curl, CURLOPT_WRITEDATA, out);
    lib->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    lib->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    lib->easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)f->stop);
    if (f->ca_file)
        lib->easy_setopt(curl, CURLOPT_CAINFO, f->ca_file);
    code = lib->easy_perform(curl);
    if (code == CURLE_OK)
        lib->easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answered);
    else
        snprintf(why, FETCH_WHY_BYTES, "%s", error[0] ? error : lib->easy_strerror(code));
    lib->easy_cleanup(curl);
    *status = (int)answered;
    return rc_of(code);
}
