// Launchers of the optimizers' steps and of random numbers.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {

namespace {

// Runs `kernel` for all parameters, `arrays[j][i]` being the j-th array of parameter i: as many as can be bound in one
// dispatch. Places that stay over are bound to the first array.
template <class Numbers>
void step(const char* kernel, std::initializer_list<const std::vector<View>*> arrays, const Numbers& numbers) {
  const std::vector<View>& params = **arrays.begin();
  const size_t most = MOST_ARRAYS / arrays.size();
  for (size_t begin = 0; begin < params.size(); begin += most) {
    const size_t end = std::min(params.size(), begin + most);
    Launch launch("optim", typed(kernel, params[begin].dtype));
    Parts parts{};
    int32_t groups = 0;
    for (size_t i = begin; i < end; ++i) {
      for (const std::vector<View>* array : arrays) launch.buffer((*array)[i]);
      parts.first[parts.count] = groups;
      parts.n[parts.count++] = checked_size(params[i].size);
      groups += static_cast<int32_t>((params[i].size + CHUNK - 1) / CHUNK);
    }
    for (size_t bound = (end - begin) * arrays.size(); bound < MOST_ARRAYS; ++bound) launch.buffer(params[begin]);
    launch.bytes(numbers).bytes(parts).groups({static_cast<uint64_t>(groups)}, {256});
  }
}

}  // namespace

void sgd_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& velocities,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  const Sgd s{!velocities.empty(), nesterov, float(lr), float(momentum), float(dampening), float(weight_decay)};
  if (velocities.empty()) {
    step("sgd", {&params, &grads}, s);
  } else {
    step("sgd", {&params, &grads, &velocities}, s);
  }
}

void adam_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& means,
               const std::vector<View>& squares, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, int64_t step_count) {
  const double count = static_cast<double>(step_count);
  const Adam s{decoupled,
               float(lr),
               float(beta1),
               float(beta2),
               float(eps),
               float(weight_decay),
               float(1 - std::pow(beta1, count)),
               float(1 - std::pow(beta2, count))};
  step("adam", {&params, &grads, &means, &squares}, s);
}

void random(Random kind, const View& dst, uint64_t seed, uint64_t offset) {
  const Draw d{
      {uint32_t(seed), uint32_t(seed >> 32)}, {uint32_t(offset), uint32_t(offset >> 32)}, checked_size(dst.size)};
  Launch("random", "draw")
      .buffer(dst)
      .bytes(d)
      .constant(static_cast<int32_t>(kind))
      .threads({uint64_t(dst.size + 3) / 4});
}

}  // namespace needle
