/*
 * video.h - videos: jobs of OpenAI's /videos and operations of Google's predictLongRunning.
 *
 * A job is its id: how long and how large the video is and when it was begun stand in it, so
 * that nothing is kept.  It is done after VIDEO_WORK_MS, and billed each time it says so under
 * its own id, which a test counts once.
 */
#ifndef PROVIDER_VIDEO_H
#define PROVIDER_VIDEO_H

#include "tests/provider/call.h"

enum { VIDEO_WORK_MS = 150 };

/* POST /videos (JSON or a form), GET /videos/ID and its content; false: another path. */
bool openai_videos(struct call *c);
/* POST models/M:predictLongRunning, models/M:fetchPredictOperation. */
void gemini_video(struct call *c, struct strv model, bool begin);
/* GET models/M/operations/ID; false: another path. */
bool gemini_operation(struct call *c);

#endif
