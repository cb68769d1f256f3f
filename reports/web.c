/*
 * web.c - see web.h; tests/assets.sh makes the table.
 */
#include "reports/web.h"

#include <stddef.h>

#include <web_assets.h>

static const struct web_asset assets[] = {WEB_ASSETS};

const struct web_asset *web_find(struct strv path)
{
    for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++) {
        if (strv_eq(path, strv_z(assets[i].path)))
            return &assets[i];
    }
    return NULL;
}
