#!/bin/sh
# Static checks that gate: shellcheck over the scripts, cppcheck and clang-tidy over the
# sources given, each with the few checks that find faults and no matters of taste.
set -eu
cd "$(dirname "$0")/../.."

failed=0
scripts=$(find tests .ci -name '*.sh' -o -path '.ci/run')
# shellcheck disable=SC2086
if command -v shellcheck >/dev/null; then
    shellcheck $scripts && echo "shellcheck: no problems" || failed=1
fi

if command -v cppcheck >/dev/null; then
    mkdir -p build/cppcheck
    if cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j 2 \
        --cppcheck-build-dir=build/cppcheck --enable=warning,portability \
        --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
        --suppress=unknownMacro --suppress=autoVariables -D_GNU_SOURCE -I. -Ibuild/release/gen "$@"; then
        echo "cppcheck: no problems"
    else
        failed=1
    fi
fi
exit $failed
