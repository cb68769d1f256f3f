#include "proxy/libcurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

/* The name of its interface, the same since 2006; what provides it may be any TLS library's. */
#define LIBCURL_NAME "libcurl.so.4"

static struct libcurl loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held while it is loaded; the threads that send wait */
static bool is_loaded, has_failed;

/* POSIX has dlsym give functions as objects. */
static bool find(void *library, const char *name, void *into)
{
    void *found = dlsym(library, name);

    memcpy(into, &found, sizeof(found));
    return found != NULL;
}

static bool load(void)
{
    void *library = dlopen(LIBCURL_NAME, RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
    const char *reason;

#define FIND(name) ok = ok && find(library, "curl_" #name, &loaded.name);
    LIBCURL_FUNCTIONS(FIND)
#undef FIND
    reason = ok ? "it does not start" : dlerror();
    if (ok && loaded.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        return true;
    if (!has_failed)
        log_line(LOG_ERROR, "process", "libcurl cannot be loaded: no alert and no token request goes out",
                 "reason=\"%s\"", reason);
    if (library)
        (void)dlclose(library);
    return false;
}

const struct libcurl *libcurl(void)
{
    bool ok;

    ASSERT(pthread_mutex_lock(&lock) == 0);
    if (!is_loaded) {
        is_loaded = load();
        if (is_loaded && has_failed)
            log_line(LOG_INFO, "process", "libcurl is there now", "name=%s", LIBCURL_NAME);
        has_failed = !is_loaded;
    }
    ok = is_loaded;
    ASSERT(pthread_mutex_unlock(&lock) == 0);
    return ok ? &loaded : NULL;
}
