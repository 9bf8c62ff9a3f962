// Launchers of the optimizers' steps, one dispatch a parameter, and of random numbers.
#include <cmath>

#include "ops.h"
#include "runtime.h"
#include "strides.h"

namespace needle {

void sgd_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& velocities,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  Sgd s{0, !velocities.empty(), nesterov, float(lr), float(momentum), float(dampening), float(weight_decay)};
  for (size_t i = 0; i < params.size(); ++i) {
    s.n = checked_size(params[i].size);
    Launch("optim", typed("sgd", params[i].dtype))
        .buffer(params[i])
        .buffer(grads[i])
        .buffer(velocities.empty() ? params[i] : velocities[i])
        .bytes(s)
        .threads({static_cast<uint64_t>(s.n)});
  }
}

void adam_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& means,
               const std::vector<View>& squares, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, int64_t step) {
  const double count = static_cast<double>(step);
  Adam s{0,
         decoupled,
         float(lr),
         float(beta1),
         float(beta2),
         float(eps),
         float(weight_decay),
         float(1 - std::pow(beta1, count)),
         float(1 - std::pow(beta2, count))};
  for (size_t i = 0; i < params.size(); ++i) {
    s.n = checked_size(params[i].size);
    Launch("optim", typed("adam", params[i].dtype))
        .buffer(params[i])
        .buffer(grads[i])
        .buffer(means[i])
        .buffer(squares[i])
        .bytes(s)
        .threads({static_cast<uint64_t>(s.n)});
  }
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
