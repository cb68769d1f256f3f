#!/bin/sh
# Files that the binary carries for browsers: assets.sh OUT.S OUT.h FILE...
# OUT.S holds their bytes, OUT.h a row of struct web_asset for each: /web/NAME, type, bytes,
# length, entity tag.
set -eu

code=$1 table=$2
shift 2
printf '    .section .rodata\n' > "$code"
: > "$table"
printf '#define WEB_ASSETS \\\n' > "$table.rows"
n=0
for file in "$@"; do
    name=$(basename "$file")
    case $name in
    *.html) type='text/html; charset=utf-8' ;;
    *.css) type='text/css; charset=utf-8' ;;
    *.js) type='text/javascript; charset=utf-8' ;;
    *.svg) type='image/svg+xml' ;;
    *) echo "assets: no type for $name" >&2; exit 2 ;;
    esac
    size=$(wc -c < "$file")
    tag=$(sha256sum < "$file" | cut -c 1-32)
    printf '    .globl web_file_%s\n    .hidden web_file_%s\n    .type web_file_%s, %%object\n' \
        $n $n $n >> "$code"
    printf 'web_file_%s:\n    .incbin "%s"\n    .byte 0\n' $n "$file" >> "$code"
    printf 'extern const char web_file_%s[];\n' $n >> "$table"
    printf '    {"/web/%s", "%s", {web_file_%s, %s}, "\\"%s\\""}, \\\n' \
        "$name" "$type" $n "$size" "$tag" >> "$table.rows"
    n=$((n + 1))
done
printf '    .section .note.GNU-stack, "", %%progbits\n' >> "$code"
cat "$table.rows" >> "$table"
rm "$table.rows"
echo >> "$table"
