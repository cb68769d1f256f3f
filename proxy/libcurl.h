/*
 * libcurl.h - libcurl, loaded when something is to be sent.
 *
 * Alerts and access tokens are all that go by it, and many gateways have neither; the libraries
 * that it brings (another TLS, Kerberos, LDAP) take 2.4 MB from the moment they are loaded.
 */
#ifndef PROXY_LIBCURL_H
#define PROXY_LIBCURL_H

#define CURL_DISABLE_TYPECHECK /* its macros would call the functions by name */
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo

/* Its functions by their names without "curl_". */
#define LIBCURL_FUNCTIONS(X)                                                                     \
    X(easy_cleanup)                                                                              \
    X(easy_getinfo)                                                                              \
    X(easy_init)                                                                                 \
    X(easy_perform)                                                                              \
    X(easy_setopt)                                                                               \
    X(easy_strerror)                                                                             \
    X(global_init)                                                                               \
    X(multi_add_handle)                                                                          \
    X(multi_cleanup)                                                                             \
    X(multi_info_read)                                                                           \
    X(multi_init)                                                                                \
    X(multi_perform)                                                                             \
    X(multi_poll)                                                                                \
    X(multi_remove_handle)                                                                       \
    X(slist_append)                                                                              \
    X(slist_free_all)

struct libcurl {
#define LIBCURL_MEMBER(name) __typeof__(&curl_##name) name;
    LIBCURL_FUNCTIONS(LIBCURL_MEMBER)
#undef LIBCURL_MEMBER
};

/*
 * Loaded and started by the first call that can, from any thread; reads files then.  NULL: it is not
 * installed, or refuses to start (the first of such calls in a row says so in the log); a later call tries again.
 */
const struct libcurl *libcurl(void);

#endif
