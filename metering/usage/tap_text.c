/*
 * tap_text.c - the tap counts generated text by its tokens, for answers whose provider does not
 * say what they took.
 *
 * Most providers say, at the very end.  So text waits, first as it came, then in the counter's
 * buffer, and nothing is counted before TOKEN_BUFFER_BYTES of it have come, or the answer has ended
 * without counts; of a longer answer the first TAP_TEXT_MAX_BYTES are counted as they pass, and the
 * rest is taken to be like them.
 */
#include <string.h>

#include "metering/usage/estimate.h"
#include "metering/usage/tap_int.h"

enum {
    TAP_PIECE_MAX_BYTES = 64 << 10, /* of a "word" that is counted as one */
    TAP_HELD_BYTES = 256,           /* of text that is estimated while it passes */
    UNIT_BYTES = 6,                 /* \u000a */
};

/* What waits goes to the counter. */
static void count_waiting(struct tap *tap)
{
    struct tap_text *text = &tap->text;

    token_json_feed(&text->raw, &text->counter, strv_make(tap->waiting, text->n_waiting));
    text->n_waiting = 0;
}

/* The string that just ended may end in half a surrogate pair, which must not meet its other
 * half in the next string. */
static bool ends_in_unit(const struct tap *tap)
{
    size_t n = tap->text.n_waiting;

    if (n < UNIT_BYTES)
        return tap->text.raw.n > 0 || memchr(tap->waiting, '\\', n) != NULL;
    return tap->waiting[n - UNIT_BYTES] == '\\';
}

static void on_text(void *arg, struct strv piece, bool ends)
{
    struct tap *tap = arg;
    struct tap_text *text = &tap->text;

    text->seen += piece.n;
    piece = strv_head(piece, TAP_TEXT_MAX_BYTES - text->fed);
    text->fed += piece.n;
    if (piece.n > sizeof(tap->waiting) - text->n_waiting)
        count_waiting(tap);
    if (piece.n > sizeof(tap->waiting)) {
        token_json_feed(&text->raw, &text->counter, piece);
    } else {
        memcpy(tap->waiting + text->n_waiting, piece.p, piece.n);
        text->n_waiting += piece.n;
    }
    if (ends && ends_in_unit(tap)) {
        count_waiting(tap);
        token_json_end(&text->raw, &text->counter);
    }
}

void tap_count_text(struct tap *tap, struct tokenizer *t, enum token_encoding e)
{
    token_counter_init(&tap->text.counter, t, e, TAP_PIECE_MAX_BYTES);
    tap->text.wanted = true;
    tap->reading.scan.text_fn = on_text;
    tap->reading.scan.text_arg = tap;
}

void tap_take_text(struct tap *tap, const struct strv *found, const struct repeat *event)
{
    for (unsigned i = 0; i < event->n_gaps; i++) {
        if (event->gap[i].kind == JSCAN_GAP_COUNTED)
            on_text(tap, found[i], true);
    }
}

/* As many times more as there was text that was not counted. */
static uint64_t with_the_rest(uint64_t tokens, const struct tap_text *text)
{
    uint64_t whole;

    if (text->fed == 0 || __builtin_mul_overflow(tokens, text->seen / text->fed, &whole) ||
        whole > USAGE_MAX_COUNT)
        return text->fed == 0 ? 0 : USAGE_MAX_COUNT;
    return whole + tokens * (text->seen % text->fed) / text->fed;
}

bool tap_text_so_far(struct tap *tap, uint64_t *tokens)
{
    struct tap_text *text = &tap->text;
    size_t held;

    if (!text->wanted || tap->reading.whole_text > 0)
        return false;
    if (text->n_waiting > TAP_HELD_BYTES)
        count_waiting(tap);
    *tokens = token_counter_so_far(&text->counter, TAP_HELD_BYTES, &held);
    held += text->n_waiting;
    *tokens = with_the_rest(*tokens + estimate_output_tokens(held, 0, held), text);
    return true;
}

void tap_end_text(struct tap *tap)
{
    struct tap_result *result = &tap->reading.result;
    struct tap_text *text = &tap->text;

    if (!text->wanted)
        return;
    text->wanted = false;
    if (!(result->usage_is_final && usage_has(&result->usage, USAGE_OUTPUT)) &&
        tap->reading.whole_text == 0) {
        count_waiting(tap);
        result->text_tokens = with_the_rest(token_counter_finish(&text->counter), text);
        result->text_counted = true;
    }
    tap_drop_text(tap);
}

void tap_drop_text(struct tap *tap)
{
    token_counter_fini(&tap->text.counter);
}
