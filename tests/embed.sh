#!/bin/sh
# Standard input as a C string: embed.sh NAME SUFFIX gives `static const char NAME_SUFFIX[]`.
set -eu
printf 'static const char %s%s[] =\n' "$1" "$2"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/'
printf '    ;\n'
