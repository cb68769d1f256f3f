#include "base/held.h"

_Thread_local int64_t held_bytes;
