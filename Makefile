# tollgate: `make demo` shows it, `make test` proves it; `make help` lists the rest.

.DEFAULT_GOAL := release
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# ---- variant -------------------------------------------------------------
# BUILD=release|debug|tsan|fuzz|lint; each has its own tree, so objects never mix.
BUILD ?= release
O     ?= build/$(BUILD)
CC     = gcc
ifeq ($(BUILD),fuzz)
CC     = clang
endif

# Which compiler and flags: objects rebuild when any of it changes (see $(O)/.flags).
FLOORS  := base pricing metering/usage metering/limits metering/ledger reports proxy
PKGS    := libevent libevent_openssl libnghttp2 libssl libcrypto libcjson hiredis sqlite3 zlib libbrotlidec libzstd libxxhash glib-2.0 libcurl
CHART   := $(firstword $(wildcard /usr/share/javascript/chart.js/chart.min.js /usr/share/javascript/chart.js/chart.umd.js))
HAVE    := $(if $(CHART),$(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes))
PKG_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
# AES-GCM by libipsec-mb (Debian has it for amd64 alone, without a .pc file); IPSEC_MB= builds without.
IPSEC_MB   ?= $(if $(wildcard /usr/include/intel-ipsec-mb.h),yes)
ifneq ($(IPSEC_MB),)
PKG_CFLAGS += -DHAVE_IPSEC_MB
PKG_LIBS   += -lIPSec_MB
endif
# TLS to Redis by hiredis' own library (hiredis 1.1 and later: Debian 12 has none); HIREDIS_SSL= builds without.
HIREDIS_SSL ?= $(shell pkg-config --exists 'hiredis_ssl >= 1.1.0' 2>/dev/null && echo yes)
ifneq ($(HIREDIS_SSL),)
PKG_CFLAGS += -DHAVE_HIREDIS_SSL
PKG_LIBS   += $(shell pkg-config --libs hiredis_ssl)
endif

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
       -Wundef -Wvla -Wcast-qual -Wwrite-strings -Wpointer-arith -Wformat=2 \
       -Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference -Wdouble-promotion
ifeq ($(CC),gcc)
WARN += -Wduplicated-cond -Wduplicated-branches -Wlogical-op
endif
# Archives of link-time optimised objects want the compiler's own ar.
ifeq ($(CC),gcc)
AR = gcc-ar
else
AR = ar
endif
ifdef CI
WARN += -Werror
endif
WARN_HOST = -Wall -Wextra -Wshadow
STD  = -std=c11 -D_GNU_SOURCE -I. -isystem $(O)/gen
HARD = -fstack-protector-strong -fstack-clash-protection -fPIE
LINK = -pie -Wl,--as-needed,-z,relro,-z,now,-z,noexecstack
ifeq ($(shell uname -m),x86_64)
HARD += -fcf-protection=full
# Inlined copies of a few bytes must not start the string engine (rep movs), which costs
# some 30 cycles before its first byte; large clearings are left to libc, whose vectors are wider.
ifeq ($(CC),gcc)
COPY = -mmemcpy-strategy=vector_loop:8192:noalign,libcall:-1:noalign \
       -mmemset-strategy=vector_loop:256:noalign,libcall:-1:noalign
endif
endif
OPT_release = -O2 -flto=auto -g -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero $(HARD) $(COPY)
OPT_debug   = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined $(HARD)
OPT_tsan    = -O1 -g -fno-omit-frame-pointer -fsanitize=thread -fPIE
OPT_fuzz    = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fPIE
# Warnings of the optimiser without the time that hardening and debug information take.
OPT_lint    = -O1 -D_FORTIFY_SOURCE=2
CFLAGS_ALL  = $(STD) $(WARN) $(OPT_$(BUILD)) $(PKG_CFLAGS) $(CFLAGS)
LIBS        = $(PKG_LIBS) -lpthread -lm

# ---- what there is ---------------------------------------------------------
MAIN_SRC := proxy/main.c
lib_of    = $(O)/lib$(notdir $(1)).a
srcs_of   = $(filter-out $(MAIN_SRC),$(wildcard $(1)/*.c))
LIBS_ALL := $(foreach f,$(FLOORS),$(call lib_of,$(f)))
# Highest floor first, as the linker wants it.
LIB_base     := $(call lib_of,base)
LIB_pricing  := $(call lib_of,pricing) $(LIB_base)
LIB_usage    := $(call lib_of,metering/usage) $(LIB_pricing)
LIB_limits   := $(call lib_of,metering/limits) $(LIB_pricing)
LIB_ledger   := $(call lib_of,metering/ledger) $(LIB_usage)
LIB_reports  := $(call lib_of,reports) $(call lib_of,metering/ledger) $(call lib_of,metering/limits) $(LIB_usage)
LIB_proxy    := $(call lib_of,proxy) $(LIB_reports)

UNIT_SRC  := $(sort $(shell find tests/unit -name 'test_*.c' 2>/dev/null))
UNIT_BIN  := $(UNIT_SRC:tests/unit/%.c=$(O)/unit/%)
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
PROVIDER_SRC := $(wildcard tests/provider/*.c)
LOAD_PART := $(wildcard tests/bench/load_*.c)
NOJOURNAL := tests/bench/nojournal.c
BENCH_SRC := $(filter-out $(LOAD_PART) $(NOJOURNAL),$(wildcard tests/bench/*.c))

# V=1 shows whole command lines.
ifeq ($(V),1)
say =
Q   =
else
say = @echo '  $(1)'
Q   = @
endif

# ---- programs --------------------------------------------------------------
.PHONY: release debug tsan all programs
release: ; @$(MAKE) $(PARALLEL) --no-print-directory BUILD=release programs
	@ln -sfn release/tollgate build/tollgate
debug:   ; @$(MAKE) $(PARALLEL) --no-print-directory BUILD=debug programs
tsan:    ; @$(MAKE) $(PARALLEL) --no-print-directory BUILD=tsan programs
# As many jobs as cores, unless the caller says how many.
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

ifeq ($(HAVE),yes)
programs: $(O)/tollgate
else
programs:
	@$(MAKE) --no-print-directory deps-build
	@$(MAKE) --no-print-directory BUILD=$(BUILD) O=$(O) programs
endif

$(O)/tollgate: $(O)/obj/proxy/main.o $(LIB_proxy)
	$(call say,LINK $@)
	$(Q)$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(LIBS)

# The same without libipsec-mb, for the tests: the one object that differs stands before the library that has the other.
PLAIN_OBJ := $(O)/obj/plain/tls_gcm.o
$(PLAIN_OBJ): proxy/tls_gcm.c $(O)/.flags
	@mkdir -p $(@D)
	$(call say,CC $< (without libipsec-mb))
	$(Q)$(CC) $(CFLAGS_ALL) -UHAVE_IPSEC_MB -MMD -MP -c -o $@ $<
$(O)/plain/tollgate: $(O)/obj/proxy/main.o $(PLAIN_OBJ) $(LIB_proxy)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(filter-out -lIPSec_MB,$(LIBS))
PLAIN_UNIT := tls_stream tls_takeover
$(PLAIN_UNIT:%=$(O)/plain/test_%): $(O)/plain/test_%: $(O)/obj/tests/unit/proxy/test_%.o $(PLAIN_OBJ) $(LIB_proxy)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(filter-out -lIPSec_MB,$(LIBS)) -lcmocka -lbrotlienc
.PHONY: plain
plain: $(O)/plain/tollgate $(PLAIN_UNIT:%=$(O)/plain/test_%)

# The simulated provider reads HTTP with code of its own: it needs the ground floor alone.
$(O)/provider: $(PROVIDER_SRC:%.c=$(O)/obj/%.o) $(LIB_base)
	$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(LIBS) -lbrotlienc

# What is loaded before a program by its tests; the same for every build.
SHIMS := build/release/fault.so build/release/clock.so

# Loaded before a program, makes its allocations and system calls fail one by one.
$(O)/fault.so: tests/fault/fault.c
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)gcc -std=c11 -D_GNU_SOURCE $(WARN_HOST) -O2 -g -fPIC -shared -o $@ $< -ldl

# A made-up past, for the dashboard's tests and pictures.
$(O)/history: $(O)/obj/tests/demo/history.o $(LIB_ledger)
	$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(LIBS)

define floor_lib
$(call lib_of,$(1)): $(patsubst %.c,$(O)/obj/%.o,$(call srcs_of,$(1)))
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(FLOORS),$(eval $(call floor_lib,$(f))))
$(call lib_of,metering/usage): $(O)/obj/metering/usage/vocab/tables.o

# Loops over columns, which the compiler makes wide at this level alone.
COLUMN_LOOPS = fact read_fact_pick read_fact_sums read_row_sums read_counted read_cube read_distinct read_held read_latency read_narrow \
    read_rank read_tally_tasks read_task_sums
$(COLUMN_LOOPS:%=$(O)/obj/metering/ledger/%.o): OPT_release += -O3

$(O)/obj/%.o: %.c $(O)/.flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(O)/.flags: FORCE
	@mkdir -p $(O)
	@echo '$(CC) $(CFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL)' > $@
.PHONY: FORCE
FORCE:

# Text that the binary carries: tests and sources include it as a C array.
# A script metering/limits/x.lua becomes $(O)/gen/x.lua.h with `static const char x_lua[]`.
GEN_LUA := $(patsubst metering/limits/%.lua,$(O)/gen/%.lua.h,$(wildcard metering/limits/*.lua))
$(O)/gen/%.lua.h: metering/limits/%.lua tests/embed.sh
	@mkdir -p $(@D)
	sh tests/embed.sh $* _lua < $< > $@
$(patsubst %.c,$(O)/obj/%.o,$(wildcard metering/limits/*.c)): | $(GEN_LUA)
$(O)/obj/metering/limits/limit_redis.o $(O)/obj/metering/limits/limit_read.o: $(GEN_LUA)

# Ready-made tables of the tokenizer: a program of our own makes them of the vocabularies.
VOCAB     := metering/usage/vocab
TOKEN_BIN := $(O)/gen/o200k_base.bin $(O)/gen/cl100k_base.bin $(O)/gen/classes.bin
$(O)/gen/compile-vocab: $(wildcard $(VOCAB)/compile*.c $(VOCAB)/*.h metering/usage/token_*.h)
	@mkdir -p $(@D)
	$(Q)gcc -std=c11 -D_GNU_SOURCE $(WARN_HOST) -O2 -I. -o $@ $(filter %.c,$^)
$(O)/gen/%.bin: $(VOCAB)/%.tokens $(O)/gen/compile-vocab
	$(call say,TABLE $@)
	$(Q)$(O)/gen/compile-vocab vocabulary $< $@
$(O)/gen/classes.bin: $(VOCAB)/classes.txt $(O)/gen/compile-vocab
	$(Q)$(O)/gen/compile-vocab classes $< $@
$(O)/obj/$(VOCAB)/tables.o: $(VOCAB)/tables.S $(TOKEN_BIN)
	@mkdir -p $(@D)
	$(Q)$(CC) -c -Wa,-I$(O)/gen -o $@ $<

# The dashboard's files, and Chart.js as Debian packages it.
WEB := $(sort $(wildcard reports/web/*.html reports/web/*.css reports/web/*.js reports/web/*.svg))
$(O)/gen/chart.js: $(CHART)
	@mkdir -p $(@D)
	@# Its map is not served, and a browser that asks for it would find an error.
	sed '/^\/\/# sourceMappingURL=/d' $< > $@
$(O)/gen/web_assets.S: $(WEB) $(O)/gen/chart.js tests/assets.sh
	$(call say,WEB $@)
	$(Q)sh tests/assets.sh $@ $(O)/gen/web_assets.h $(WEB) $(O)/gen/chart.js
$(O)/gen/web_assets.h: $(O)/gen/web_assets.S ;
$(O)/obj/reports/web.o: $(O)/gen/web_assets.h
$(O)/obj/reports/web/assets.o: $(O)/gen/web_assets.S
	@mkdir -p $(@D)
	$(Q)$(CC) -c -o $@ $<
$(call lib_of,reports): $(O)/obj/reports/web/assets.o

# ---- unit tests ------------------------------------------------------------
# tests/unit/<floor>/test_x.c links the floor's library and those below it.
unit_libs = $(LIB_$(notdir $(patsubst %/,%,$(dir $(1)))))
define unit_bin
$(O)/unit/$(1): $(O)/obj/tests/unit/$(1).o $(call unit_libs,$(1))
	@mkdir -p $$(@D)
	$(call say,LINK $$@)
	$(Q)$(CC) $(OPT_$(BUILD)) $(LINK) -o $$@ $$^ $(LIBS) -lcmocka -lbrotlienc
endef
$(foreach u,$(UNIT_SRC:tests/unit/%.c=%),$(eval $(call unit_bin,$(u))))

.PHONY: unit
unit: $(UNIT_BIN)

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)

# ---- tests -----------------------------------------------------------------
VENV         := build/venv
REQUIREMENTS := tests/integration/requirements.txt
# Unit tests of code that runs on several threads, once more under ThreadSanitizer.
RACE_SRC     := $(shell grep -l 'pthread' $(UNIT_SRC) /dev/null 2>/dev/null)
FUZZ_SECONDS ?= 60
FUZZ_BIN     := $(FUZZ_SRC:tests/fuzz/%.c=$(O)/fuzz/%)

.PHONY: race fuzzers benchers venv venv-focus axe aws-js test test-unit test-integration test-sandbox test-tsan fuzz lint demo bench
race: $(RACE_SRC:tests/unit/%.c=$(O)/unit/%)

define fuzz_bin
$(O)/fuzz/$(1): $(O)/obj/tests/fuzz/$(1).o $(LIB_proxy)
	@mkdir -p $$(@D)
	$(call say,LINK $$@)
	$(Q)$(CC) $(OPT_$(BUILD)) -fsanitize=fuzzer -o $$@ $$^ $(LIBS)
endef
$(foreach f,$(FUZZ_SRC:tests/fuzz/%.c=%),$(eval $(call fuzz_bin,$(f))))
fuzzers: $(FUZZ_BIN)

BENCH_BIN := $(BENCH_SRC:tests/bench/%.c=$(O)/bench/%)
$(O)/bench/%: $(O)/obj/tests/bench/%.o $(LIB_proxy)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
$(O)/bench/load: $(LOAD_PART:%.c=$(O)/obj/%.o)
# Loaded before a gateway, keeps its journal from being written: the price of that part.
$(O)/bench/nojournal.so: $(NOJOURNAL)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)gcc -std=c11 -D_GNU_SOURCE $(WARN_HOST) -O2 -g -fPIC -shared -o $@ $< -ldl
benchers: $(BENCH_BIN) $(O)/bench/nojournal.so

venv: $(VENV)/.made
$(VENV)/.made: $(REQUIREMENTS)
	@mkdir -p build
	python3 -m venv $(VENV)
	@$(VENV)/bin/pip install -q --disable-pip-version-check -r $(REQUIREMENTS) || \
	    echo 'venv: no SDKs (no network?): their tests are skipped'
	@touch $@

# The FinOps Foundation's validator, which is large and has requirements of its own.
venv-focus: build/venv-focus/.made
build/venv-focus/.made: tests/focus/requirements.txt
	@mkdir -p build
	python3 -m venv build/venv-focus
	@build/venv-focus/bin/pip install -q --disable-pip-version-check --ignore-requires-python -r $< || \
	    { rm -rf build/venv-focus; echo 'venv-focus: not to be had (no network?): its test is skipped'; \
	      mkdir -p build/venv-focus; }
	@touch $@

# Rules of accessibility for the dashboard's tests, from npm.
AXE_VERSION := 4.14.1
axe: build/axe/.made
build/axe/.made:
	@mkdir -p build/axe
	@npm install --silent --no-audit --no-fund --prefix build/axe axe-core@$(AXE_VERSION) >/dev/null 2>&1 || \
	    echo 'axe: not to be had (no npm, no network?): its test is skipped'
	@touch $@

# AWS's SDK for JavaScript, which alone speaks its two-way streams on this Python; from npm.
AWS_JS_VERSION := 3.1164.0
aws-js: build/aws-js/.made
# Loaded before a program, sets its clocks apart from the system's.
$(O)/clock.so: tests/fault/clock.c
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)gcc -std=c11 -D_GNU_SOURCE $(WARN_HOST) -O2 -g -fPIC -shared -o $@ $< -ldl

build/aws-js/.made:
	@mkdir -p build/aws-js
	@npm install --silent --no-audit --no-fund --prefix build/aws-js \
	    @aws-sdk/client-bedrock-runtime@$(AWS_JS_VERSION) >/dev/null 2>&1 || \
	    echo 'aws-js: not to be had (no npm, no network?): its tests are skipped'
	@touch $@

# Everything, with the packages, programs and SDKs that it takes.  The last line says
# how many passed.
test: deps-test
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=release programs build/release/provider build/release/history $(SHIMS)
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=debug programs unit plain build/debug/provider build/debug/history
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=tsan race
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=fuzz fuzzers
	@$(MAKE) --no-print-directory venv venv-focus axe aws-js
	@python3 tests/run.py \
	    --unit $(UNIT_SRC:tests/unit/%.c=build/debug/unit/%) $(PLAIN_UNIT:%=build/debug/plain/test_%) \
	    --race $(RACE_SRC:tests/unit/%.c=build/tsan/unit/%) \
	    --fuzz $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/fuzz/%) --fuzz-seconds $(FUZZ_SECONDS) \
	    --integration build/release/tollgate:build/release/provider \
	                  build/debug/tollgate:build/debug/provider \
	    --sandbox build/release/tollgate:build/release/provider

test-unit:
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=debug unit
	@python3 tests/run.py --unit $(UNIT_SRC:tests/unit/%.c=build/debug/unit/%)

# Words for pytest: make test-integration PYTEST='-k budget'.
test-integration: venv
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=release programs build/release/provider build/release/history $(SHIMS)
	@python3 tests/run.py --pytest '$(PYTEST)' \
	    --integration build/release/tollgate:build/release/provider

# All integration tests, each gateway in the sandbox of the systemd unit.
test-sandbox: venv
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=release programs build/release/provider build/release/history $(SHIMS)
	@python3 tests/run.py --pytest '$(PYTEST)' --whole-sandbox \
	    --sandbox build/release/tollgate:build/release/provider

# What the debug build runs of them, the gateways under ThreadSanitizer: half an hour.
test-tsan: venv
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=tsan programs
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=release build/release/provider build/release/history
	@python3 tests/run.py --pytest '$(PYTEST)' --tsan build/tsan/tollgate:build/release/provider

# One target, as long as one likes: make fuzz TARGET=sse SECONDS=600; without TARGET, all.
SECONDS ?= 60
fuzz:
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=fuzz $(if $(TARGET),build/fuzz/fuzz/fuzz_$(TARGET),fuzzers)
	@python3 tests/run.py --fuzz-seconds $(SECONDS) \
	    --fuzz $(if $(TARGET),build/fuzz/fuzz/fuzz_$(TARGET),$(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/fuzz/%))

# ---- checks ----------------------------------------------------------------
# Sources of the product; the tests' own C is checked by the compilers alone.
LINT_SRC := $(foreach f,$(FLOORS),$(wildcard $(f)/*.c))

lint: deps-test
	@python3 tests/lint/includes.py
	@python3 tests/lint/banned.py
	@python3 tests/lint/lengths.py
	@sh tests/lint/lint.sh $(LINT_SRC)
	@$(MAKE) --no-print-directory lint-compile

# Both compilers, warnings as errors, nothing linked.
LINT_OBJ := $(patsubst %.c,$(O)/obj/%.o,$(LINT_SRC) $(UNIT_SRC) $(PROVIDER_SRC))
.PHONY: lint-compile lint-objects
lint-objects: $(LINT_OBJ)
lint-compile:
	@$(MAKE) $(PARALLEL) --no-print-directory -s CI=1 BUILD=lint O=build/lint-gcc lint-objects
	@$(MAKE) $(PARALLEL) --no-print-directory -s CI=1 BUILD=lint O=build/lint-clang CC=clang lint-objects
	@echo 'compile: gcc and clang, no warnings'

# ---- demonstration ---------------------------------------------------------
# ONCE=1 ends after printing; otherwise the reports stay up until Ctrl-C.
demo: deps-demo
	@$(MAKE) $(PARALLEL) --no-print-directory release build/release/provider
	@python3 tests/demo/demo.py $(if $(ONCE),--once)

# BENCH="small sse" for some (BENCH=help lists them), BENCH=tokenizer or BENCH=reports for
# that alone; ROUNDS=5 for more rounds.
BENCH_TOKENIZER = $(filter tokenizer,$(or $(BENCH),tokenizer))
BENCH_REPORTS   = $(filter reports,$(BENCH))
BENCH_GATEWAY   = $(filter-out tokenizer reports,$(or $(BENCH),all))
bench: deps-bench $(if $(BENCH_TOKENIZER),venv)
	@$(MAKE) $(PARALLEL) --no-print-directory release build/release/provider
	@$(MAKE) $(PARALLEL) --no-print-directory BUILD=release benchers
	@$(if $(BENCH_GATEWAY),python3 tests/bench/bench.py $(filter-out all,$(BENCH_GATEWAY)))
	@$(if $(BENCH_TOKENIZER),$(VENV)/bin/python tests/bench/bench_tokenizer.py)
	@$(if $(BENCH_REPORTS),python3 tests/bench/bench_reports.py)

# ---- packages, installation, the rest --------------------------------------
.PHONY: deps deps-build deps-demo deps-test deps-bench install uninstall clean help
deps: deps-test
deps-build: ; @sh tests/deps.sh build
deps-demo:  ; @sh tests/deps.sh demo
deps-test:  ; @sh tests/deps.sh test
deps-bench: ; @sh tests/deps.sh bench

PREFIX  ?= /usr/local
DESTDIR ?=
install: release
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/tollgate/book' \
	    '$(DESTDIR)$(PREFIX)/share/doc/tollgate'
	install -m 0755 build/release/tollgate '$(DESTDIR)$(PREFIX)/bin/tollgate'
	install -m 0644 pricing/book/*.json '$(DESTDIR)$(PREFIX)/share/tollgate/book/'
	install -m 0644 LICENSE $(wildcard NOTICE README.md) '$(DESTDIR)$(PREFIX)/share/doc/tollgate/'
	install -d '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	sed 's|@PREFIX@|$(PREFIX)|g' docs/tollgate.service > build/tollgate.service
	install -m 0644 build/tollgate.service '$(DESTDIR)$(PREFIX)/lib/systemd/system/tollgate.service'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/tollgate' '$(DESTDIR)$(PREFIX)/lib/systemd/system/tollgate.service'
	rm -rf '$(DESTDIR)$(PREFIX)/share/tollgate/book' '$(DESTDIR)$(PREFIX)/share/doc/tollgate'

clean:
	rm -rf build

help:
	@echo 'make, make release   the program, optimised and hardened: build/tollgate'
	@echo 'make debug           the same with AddressSanitizer and UBSan; make tsan: ThreadSanitizer'
	@echo 'make demo            shows it: Redis, a simulated provider, calls, reports (ONCE=1: and ends)'
	@echo 'make test            every test; test-unit and test-integration PYTEST=... for a part'
	@echo 'make test-sandbox    the integration tests with gateways in the sandbox of the systemd unit'
	@echo 'make lint            include order of the floors, banned calls, static checks, both compilers'
	@echo 'make fuzz            all fuzz targets, or one: TARGET=sse SECONDS=600'
	@echo 'make bench           CPU, latency and memory against nginx and haproxy in the same run;'
	@echo '                     BENCH="small sse" for a part, BENCH=help lists the parts, ROUNDS=5 longer'
	@echo 'make install         to PREFIX (/usr/local) under DESTDIR; make uninstall'
	@echo 'make deps            the Debian or Ubuntu packages that all this takes'
	@echo 'make clean           removes build/'
