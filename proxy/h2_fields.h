/*
 * h2_fields.h - an HTTP/1.1 head's fields as HTTP/2 has them (RFC 9113 8.2): names in lower
 * case, those that speak of a connection left out.  For the files named h2*.c alone.
 */
#ifndef PROXY_H2_FIELDS_H
#define PROXY_H2_FIELDS_H

#include <nghttp2/nghttp2.h>

#include "proxy/http1.h"

/* One field; the views must outlive its use. */
nghttp2_nv h2_field(struct strv name, struct strv value);
/*
 * Those of head, at most n_headers of them, into out; names is room for their names
 * (head->bytes is enough).  without: a name to leave out besides; empty: none.
 */
size_t h2_fields(const struct http1_head *head, struct strv without, char *names,
                 nghttp2_nv *out);

#endif
