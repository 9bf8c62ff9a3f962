// The device, its memory and its queue, as the launchers see them: plain C++. See runtime.mm.
//
// Many dispatches go into one command buffer and encoder, which is committed by count or when somebody waits. All
// functions are called with Python's GIL held, which is their lock; waits release it.
#ifndef NEEDLE_MSL_RUNTIME_H
#define NEEDLE_MSL_RUNTIME_H

#include <needle/view.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace needle {

struct OutOfMemory : std::runtime_error {
  OutOfMemory(size_t requested, size_t free) : std::runtime_error("out of memory"), requested(requested), free(free) {}
  size_t requested;
  size_t free;
};

// A command buffer failed: the ops in it, and what Metal says.
struct KernelFailure : std::runtime_error {
  KernelFailure(const std::string& op, const std::string& reason) : std::runtime_error(reason), op(op) {}
  std::string op;
};

struct MemoryStats {
  size_t used = 0;   // bytes of live blocks
  size_t held = 0;   // the same, and of blocks kept for reuse
  size_t peak = 0;   // the most `used` has been
  size_t total = 0;  // the recommended working set
};

// Memory that host and device share. Freed blocks are kept by size: the queue is in order, so that whatever the device
// still does with a block is done before what is asked of it next; the host waits for it, or goes by another block.
char* allocate(size_t nbytes);
void release(char* data, size_t nbytes);
void empty_cache();
MemoryStats memory_stats();
void upload(char* dst, const char* src, size_t nbytes);
void wait_for(const char* data);  // until the device has done all that concerns this memory

void close_device();  // waits, and gives back what is kept for later; the device can no longer be used
void synchronize();   // waits for everything; throws KernelFailure for what went wrong since the last wait
void begin(const char* op);
std::string device_name();
std::vector<std::string> probe();  // the names of the Metal devices

// What the runtime has done since the process began.
struct Counters {
  uint64_t dispatches = 0, command_buffers = 0, waits = 0, pipelines = 0;
};
Counters counters();

struct Size {
  uint64_t x = 1, y = 1, z = 1;
};

// A kernel that was written while the program runs: its name, and its source, which follows that of family "fused".
struct Written {
  std::string name, text;
};

// One dispatch: `Launch("reduce", "sum_float32").buffer(x).bytes(n).threads({n})`. Buffers and bytes take the indices
// 0, 1, ... in the order of the calls, function constants as well.
class Launch {
 public:
  Launch(const char* family, std::string kernel) : family_(family), kernel_(std::move(kernel)) {}
  explicit Launch(const Written& kernel) : family_("fused"), kernel_(kernel.name), written_(&kernel) {}

  Launch& buffer(const View& view);  // its first element
  Launch& memory(const char* data);
  template <class T> Launch& bytes(const T& value) {
    static_assert(sizeof(T) <= 4096, "setBytes takes 4 KiB");
    return raw_bytes(&value, sizeof(T));
  }
  Launch& raw_bytes(const void* data, size_t size);
  Launch& constant(int32_t value);

  void threads(Size grid, Size group = {256});  // as many threads, in groups of at most this size
  void groups(Size grid, Size group);           // as many groups of exactly this size

 private:
  struct Argument {
    const char* data;  // in device memory, if size is 0
    size_t size, start;
  };
  void dispatch(Size grid, Size group, bool exact);

  const char* family_;
  std::string kernel_;
  const Written* written_ = nullptr;
  std::vector<Argument> arguments_;
  std::string inline_bytes_;
  std::vector<int32_t> constants_;
};

// The name of a type in the names of kernels.
inline const char* name_of(DType dtype) {
  static const char* const names[] = {"bool",    "uint8",    "int8",    "int32",  "int64",
                                      "float16", "bfloat16", "float32", "float64"};
  return names[static_cast<int>(dtype)];
}

inline std::string typed(const char* kernel, DType dtype) { return std::string(kernel) + "_" + name_of(dtype); }

// Gives up Python's lock for a wait.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();

 private:
  void* state_;
};

// Kernels count elements in 32 bits.
int32_t checked_size(int64_t size);

}  // namespace needle

#endif  // NEEDLE_MSL_RUNTIME_H
