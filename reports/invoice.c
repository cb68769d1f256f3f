#include "reports/invoice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/import_json.h"
#include "reports/sheet.h"

enum { DECIMALS_MAX = 18, DIGITS_MAX = 36, EXPONENT_MAX = 60 };

const char *invoice_class_name(enum invoice_class c)
{
    static const char *const names[INVOICE_CLASSES] = {
        "", "input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "other"};

    return names[c];
}

void invoice_init(struct invoice *v, struct buf *error)
{
    *v = (struct invoice){.error = error};
    arena_init(&v->arena, INVOICE_TEXT_MAX_BYTES);
}

void invoice_release(struct invoice *v)
{
    free(v->at);
    arena_release(&v->arena);
    *v = (struct invoice){.n = 0};
}

enum rc invoice_fault(struct invoice *v, size_t at, struct strv what, const char *why)
{
    unsigned long line, column;
    enum rc rc;

    import_place(v->text, at, &line, &column);
    what = strv_head(what, 60);
    rc = buf_printf(v->error, "%s:%lu:%lu: \"" STRV_FMT "\" %s; nothing of the file was taken",
                    v->file, line, column, STRV_ARG(what), why);
    (void)rc; /* a full buffer only cuts it */
    return RC_BAD;
}

enum rc invoice_add(struct invoice *v, const struct invoice_line *line)
{
    struct strv from[4] = {line->account, line->model, line->tier, line->what};
    struct strv kept[4] = {STRV_NONE, STRV_NONE, STRV_NONE, STRV_NONE};

    for (size_t i = 0; i < 4; i++) {
        if (from[i].n)
            kept[i] = arena_strv(&v->arena, from[i]);
        if (from[i].n && !kept[i].p)
            return RC_LIMIT;
    }
    if (v->n == INVOICE_LINES_MAX)
        return RC_LIMIT;
    if (v->n == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 256;
        v->at = xrealloc(v->at, v->cap * sizeof(*v->at));
    }
    v->at[v->n] = *line;
    v->at[v->n].account = kept[0];
    v->at[v->n].model = kept[1];
    v->at[v->n].tier = kept[2];
    v->at[v->n++].what = kept[3];
    return RC_OK;
}

/* ---- numbers ---------------------------------------------------------------------------- */

/* digits x 10^exponent, of a decimal text. */
struct decimal {
    money_int digits;
    int exponent;
};

static bool read_exponent(struct strv text, struct decimal *out)
{
    bool minus = text.n > 0 && text.p[0] == '-';
    uint64_t n;

    if (text.n > 0 && (text.p[0] == '-' || text.p[0] == '+'))
        text = strv_skip(text, 1);
    if (!strv_parse_u64(text, EXPONENT_MAX, &n))
        return false;
    out->exponent += minus ? -(int)n : (int)n;
    return true;
}

static bool read_decimal(struct strv text, struct decimal *out)
{
    bool minus = text.n > 0 && text.p[0] == '-', point = false, any = false;
    int count = 0;

    *out = (struct decimal){0, 0};
    for (size_t i = minus; i < text.n; i++) {
        char c = text.p[i];
        if (c == '.' && !point) {
            point = true;
        } else if ((c == 'e' || c == 'E') && any) {
            if (!read_exponent(strv_skip(text, i + 1), out))
                return false;
            break;
        } else if (c >= '0' && c <= '9') {
            any = true;
            count += out->digits != 0 || c != '0';
            if (count > DIGITS_MAX)
                return false;
            out->digits = out->digits * 10 + (c - '0');
            out->exponent -= point;
        } else {
            return false;
        }
    }
    if (minus)
        out->digits = -out->digits;
    while (out->digits != 0 && out->digits % 10 == 0) {
        out->digits /= 10;
        out->exponent++;
    }
    return any;
}

bool invoice_money(struct invoice *v, struct strv text, int scale, struct money *out)
{
    const money_int most = (money_int)10000000000 * NANO_PER_USD * ATTO_PER_NANO;
    struct decimal d;
    int shift;

    if (!read_decimal(text, &d))
        return false;
    d.exponent += scale;
    if (d.digits != 0 && -d.exponent > (int)v->decimals)
        v->decimals = (unsigned)(-d.exponent > DECIMALS_MAX ? DECIMALS_MAX : -d.exponent);
    shift = d.exponent + DECIMALS_MAX;
    for (; shift > 0 && d.digits != 0; shift--) {
        if (d.digits > most || d.digits < -most)
            return false;
        d.digits *= 10;
    }
    if (shift < 0) {
        money_int by = 1;
        v->rounded++;
        for (; shift < 0 && by < most; shift++)
            by *= 10;
        d.digits = divide_even(d.digits, by);
    }
    out->atto = d.digits;
    return d.digits <= most && d.digits >= -most;
}

bool invoice_quantity(struct strv text, int scale, uint64_t *out)
{
    struct decimal d;

    if (!read_decimal(text, &d) || d.digits < 0)
        return false;
    d.exponent += scale;
    for (; d.exponent > 0 && d.digits != 0 && d.digits < (money_int)1 << 62; d.exponent--)
        d.digits *= 10;
    if ((d.exponent != 0 && d.digits != 0) || d.digits > (money_int)1 << 62)
        return false;
    *out = (uint64_t)d.digits;
    return true;
}

/* ---- words ------------------------------------------------------------------------------ */

bool invoice_holds(struct strv text, const char *word)
{
    struct strv w = strv_z(word);

    for (size_t i = 0; i + w.n <= text.n; i++) {
        if (strv_starts_nocase(strv_skip(text, i), w))
            return true;
    }
    return false;
}

enum invoice_class invoice_class_of(struct strv text)
{
    bool input = invoice_holds(text, "inp"),
         output = invoice_holds(text, "outp") || invoice_holds(text, "response");

    if (invoice_holds(text, "cache")) {
        if (invoice_holds(text, "1h") || invoice_holds(text, "1 hour"))
            return INVOICE_CACHE_WRITE_1H;
        if (invoice_holds(text, "writ") || invoice_holds(text, "creation"))
            return INVOICE_CACHE_WRITE;
        if (invoice_holds(text, "uncached"))
            return INVOICE_INPUT;
        return INVOICE_CACHE_READ;
    }
    if (output)
        return INVOICE_OUTPUT;
    return input || invoice_holds(text, "prompt") ? INVOICE_INPUT : INVOICE_ALL;
}

/* ---- files ------------------------------------------------------------------------------ */

enum rc invoice_parse(struct invoice *v, const char *file, struct strv text)
{
    size_t at = 0;

    v->file = file;
    v->text = text;
    if (strv_starts(text, STRV("\xef\xbb\xbf")))
        at = 3;
    while (at < text.n && memchr(" \t\r\n", text.p[at], 4))
        at++;
    if (at == text.n)
        return invoice_fault(v, at, STRV_NONE, "is empty");
    return text.p[at] == '{' || text.p[at] == '[' ? invoice_json(v) : invoice_csv(v);
}

enum rc invoice_read(struct invoice *v, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct buf text;
    enum rc rc = RC_OK;

    buf_init(&text, INVOICE_FILE_MAX_BYTES);
    v->file = path;
    if (!file) {
        rc = buf_printf(v->error, "%s: %s", path, strerror(errno));
        return RC_BAD;
    }
    while (rc == RC_OK && !feof(file) && !ferror(file)) {
        rc = buf_reserve(&text, 1 << 16);
        if (rc == RC_OK)
            buf_commit(&text, fread(buf_tail(&text), 1, 1 << 16, file));
    }
    if (rc != RC_OK || ferror(file)) {
        rc = buf_printf(v->error, "%s: %s", path,
                        ferror(file) ? "could not be read" : "is larger than 256 MiB");
        rc = RC_BAD;
    } else {
        rc = invoice_parse(v, path, buf_view(&text));
        if (rc == RC_LIMIT) {
            rc = buf_printf(v->error, "%s: has too many lines", path);
            rc = RC_BAD;
        }
    }
    (void)fclose(file);
    buf_release(&text);
    v->text = STRV_NONE;
    return rc;
}
