// The thread pool. Workers spin for a while after a job, in case the next comes at once, then sleep.
#include "launch.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace needle {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kSpins = 6000;  // about a hundred microseconds: longer than Python takes from one op to the next

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("yield");
#endif
}

int available_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

int checked_threads(long n, const char* what) {
  if (n >= 1 && n <= kMaxThreads) return static_cast<int>(n);
  throw std::invalid_argument(std::string(what) + ": the number of threads is 1 to " + std::to_string(kMaxThreads));
}

int initial_threads() {
  const char* text = std::getenv("NEEDLE_NUM_THREADS");
  if (text == nullptr || *text == '\0') return available_cpus();
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  return checked_threads(*end == '\0' ? n : 0, (std::string("NEEDLE_NUM_THREADS=") + text).c_str());
}

thread_local bool in_task = false;

struct TaskScope {
  TaskScope() { in_task = true; }
  ~TaskScope() { in_task = false; }
};

struct Job {
  void (*task)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t count = 0;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  void work() {
    const TaskScope scope;
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      try {
        task(context, i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
};

// One job at a time. A worker first counts itself in (`inside`), then looks whether the job is open; the caller first
// closes the job, then waits until no one is inside. So a worker that wakes late does no harm and is not waited for.
class Pool {
 public:
  void run(int64_t count, void (*task)(void*, int64_t), void* context, int threads) {
    while (started_ < threads - 1) start_worker();
    job_.task = task;
    job_.context = context;
    job_.count = count;
    job_.next = 0;
    job_.failed = false;
    helpers_ = threads - 1;
    open_ = true;
    generation_.fetch_add(1);
    if (sleeping_ > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    job_.work();
    open_ = false;
    for (int spin = 0; inside_ > 0; ++spin) {
      spin < kSpins ? relax() : std::this_thread::yield();  // the helper may be waiting for this very core
    }
    if (job_.failed) std::rethrow_exception(std::exchange(job_.error, nullptr));
  }

  std::mutex busy;  // held by the thread whose job this is

 private:
  void start_worker() {
    const int id = started_++;
    std::thread([this, id] { serve(id); }).detach();
  }

  void serve(int id) {
    uint64_t seen = 0;
    for (;;) {
      wait_for_news(seen);
      seen = generation_;
      inside_.fetch_add(1);
      if (open_ && id < helpers_) job_.work();
      inside_.fetch_sub(1);
    }
  }

  void wait_for_news(uint64_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (generation_ != seen) return;
      relax();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleeping_;
    wake_.wait(lock, [&] { return generation_ != seen; });
    --sleeping_;
  }

  Job job_;
  std::atomic<bool> open_{false};
  std::atomic<int> inside_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<int> helpers_{0};
  std::atomic<uint64_t> generation_{0};
  int started_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
};

std::atomic<int> thread_count{0};
std::atomic<Pool*> pool{nullptr};  // never destroyed: its workers outlive static destructors

// A forked child has this memory but none of the workers: it starts a pool of its own when it needs one.
void forget_pool() { pool = nullptr; }

Pool* the_pool() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  static_cast<void>(registered);
  Pool* current = pool;
  if (current != nullptr) return current;
  Pool* fresh = new Pool;
  if (pool.compare_exchange_strong(current, fresh)) return fresh;
  delete fresh;
  return current;
}

}  // namespace

int num_threads() {
  int n = thread_count.load(std::memory_order_relaxed);
  if (n == 0) {
    n = initial_threads();
    thread_count = n;
  }
  return n;
}

int threads_here() { return in_task ? 1 : num_threads(); }

void set_num_threads(int n) { thread_count = checked_threads(n, "set_num_threads"); }

void run_tasks(int64_t count, void (*task)(void* context, int64_t i), void* context) {
  const int64_t threads = count < threads_here() ? count : threads_here();
  Pool* shared = threads > 1 ? the_pool() : nullptr;
  if (shared != nullptr && shared->busy.try_lock()) {
    std::lock_guard<std::mutex> lock(shared->busy, std::adopt_lock);
    return shared->run(count, task, context, static_cast<int>(threads));
  }
  for (int64_t i = 0; i < count; ++i) task(context, i);
}

}  // namespace needle
