/* What compile.c made, as the binary carries it: see token_tables.h. */
    .section .rodata
    .macro table name, file
    .balign 64
    .globl \name
    .hidden \name
    .type \name, %object
\name:
    .incbin "\file"
    .balign 64
    .endm
    table token_tables_o200k, "o200k_base.bin"
    table token_tables_cl100k, "cl100k_base.bin"
    table token_classes, "classes.bin"
    .section .note.GNU-stack, "", %progbits
