/*
 * Forms: fields wherever they stand among the files, what could be read in two ways, and
 * how long sound lasts.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/usage/audio.h"
#include "metering/usage/protocol.h"

#define B "--b\r\n"
#define FIELD(name, value)                                                                     \
    B "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(name, content)                                                               \
    B "content-disposition:form-data; name=\"" name "\"; filename=\"a.bin\"\r\n"               \
      "Content-Type: audio/wav\r\n\r\n" content "\r\n"
#define END "--b--\r\n"

/* In a block of its own, so that reads past its end are seen. */
static enum rc scan(const char *path, const char *type, struct strv body,
                    struct request_facts *out, char **block)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct route route;

    *block = xmalloc(body.n + (body.n == 0));
    memcpy(*block, body.p, body.n);
    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    return protocol_scan_form(p, &route, strv_z(type), strv_make(*block, body.n), out);
}

static void test_forms(void **state)
{
    static const struct {
        const char *type, *body;
        enum rc rc;
        const char *model;
        bool stream;
        uint64_t choices, media;
    } CASES[] = {
        {"multipart/form-data; boundary=b", FIELD("model", "m") END, RC_OK, "m", false, 1, 0},
        {"multipart/form-data; boundary=\"b\"",
         FILE_PART("file", "--x\r\n--") FIELD("stream", "true") FIELD("model", "m-1") END, RC_OK,
         "m-1", true, 1, 1},
        {"Multipart/Form-Data;charset=utf-8; Boundary=b",
         "preamble\r\n" FIELD("n", "3") FIELD("model", "m") FILE_PART("image[]", "x")
             FILE_PART("image[]", "y") END "epilogue",
         RC_OK, "m", false, 3, 2},
        {"multipart/form-data; boundary=b", FIELD("x", "y") END, RC_OK, "", false, 1, 0},
        /* a file of that name is no field */
        {"multipart/form-data; boundary=b", FILE_PART("model", "other") FIELD("model", "m") END,
         RC_OK, "m", false, 1, 1},
        {"multipart/form-data; boundary=b", FIELD("model", "a") FIELD("model", "b") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", FIELD("Model", "a") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", FIELD("stream", "1") FIELD("stream", "0") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", FIELD("model", "") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", FIELD("model", "a\nb") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", FIELD("model", "m"), RC_BAD, "", false, 0, 0}, /* no end */
        {"multipart/form-data; boundary=b",
         B "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
           "name=\"model\"\r\n\r\nm\r\n" END,
         RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", B "Content-Type: text/plain\r\n\r\nm\r\n" END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", B "no end of a head", RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", "--bx\r\n", RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b", "", RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b; boundary=c", FIELD("model", "m") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b",
         B "Content-Disposition: form-data; name=\"a\"; name=\"model\"\r\n\r\nm\r\n" END,
         RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=b",
         B "Content-Disposition: form-data; name=\"a\"; name*=utf-8''model\r\n\r\nm\r\n" END,
         RC_BAD, "", false, 0, 0},
        /* a file is one whatever its name, also none */
        {"multipart/form-data; boundary=b",
         B "Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\nm\r\n"
         B "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b\"\r\n\r\nm\r\n" END,
         RC_OK, "", false, 1, 2},
        {"multipart/form-data", FIELD("model", "m") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=", FIELD("model", "m") END, RC_BAD, "", false, 0, 0},
        {"multipart/form-data; boundary=a-boundary-that-is-longer-than-the-seventy-characters-"
         "which-it-may-have-at-the-most",
         FIELD("model", "m") END, RC_BAD, "", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct request_facts f;
        char *block;

        if (scan("/v1/images/edits", CASES[i].type, strv_z(CASES[i].body), &f, &block) !=
            CASES[i].rc) {
            print_error("case %zu\n", i);
            fail();
        }
        if (CASES[i].rc == RC_OK) {
            assert_true(strv_eq(f.model, strv_z(CASES[i].model)));
            assert_int_equal(f.stream, CASES[i].stream);
            assert_int_equal(f.choices, CASES[i].choices);
            assert_int_equal(f.media_parts, CASES[i].media);
            assert_true(f.draws && !f.listens);
        } else {
            assert_int_equal(f.choices, 0);
        }
        free(block);
    }
}

/* Every beginning of a form is read in bounds, and none but the whole is good. */
static void test_every_cut(void **state)
{
    const struct strv whole = STRV(FILE_PART("file", "abc") FIELD("model", "m") END);

    (void)state;
    for (size_t n = 0; n <= whole.n; n++) {
        struct request_facts f;
        char *block;
        enum rc rc = scan("/v1/audio/transcriptions", "multipart/form-data; boundary=b",
                          strv_head(whole, n), &f, &block);

        assert_int_equal(rc == RC_OK, n + 2 >= whole.n); /* the last line's end may lack */
        free(block);
    }
}

/* Many parts end somewhere. */
static void test_parts_are_bounded(void **state)
{
    const struct strv part = STRV(FIELD("a", "b"));
    size_t n = 5000 * part.n;
    char *body = xmalloc(n + sizeof(END)), *block;
    struct request_facts f;

    (void)state;
    for (size_t i = 0; i < 5000; i++)
        memcpy(body + i * part.n, part.p, part.n);
    memcpy(body + n, END, sizeof(END) - 1);
    assert_int_equal(scan("/v1/images/edits", "multipart/form-data; boundary=b",
                          strv_make(body, n + sizeof(END) - 1), &f, &block),
                     RC_LIMIT);
    free(body);
    free(block);
}

static void test_sound(void **state)
{
    static const char FLAC[] = "fLaC\x00\x00\x00\x22"
                               "\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00"
                               "\x0a\xc4\x42\xf0\x00\x01\x58\x88"; /* 44100 a second, 88200 */
    static const char WAV[] = "RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0"
                              "\x01\0\x08\0data\0\0\0\0";
    char *file = xmalloc(80044);
    struct request_facts f;
    char *block;

    (void)state;
    memset(file, 0, 80044);
    memcpy(file, WAV, 44);
    assert_int_equal(audio_length_ms(strv_make(file, 80044)), 10000);
    assert_int_equal(audio_length_ms(strv_make(file, 44)), 1);
    assert_int_equal(audio_length_ms(strv_make(FLAC, sizeof(FLAC) - 1)), 2000);
    assert_int_equal(audio_part_ms(strv_make(file, 44), 80044), 10000);
    assert_int_equal(audio_part_ms(strv_make(file, 44), 3), 1); /* no shorter than what is here */
    assert_true(audio_part_ms(strv_make(file, 44), UINT64_MAX) <= USAGE_MAX_COUNT);
    assert_int_equal(audio_part_ms(STRV_NONE, 80044), 0);
    file[30] = 0x7f; /* it says that it is a thousand times faster, and is not */
    assert_int_equal(audio_length_ms(strv_make(file, 80044)), 10000);
    file[20] = 2; /* packed: it may be */
    assert_true(audio_length_ms(strv_make(file, 80044)) < 100);
    /* Ten seconds of two channels unpacked, which would be two. */
    assert_int_equal(audio_part_ms(strv_make(FLAC, sizeof(FLAC) - 1), 1764000), 10000);
    memset(file, 0, 44);
    memcpy(file, "\xff\xfb\x90\x00", 4); /* layer III of MPEG 1, 128 kbit/s */
    assert_int_equal(audio_length_ms(strv_make(file, 16000)), 1000);
    memset(file, 0, 100);
    memcpy(file, "ID3\x04\0\0\0\0\0\x0a", 10);
    memcpy(file + 20, "\xff\xfb\x90\x00", 4);
    assert_int_equal(audio_length_ms(strv_make(file, 16020)), 1000);
    memcpy(file, "ID3\x04\0\0\x7f\x7f\x7f\x7f", 10); /* a tag that ends behind the file */
    assert_int_equal(audio_length_ms(strv_make(file, 4000)), 1000);
    assert_int_equal(audio_length_ms(STRV("x")), 1);
    assert_int_equal(audio_length_ms(STRV_NONE), 0);
    free(file);
    assert_int_equal(scan("/v1/audio/transcriptions", "multipart/form-data; boundary=b",
                          STRV(FILE_PART("file", "12345678") FIELD("model", "m") END), &f, &block),
                     RC_OK);
    assert_int_equal(f.audio_ms, 2); /* 4000 bytes a second of what nobody knows */
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_parts_are_bounded),
        cmocka_unit_test(test_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
