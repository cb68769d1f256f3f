/*
 * token_class.h - what the splitting patterns distinguish characters by.
 *
 * Generated from the Unicode Character Database, version 16.0 (vocab/classes.txt),
 * which is the one that the reference implementation was built with.
 */
#ifndef METERING_USAGE_TOKEN_CLASS_H
#define METERING_USAGE_TOKEN_CLASS_H

/* Each code point is of exactly one. */
enum token_class {
    CLASS_UPPER = 1,    /* Lu, Lt */
    CLASS_LOWER = 2,    /* Ll */
    CLASS_CASELESS = 4, /* Lm, Lo */
    CLASS_MARK = 8,     /* M */
    CLASS_NUMBER = 16,  /* N */
    CLASS_SPACE = 32,   /* White_Space but for line ends */
    CLASS_NEWLINE = 64, /* LF, CR */
    CLASS_OTHER = 128,  /* punctuation, symbols, controls, what is not assigned */
};

#endif
