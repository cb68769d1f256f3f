/*
 * field_traits.h - what a header field means to the gateway, told once.
 *
 * Several modules look at each line of each head: what is of this hop, what carries a key, what
 * says a tag.  Their answers depend on the name, and one of them on what stands in the line, so they
 * are asked once where a line is read, together, and kept with the line (http1_header.traits) and with
 * the lines that come again and again (http1_lines.h).
 */
#ifndef PROXY_FIELD_TRAITS_H
#define PROXY_FIELD_TRAITS_H

#include "proxy/http1.h"

enum field_trait {
    FIELD_TOLD = 1,             /* the others were looked for */
    FIELD_OF_HOP = 2,           /* hop-by-hop, or said anew by this hop: framing, Connection, ... */
    FIELD_OURS = 4,             /* X-Tollgate-* */
    FIELD_HOST = 8,
    FIELD_EXPECT = 16,
    FIELD_ACCEPT_ENCODING = 32,
    FIELD_INTERNAL = 64,        /* auth_is_internal_header */
    FIELD_CREDENTIAL = 128,     /* auth_is_credential_header */
    FIELD_TAG = 256,            /* tags_is_said_by */
    FIELD_KEY = 512,            /* field_holds_key of name or value; not looked for in answers, nor
                                   where the name is FIELD_CREDENTIAL */
};

/*
 * All traits of a name, any case, FIELD_TOLD among them, but for FIELD_KEY.  All but FIELD_TAG hold for
 * names with '_' in place of '-' too, which servers in CGI's manner read as the same.
 */
unsigned field_judge(struct strv name);

/* Is the name this one, or does it begin so?  lower begins with a letter; any case, '_' for '-'. */
bool field_is_named(struct strv name, struct strv lower);
bool field_name_starts(struct strv name, struct strv lower);

/* Does a word in the text begin as virtual keys do, "tg_"?  Behind a letter or digit none begins. */
bool field_holds_key(struct strv text);

/* All traits of a request's line. */
unsigned field_judge_line(const struct http1_header *line);

/* Those of a line, looked up where nobody has told them. */
static inline unsigned field_traits(const struct http1_header *line)
{
    return line->traits != 0 ? line->traits : field_judge_line(line);
}

#endif
