// Compilation of formulas, the cache of executables, and the memory of their operands.
#include "graphs.h"

#include <cstdio>
#include <deque>
#include <stdexcept>

namespace needle {
namespace {

// MPSNDArray at an offset came with macOS 15; MPSGraph reads whole buffers before.
#if defined(__MAC_OS_X_VERSION_MAX_ALLOWED) && __MAC_OS_X_VERSION_MAX_ALLOWED < 150000
#define NEEDLE_MPS_OFFSETS 0
#else
#define NEEDLE_MPS_OFFSETS 1
#endif
constexpr size_t kAligned = 16;  // bytes; that MPS takes less is nowhere promised

// A compiled graph, and which input and result it wants at each place: the order is its own.
struct Executable {
  Ref<MPSGraphExecutable*> compiled;
  std::vector<size_t> inputs, results;
};

Cache<Executable>& cache() {
  static Cache<Executable>* const only = new Cache<Executable>;  // never destroyed, as the device
  return *only;
}

std::vector<size_t> order_of(NSArray* wanted, NSArray* ours) {
  if (wanted.count != ours.count)
    throw std::runtime_error("mps: the compiled graph has other operands than were given");
  std::vector<size_t> order;
  for (NSUInteger i = 0; i < wanted.count; ++i) {
    const NSUInteger at = [ours indexOfObject:[wanted objectAtIndex:i]];
    if (at == NSNotFound) throw std::runtime_error("mps: the compiled graph wants a tensor that was not given");
    order.push_back(at);
  }
  return order;
}

Executable compile(const std::vector<Operand>& inputs, const std::vector<Operand>& results, const Formula& formula) {
  const Ref<MPSGraph*> graph([MPSGraph new]);
  NSMutableArray* placeholders = [NSMutableArray array];
  NSMutableDictionary* feeds = [NSMutableDictionary dictionary];
  std::vector<Tensor> values;
  for (const Operand& input : inputs) {
    const MPSDataType type = mps_type(input.view.dtype);
    NSArray* shape = numbers(input.shape);
    MPSGraphTensor* placeholder = [graph.get() placeholderWithShape:shape dataType:type name:nil];
    const Ref<MPSGraphShapedType*> shaped([[MPSGraphShapedType alloc] initWithShape:shape dataType:type]);
    [placeholders addObject:placeholder];
    [feeds setObject:shaped.get() forKey:placeholder];
    values.push_back(cast({graph.get(), placeholder}, MPSDataTypeFloat32));
  }
  const std::vector<Tensor> computed = formula(values);
  NSMutableArray* targets = [NSMutableArray array];
  for (size_t i = 0; i < results.size(); ++i) {
    [targets addObject:shaped_as(cast(computed[i], mps_type(results[i].view.dtype)), numbers(results[i].shape)).node];
  }
  MPSGraphExecutable* compiled = [graph.get() compileWithDevice:[MPSGraphDevice deviceWithMTLDevice:metal_device()]
                                                          feeds:feeds
                                                  targetTensors:targets
                                               targetOperations:nil
                                          compilationDescriptor:nil];
  if (compiled == nil) throw std::runtime_error("mps: MPSGraph does not compile");
  return {Ref<MPSGraphExecutable*>::retain(compiled), order_of(compiled.feedTensors, placeholders),
          order_of(compiled.targetTensors, targets)};
}

void add_kind(std::string& key, const std::vector<Operand>& operands) {
  for (const Operand& operand : operands) {
    key += operand.view.dtype == DType::kFloat32 ? " f32" : " f16";
    for (int64_t size : operand.shape) (key += ',') += std::to_string(size);
  }
  key += ';';
}

// The memory of an operand as graphs take it, or nothing where they cannot: at an offset that is not aligned, or,
// before macOS 15, at any.
MPSGraphTensorData* data_in_place(const Operand& operand) {
  const Place place = place_of(operand.view);
  const MPSDataType type = mps_type(operand.view.dtype);
  NSArray* shape = numbers(operand.shape);
  if (place.offset == 0) {
    return [[[MPSGraphTensorData alloc] initWithMTLBuffer:place.buffer shape:shape dataType:type] autorelease];
  }
#if NEEDLE_MPS_OFFSETS
  if (place.offset % kAligned == 0) {
    if (@available(macOS 15.0, *)) {
      if (![MPSNDArrayDescriptor instancesRespondToSelector:@selector(setPreferPackedRows:)]) return nil;
      MPSNDArrayDescriptor* packed = [MPSNDArrayDescriptor descriptorWithDataType:type shape:shape];
      packed.preferPackedRows = YES;
      const Ref<MPSNDArray*> array([[MPSNDArray alloc] initWithBuffer:place.buffer
                                                               offset:place.offset
                                                           descriptor:packed]);
      return [[[MPSGraphTensorData alloc] initWithMPSNDArray:array.get()] autorelease];
    }
  }
#endif
  return nil;
}

// The operands of one call. Those that graphs cannot take in place are copied to memory of their own, results back.
class Operands {
 public:
  Operands(const std::vector<Operand>& operands, bool are_inputs) : operands_(operands) {
    for (Operand& operand : operands_) {
      MPSGraphTensorData* data = data_in_place(operand);
      if (data == nil) {
        copies_.push_back({operand.view, Scratch(bytes_of(operand.view))});
        operand.view.data = copies_.back().scratch.data();
        if (are_inputs) copy_bytes(operand.view.data, copies_.back().view.data, bytes_of(operand.view));
        data = data_in_place(operand);
      }
      data_.push_back(data);
    }
  }

  NSArray* in_order(const std::vector<size_t>& order) const {
    NSMutableArray* array = [NSMutableArray arrayWithCapacity:order.size()];
    for (size_t i : order) [array addObject:data_[i]];
    return array;
  }

  void copy_back() const {
    for (const Copy& copy : copies_) copy_bytes(copy.view.data, copy.scratch.data(), bytes_of(copy.view));
  }

  void add_views(std::vector<View>& views) const {
    for (const Operand& operand : operands_) views.push_back(operand.view);
  }

 private:
  struct Copy {
    View view;
    Scratch scratch;
  };
  std::vector<Operand> operands_;
  std::deque<Copy> copies_;
  std::vector<MPSGraphTensorData*> data_;  // autoreleased
};

}  // namespace

bool takes(std::initializer_list<const View*> views) {
  for (const View* view : views) {
    if (!is_mps_type(view->dtype) || view->size == 0 || view->size > INT32_MAX) return false;
    if (!view->contiguous) return false;
  }
  return true;
}

void run(std::string key, const std::vector<Operand>& inputs, const std::vector<Operand>& results,
         const Formula& formula) {
  @autoreleasepool {
    add_kind(key, inputs);
    add_kind(key, results);
    const Executable& graph = cache().get(key, [&] { return compile(inputs, results, formula); });
    const Operands in(inputs, true), out(results, false);
    std::vector<View> used;
    in.add_views(used);
    out.add_views(used);
    Encoding encoding(std::move(used));
    [graph.compiled.get() encodeToCommandBuffer:encoding.commands()
                                    inputsArray:in.in_order(graph.inputs)
                                   resultsArray:out.in_order(graph.results)
                            executionDescriptor:nil];
    encoding.done();
    out.copy_back();
  }
}

std::string exactly(double parameter) {
  char text[40];
  std::snprintf(text, sizeof text, " %a", parameter);
  return text;
}

CacheCounts graph_counts() { return cache().counts(); }

void set_graph_limit(size_t limit) {
  @autoreleasepool {
    cache().set_limit(limit);
  }
}

void clear_graphs() {
  @autoreleasepool {
    cache().clear();
  }
}

}  // namespace needle
