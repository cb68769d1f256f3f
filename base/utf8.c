#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

size_t utf8_sequence(struct strv s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.n < len)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return len;
}

bool utf8_is_text(struct strv s)
{
    while (s.n > 0) {
        uint64_t eight;
        size_t n;

        if (s.n >= sizeof(eight)) { /* most of it is ASCII */
            memcpy(&eight, s.p, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                s = strv_skip(s, sizeof(eight));
                continue;
            }
        }
        n = utf8_sequence(s);
        if (n == 0)
            return false;
        s = strv_skip(s, n);
    }
    return true;
}

bool utf8_is_printable(struct strv s)
{
    while (s.n > 0) {
        const unsigned char *p = (const unsigned char *)s.p;
        size_t len = utf8_sequence(s);

        if (len == 0 || p[0] < 0x20 || p[0] == 0x7f)
            return false;
        if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0)
            return false;
        if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
            return false;
        s = strv_skip(s, len);
    }
    return true;
}
