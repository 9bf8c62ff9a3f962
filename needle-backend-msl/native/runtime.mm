// The device and its queue: pipelines, dispatches, waits. What a launch asks for is encoded at once and runs later.
#import <Metal/Metal.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "device.h"
#include "sources.h"

namespace needle {

constexpr size_t kMostBuffers = 31;
constexpr uint64_t kCommitAfter = 64;  // dispatches in a command buffer: the device begins while the host goes on

Device& device() {
  static Device* const only = new Device;  // never destroyed: buffers may be freed while the interpreter shuts down
  return *only;
}

Device::Device() {
  @autoreleasepool {
    metal = Ref<id<MTLDevice>>(MTLCreateSystemDefaultDevice());
    if (!metal) throw std::runtime_error("msl: this system has no Metal device");
    queue = Ref<id<MTLCommandQueue>>([metal.get() newCommandQueue]);
  }
}

namespace {

NSString* text(const std::string& s) { return [NSString stringWithUTF8String:s.c_str()]; }

std::string reason(NSError* error) { return error ? error.localizedDescription.UTF8String : "Metal gave no reason"; }

std::string source_of(const char* family) {
  const auto source = std::find_if(std::begin(kSources), std::end(kSources),
                                   [&](const Source& s) { return std::string(s.family) == family; });
  if (source == std::end(kSources)) throw std::logic_error(std::string("msl: no kernels named ") + family);
  return source->text;
}

// Metal's default is fast math, in which NaN is not NaN. macOS 15 says it in another way.
void without_fast_math(MTLCompileOptions* options) {
#if !defined(__MAC_OS_X_VERSION_MAX_ALLOWED) || __MAC_OS_X_VERSION_MAX_ALLOWED >= 150000
  if (@available(macOS 15.0, *)) {
    options.mathMode = MTLMathModeSafe;
    return;
  }
#endif
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
  options.fastMathEnabled = NO;
#pragma clang diagnostic pop
}

// A family's source, or that of a kernel of its own, compiled at its first use.
id<MTLLibrary> library(const char* family, const Written* written) {
  auto& made = device().libraries[written != nullptr ? written->name : family];
  if (made) return made.get();
  const Ref<MTLCompileOptions*> options([MTLCompileOptions new]);
  without_fast_math(options.get());
  NSError* error = nil;
  made = Ref<id<MTLLibrary>>([device().metal.get()
      newLibraryWithSource:text(source_of(family) + (written != nullptr ? written->text : ""))
                   options:options.get()
                     error:&error]);
  if (!made) {
    const std::string what = std::string("the Metal source of ") + family + " does not compile: ";
    throw KernelFailure(device().op, what + reason(error));
  }
  return made.get();
}

id<MTLComputePipelineState> pipeline(const char* family, const std::string& kernel, const Written* written,
                                     const std::vector<int32_t>& constants) {
  std::string key = kernel;
  for (int32_t value : constants) (key += ':') += std::to_string(value);
  auto& made = device().pipelines[key];
  if (made) return made.get();
  const Ref<MTLFunctionConstantValues*> values([MTLFunctionConstantValues new]);
  for (size_t i = 0; i < constants.size(); ++i) {
    [values.get() setConstantValue:&constants[i] type:MTLDataTypeInt atIndex:i];
  }
  NSError* error = nil;
  const Ref<id<MTLFunction>> function([library(family, written) newFunctionWithName:text(kernel)
                                                                     constantValues:values.get()
                                                                              error:&error]);
  if (!function) throw KernelFailure(kernel, "no such kernel: " + reason(error));
  made = Ref<id<MTLComputePipelineState>>([device().metal.get() newComputePipelineStateWithFunction:function.get()
                                                                                              error:&error]);
  if (!made) throw KernelFailure(kernel, "its pipeline cannot be made: " + reason(error));
  ++device().counters.pipelines;
  return made.get();
}

void open_commands() {
  Device& d = device();
  if (d.open.commands) return;
  d.open.commands = Ref<id<MTLCommandBuffer>>::retain([d.queue.get() commandBuffer]);
  if (!d.open.commands) throw KernelFailure(d.op, "the device gives no command buffer; it may have been lost");
}

void open_encoder() {
  Device& d = device();
  if (d.encoder) return;
  open_commands();
  d.encoder = Ref<id<MTLComputeCommandEncoder>>::retain([d.open.commands.get() computeCommandEncoder]);
  if (!d.encoder) throw std::runtime_error("msl: the device gives no encoder; it may have been lost");
}

void end_encoder() {
  Device& d = device();
  if (d.encoder) [d.encoder.get() endEncoding];
  d.encoder = {};
}

// The open command buffer was committed: it flies, and the next one is opened when something is encoded.
void take_off() {
  Device& d = device();
  d.flight.push_back(std::move(d.open));
  d.open = {};
  d.encoded = 0;
  ++d.serial;
  ++d.counters.command_buffers;
}

void commit() {
  Device& d = device();
  if (!d.open.commands) return;
  end_encoder();
  [d.open.commands.get() commit];
  take_off();
}

void count_dispatch(const char* op) {
  Device& d = device();
  if (d.open.ops.empty() || d.open.ops.back() != op) d.open.ops.push_back(op);
  ++d.counters.dispatches;
  if (++d.encoded >= kCommitAfter) commit();
}

MTLSize size_of(Size size) { return MTLSizeMake(size.x, size.y, size.z); }

// "softmax", or "softmax and 3 others" where the device does not tell which one failed.
std::string names(const std::vector<const char*>& ops) {
  if (ops.empty()) return "msl";
  return ops.size() == 1 ? ops[0] : ops.back() + (" or one of " + std::to_string(ops.size() - 1) + " ops before it");
}

}  // namespace

void begin(const char* op) { device().op = op; }

std::string device_name() { return device().metal.get().name.UTF8String; }

std::vector<std::string> probe() {
  @autoreleasepool {
    const Ref<id<MTLDevice>> found(MTLCreateSystemDefaultDevice());
    return found ? std::vector<std::string>{found.get().name.UTF8String} : std::vector<std::string>{};
  }
}

Counters counters() { return device().counters; }

void synchronize() {
  Device& d = device();
  @autoreleasepool {
    commit();
    if (d.flight.empty()) return;
    std::vector<Submission> flight = std::move(d.flight);
    d.flight.clear();
    const uint64_t serial = d.serial;
    ++d.counters.waits;
    {
      const WithoutGil unlocked;
      [flight.back().commands.get() waitUntilCompleted];  // the queue is in order
    }
    d.done = std::max(d.done, serial);
    for (const Submission& s : flight) {
      if (s.commands.get().status == MTLCommandBufferStatusError) {
        throw KernelFailure(names(s.ops), reason(s.commands.get().error));
      }
    }
  }
}

void close_device() {
  synchronize();
  Device& d = device();
  @autoreleasepool {
    empty_cache();
    d.pipelines.clear();
    d.libraries.clear();
    d.queue = {};
    d.metal = {};
  }
}

Launch& Launch::buffer(const View& view) {
  checked_size(view.size);
  return memory(static_cast<const char*>(view.data));
}

Launch& Launch::memory(const char* data) {
  arguments_.push_back({data, 0, 0});
  return *this;
}

Launch& Launch::raw_bytes(const void* data, size_t size) {
  arguments_.push_back({nullptr, size, inline_bytes_.size()});
  inline_bytes_.append(static_cast<const char*>(data), size);
  return *this;
}

Launch& Launch::constant(int32_t value) {
  constants_.push_back(value);
  return *this;
}

void Launch::threads(Size grid, Size group) {
  if (grid.x * grid.y * grid.z != 0) dispatch(grid, group, true);
}

void Launch::groups(Size grid, Size group) {
  if (grid.x * grid.y * grid.z != 0) dispatch(grid, group, false);
}

void Launch::dispatch(Size grid, Size group, bool exact) {
  Device& d = device();
  @autoreleasepool {
    id<MTLComputePipelineState> state = pipeline(family_, kernel_, written_, constants_);
    if (arguments_.size() > kMostBuffers) {
      throw KernelFailure(kernel_, "takes " + std::to_string(arguments_.size()) + " buffers, and Metal binds 31");
    }
    const uint64_t limit = state.maxTotalThreadsPerThreadgroup, wanted = group.x * group.y * group.z;
    if (wanted > limit && exact) group = {limit};
    if (wanted > limit && !exact) {
      throw KernelFailure(kernel_, "needs " + std::to_string(wanted) + " threads in a group, this device runs " +
                                       std::to_string(limit));
    }
    open_encoder();
    id<MTLComputeCommandEncoder> encoder = d.encoder.get();
    [encoder setComputePipelineState:state];
    NSUInteger index = 0;
    for (const Argument& argument : arguments_) {
      if (argument.size > 0) {
        [encoder setBytes:inline_bytes_.data() + argument.start length:argument.size atIndex:index++];
        continue;
      }
      Block& block = block_at(argument.data);
      block.last_use = d.serial + 1;
      [encoder setBuffer:block.memory.get() offset:NSUInteger(argument.data - block.data) atIndex:index++];
    }
    if (exact) {
      [encoder dispatchThreads:size_of(grid) threadsPerThreadgroup:size_of(group)];
    } else {
      [encoder dispatchThreadgroups:size_of(grid) threadsPerThreadgroup:size_of(group)];
    }
    count_dispatch(std::strcmp(d.op, "sequence") == 0 ? family_ : d.op);  // many ops in one call: their families
  }
}

id<MTLCommandBuffer> commands_without_encoder() {
  open_commands();
  end_encoder();
  return device().open.commands.get();
}

void count_encoded(id<MTLCommandBuffer> commands, id<MTLCommandBuffer> now) {
  Device& d = device();
  if (now != commands) {
    d.open.ops.push_back(d.op);
    take_off();
    d.open.commands = Ref<id<MTLCommandBuffer>>::retain(now);
  }
  count_dispatch(d.op);
}

int32_t checked_size(int64_t size) {
  if (size <= INT32_MAX) return static_cast<int32_t>(size);
  throw std::invalid_argument("msl: arrays have at most 2147483647 elements, this one has " + std::to_string(size));
}

}  // namespace needle
