"""The driver that every CPU object carries: `stepwell_segment`, in LLVM IR.

```c
typedef void (*kernel_t)(void *args, int64_t begin, int64_t end);
struct launch  { kernel_t kernel; void *args; int64_t cells; };        // three words
struct barrier { int64_t arrivals; char pad[120];                      // zeroed once
                 struct { int64_t next; char pad[120]; } work[4]; };   // 640 bytes
void stepwell_segment(struct launch *launches, int64_t count,
                      struct barrier *barrier, int64_t thread, int64_t threads);
```

Each of `threads` threads calls it with its own `thread` number and the same launches;
all return when all launches are done. Launches run in order: threads share the cells of
one, meet at a spin barrier, and go on to the next. The barrier's memory is zeroed once
and may then serve any number of segments, one at a time and always with the same number
of threads.

* `arrivals` only grows: an arrival that draws ticket t waits for
  `(t floordiv threads + 1) * threads`. So nobody has to reset it.
* Cells are handed out in chunks, a quarter of a fair share each: the first chunk of
  each thread by its number, the others from `work[g mod 4].next`, where `g` is the
  number of barriers so far. Thread 0 clears the slot of two launches later.
* Two launches of one cell in a row both belong to thread 0 and need no barrier.
* A thread that has spun for about 50 us yields the processor at every further look.
"""

from __future__ import annotations

SEGMENT = "stepwell_segment"
BARRIER_BYTES = 640

DRIVER_IR = """
declare i32 @sched_yield()
declare void @llvm.x86.sse2.pause()

define internal void @stepwell_wait(ptr %barrier, i64 %threads) nounwind noinline {
entry:
  %ticket = atomicrmw add ptr %barrier, i64 1 acq_rel, align 8
  %round = udiv i64 %ticket, %threads
  %next = add i64 %round, 1
  %goal = mul i64 %next, %threads
  br label %look
look:
  %spins = phi i64 [ 0, %entry ], [ %more, %again ]
  %seen = load atomic i64, ptr %barrier acquire, align 8
  %done = icmp uge i64 %seen, %goal
  br i1 %done, label %out, label %again.check
again.check:
  %patient = icmp ult i64 %spins, 1024
  br i1 %patient, label %pause, label %yield
pause:
  call void @llvm.x86.sse2.pause()
  br label %again
yield:
  %ignored = call i32 @sched_yield()
  br label %again
again:
  %more = add i64 %spins, 1
  br label %look
out:
  ret void
}

define internal void @stepwell_share(ptr %launch, ptr %barrier, i64 %thread,
    i64 %threads) nounwind noinline {
entry:
  %kernel = load ptr, ptr %launch, align 8
  %args.at = getelementptr i64, ptr %launch, i64 1
  %args = load ptr, ptr %args.at, align 8
  %cells.at = getelementptr i64, ptr %launch, i64 2
  %cells = load i64, ptr %cells.at, align 8
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %whole, label %split
whole:
  call void %kernel(ptr %args, i64 0, i64 %cells)
  ret void
split:
  %shares = mul i64 %threads, 4
  %up = add i64 %cells, %shares
  %up1 = sub i64 %up, 1
  %chunk = udiv i64 %up1, %shares
  %arrivals = load atomic i64, ptr %barrier monotonic, align 8
  %generation = udiv i64 %arrivals, %threads
  %slot = and i64 %generation, 3
  %slot.bytes = shl i64 %slot, 7
  %slot.offset = add i64 %slot.bytes, 128
  %work = getelementptr i8, ptr %barrier, i64 %slot.offset
  %later = add i64 %generation, 2
  %later.slot = and i64 %later, 3
  %later.bytes = shl i64 %later.slot, 7
  %later.offset = add i64 %later.bytes, 128
  %later.work = getelementptr i8, ptr %barrier, i64 %later.offset
  %first = icmp eq i64 %thread, 0
  br i1 %first, label %clear, label %take
clear:
  store atomic i64 0, ptr %later.work monotonic, align 8
  br label %take
take:
  %number = phi i64 [ %thread, %split ], [ %thread, %clear ], [ %drawn, %next ]
  %begin = mul i64 %number, %chunk
  %some = icmp slt i64 %begin, %cells
  br i1 %some, label %run, label %out
run:
  %far = add i64 %begin, %chunk
  %past = icmp sgt i64 %far, %cells
  %end = select i1 %past, i64 %cells, i64 %far
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  %rest = icmp slt i64 %end, %cells
  br i1 %rest, label %next, label %out
next:
  %drawn.raw = atomicrmw add ptr %work, i64 1 monotonic, align 8
  %drawn = add i64 %drawn.raw, %threads
  br label %take
out:
  ret void
}

define void @stepwell_segment(ptr %launches, i64 %count, ptr %barrier, i64 %thread,
    i64 %threads) nounwind {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %loop, label %out
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %continue ]
  %word = mul i64 %i, 3
  %launch = getelementptr i64, ptr %launches, i64 %word
  %cells.at = getelementptr i64, ptr %launch, i64 2
  %cells = load i64, ptr %cells.at, align 8
  %single = icmp sle i64 %cells, 1
  %mine = icmp eq i64 %thread, 0
  %idle.not = xor i1 %mine, true
  %skip = and i1 %single, %idle.not
  br i1 %skip, label %meet, label %run
run:
  call void @stepwell_share(ptr %launch, ptr %barrier, i64 %thread, i64 %threads)
  br label %meet
meet:
  %next = add i64 %i, 1
  %last = icmp sge i64 %next, %count
  br i1 %last, label %wait, label %peek
peek:
  %following.at = getelementptr i64, ptr %launch, i64 5
  %following = load i64, ptr %following.at, align 8
  %following.single = icmp sle i64 %following, 1
  %free = and i1 %single, %following.single
  br i1 %free, label %continue, label %wait
wait:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %continue, label %barrier.wait
barrier.wait:
  call void @stepwell_wait(ptr %barrier, i64 %threads)
  br label %continue
continue:
  br i1 %last, label %out, label %loop
out:
  ret void
}
"""
