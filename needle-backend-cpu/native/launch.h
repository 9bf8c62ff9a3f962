// How work is cut into threads: a pool that runs numbered tasks, and loops over ranges on top of it.
#ifndef NEEDLE_CPU_LAUNCH_H
#define NEEDLE_CPU_LAUNCH_H

#include <needle/compiler.h>

namespace needle {

// Runs task(context, i) for 0 <= i < count, in any order, by the caller and the pool; returns when all are done.
// Inside a task, and while another thread of the program uses the pool, the caller does all of it alone.
void run_tasks(int64_t count, void (*task)(void* context, int64_t i), void* context);

int num_threads();
int threads_here();  // the same, but 1 inside a task
void set_num_threads(int n);

}  // namespace needle

NEEDLE_BEGIN

template <class F> void parallel_tasks(int64_t count, F f) {
  run_tasks(count, [](void* context, int64_t i) { (*static_cast<F*>(context))(i); }, &f);
}

// f(begin, end) over parts of 0 to n of at least `grain` each; below two grains all of it at once, by the caller.
// Results must not depend on where the cuts lie, for they depend on the number of threads.
template <class F> void parallel_for(int64_t n, int64_t grain, F f) {
  const int64_t threads = n < 2 * grain ? 1 : threads_here();
  if (threads == 1) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
  int64_t parts = n / grain < 4 * threads ? n / grain : 4 * threads;
  if (parts > threads) parts -= parts % threads;  // equally many for each
  const int64_t length = ((n + parts - 1) / parts + 63) / 64 * 64;
  parallel_tasks(n > 64 ? (n + length - 1) / length : 1, [=](int64_t i) {
    const int64_t begin = i * length;
    f(begin, n < begin + length ? n : begin + length);
  });
}

NEEDLE_END

#endif  // NEEDLE_CPU_LAUNCH_H
