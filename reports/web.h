/*
 * web.h - the dashboard's files, which the binary carries.
 *
 * Sources are in reports/web/; Chart.js comes from its Debian package at build.  Pages
 * hold no figures: their scripts ask GET /api/v1/reports.
 */
#ifndef REPORTS_WEB_H
#define REPORTS_WEB_H

#include "base/strv.h"

struct web_asset {
    const char *path, *type; /* "/web/style.css", its Content-Type */
    struct strv content;
    const char *tag; /* ETag (RFC 9110 section 8.8.3), quotes included; of the content */
};

/* The file of a path, NULL where there is none. */
const struct web_asset *web_find(struct strv path);

#endif
