/*
 * urgency.h - how soon a thread wants the processor when it wakes, told to the scheduler.
 *
 * A worker that has to wait until another thread's turn is over makes a request late; who adds up,
 * reports or compares can wait.  Both are hints about the calling thread: a thread of another
 * policy than the usual one (real time, idle) is left as it is, and where the kernel refuses or
 * does not know them nothing happens.  No privileges are asked for (sched_setattr(2), sched(7)).
 */
#ifndef BASE_URGENCY_H
#define BASE_URGENCY_H

/* What a prompt thread asks for as its turn, nanoseconds: the least that Linux gives. */
#define URGENCY_TURN_NS 100000u
/* How much nicer than the process a patient thread is: a third of a worker's weight. */
#define URGENCY_PATIENT_NICE 5

/* Short turns, so that this thread's wake-up interrupts those whose turns are longer (Linux 6.12
 * and later; older ones decide by what each has had, and ignore it). */
void urgency_prompt(void);
/* This thread interrupts nobody by waking up, and has URGENCY_PATIENT_NICE more than its niceness
 * was, at most 19.  Once a thread. */
void urgency_patient(void);

#endif
