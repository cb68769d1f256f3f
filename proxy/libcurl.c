#include "proxy/libcurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"

/* The name of its interface, the same since 2006; what provides it may be any TLS library's. */
#define LIBCURL_NAME "libcurl.so.4"

static struct libcurl loaded;
static const struct libcurl *usable;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* POSIX has dlsym give functions as objects. */
static bool find(void *library, const char *name, void *into)
{
    void *found = dlsym(library, name);

    memcpy(into, &found, sizeof(found));
    return found != NULL;
}

static void load(void)
{
    void *library = dlopen(LIBCURL_NAME, RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;

#define FIND(name) ok = ok && find(library, "curl_" #name, &loaded.name);
    LIBCURL_FUNCTIONS(FIND)
#undef FIND
    if (ok && loaded.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
        usable = &loaded;
        return;
    }
    log_line(LOG_ERROR, "process", "libcurl cannot be loaded: no alert and no token request goes out",
             "reason=\"%s\"", ok ? "it does not start" : dlerror());
}

const struct libcurl *libcurl(void)
{
    pthread_once(&once, load);
    return usable;
}
