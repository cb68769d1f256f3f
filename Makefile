# tollgate: `make demo` shows it, `make test` proves it; `make help` lists the rest.

.DEFAULT_GOAL := release
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# ---- variant -------------------------------------------------------------
# BUILD=release|debug|tsan|fuzz; each has its own tree, so objects never mix.
BUILD ?= release
O     ?= build/$(BUILD)
CC     = gcc
ifeq ($(BUILD),fuzz)
CC     = clang
endif

# Which compiler and flags: objects rebuild when any of it changes (see $(O)/.flags).
FLOORS  := base pricing metering/usage metering/limits metering/ledger reports proxy
PKGS    := libevent libevent_openssl libssl libcrypto libcjson hiredis sqlite3 zlib libbrotlidec libzstd glib-2.0
HAVE    := $(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes)
PKG_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
       -Wundef -Wvla -Wcast-qual -Wwrite-strings -Wpointer-arith -Wformat=2 \
       -Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference -Wdouble-promotion
ifeq ($(CC),gcc)
WARN += -Wduplicated-cond -Wduplicated-branches -Wlogical-op
endif
ifdef CI
WARN += -Werror
endif
STD  = -std=c11 -D_GNU_SOURCE -I. -isystem $(O)/gen
HARD = -fstack-protector-strong -fstack-clash-protection -fPIE
LINK = -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(shell uname -m),x86_64)
HARD += -fcf-protection=full
endif
OPT_release = -O2 -g -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero $(HARD)
OPT_debug   = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined $(HARD)
OPT_tsan    = -O1 -g -fno-omit-frame-pointer -fsanitize=thread -fPIE
OPT_fuzz    = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fPIE
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
BENCH_SRC := $(wildcard tests/bench/*.c)

# ---- programs --------------------------------------------------------------
.PHONY: release debug tsan all programs
release: ; @$(MAKE) --no-print-directory BUILD=release programs
	@ln -sfn release/tollgate build/tollgate
debug:   ; @$(MAKE) --no-print-directory BUILD=debug programs
tsan:    ; @$(MAKE) --no-print-directory BUILD=tsan programs

ifeq ($(HAVE),yes)
programs: $(O)/tollgate
else
programs:
	@$(MAKE) --no-print-directory deps-build
	@$(MAKE) --no-print-directory BUILD=$(BUILD) O=$(O) programs
endif

$(O)/tollgate: $(O)/obj/proxy/main.o $(LIB_proxy)
	$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(LIBS)

$(O)/provider: $(PROVIDER_SRC:%.c=$(O)/obj/%.o) $(LIB_proxy)
	$(CC) $(OPT_$(BUILD)) $(LINK) -o $@ $^ $(LIBS)

define floor_lib
$(call lib_of,$(1)): $(patsubst %.c,$(O)/obj/%.o,$(call srcs_of,$(1)))
	@rm -f $$@
	ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(FLOORS),$(eval $(call floor_lib,$(f))))

$(O)/obj/%.o: %.c $(O)/.flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

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
$(O)/obj/metering/limits/limit_redis.o: $(GEN_LUA)

# ---- unit tests ------------------------------------------------------------
# tests/unit/<floor>/test_x.c links the floor's library and those below it.
unit_libs = $(LIB_$(notdir $(patsubst %/,%,$(dir $(1)))))
define unit_bin
$(O)/unit/$(1): $(O)/obj/tests/unit/$(1).o $(call unit_libs,$(1))
	@mkdir -p $$(@D)
	$(CC) $(OPT_$(BUILD)) $(LINK) -o $$@ $$^ $(LIBS) -lcmocka
endef
$(foreach u,$(UNIT_SRC:tests/unit/%.c=%),$(eval $(call unit_bin,$(u))))

.PHONY: unit
unit: $(UNIT_BIN)

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
