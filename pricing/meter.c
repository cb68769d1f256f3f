#include "pricing/meter.h"

#include "base/check.h"

static const char *const names[METER_COUNT] = {
#define METER_NAME(id, name) [id] = name,
    METERS(METER_NAME)
#undef METER_NAME
};

/* Meters have to fit in one word of bits. */
_Static_assert(METER_COUNT <= 64, "a set of meters is 64 bits");

const char *meter_name(enum meter m)
{
    ASSERT((unsigned)m < METER_COUNT);
    return names[m];
}

bool meter_parse(struct strv name, enum meter *m)
{
    for (unsigned i = 0; i < METER_COUNT; i++) {
        if (strv_eq(name, strv_z(names[i]))) {
            *m = (enum meter)i;
            return true;
        }
    }
    return false;
}

bool meter_is_time(enum meter m)
{
    return m == METER_AUDIO_SEC || m == METER_VIDEO_SEC || m == METER_IN_VIDEO_SEC ||
           m == METER_CODE_SEC || m == METER_SESSION_SEC;
}
