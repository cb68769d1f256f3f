/*
 * base_path.h - where an upstream's base path ends and a request's own path begins.
 */
#ifndef PROXY_BASE_PATH_H
#define PROXY_BASE_PATH_H

#include "base/strv.h"

/*
 * What of base ("" or "/openai/v1", without a slash at its end) stands before rest
 * ("/v1/chat/completions").  Providers and SDKs both write the version into base addresses: where
 * base ends in the segments that rest begins with, and the last of them is a version, they stand
 * once.  Else all of base.
 */
struct strv base_path_before(struct strv base, struct strv rest);

#endif
