// sgd_step and adam_step: one call for all parameters, cut into pieces that threads share.
#include <algorithm>
#include <cmath>

#include "launch.h"
#include "ops.h"
#include "strided.h"

namespace needle {
namespace {

constexpr int64_t kPiece = 16384;  // elements of a parameter that one task updates

// Some of one parameter's arrays as float or double; halves are copied into scratch space and back.
class Piece {
 public:
  Piece(const View& view, int64_t begin, int64_t n) : narrow_(kernels().narrow[static_cast<int>(view.dtype)]), n_(n) {
    stored_ = bytes_at(view, begin);
    if (narrow_ != nullptr) kernels().widen[static_cast<int>(view.dtype)](stored_, scratch_.bytes, n);
  }
  void* data() { return narrow_ == nullptr ? stored_ : scratch_.bytes; }
  void store() {
    if (narrow_ != nullptr) narrow_(scratch_.bytes, stored_, n_);
  }

 private:
  void (*narrow_)(const void*, void*, int64_t);
  int64_t n_;
  unsigned char* stored_;
  Scratch scratch_;
};

// Calls f(parameter, begin, n) for pieces of all parameters, of at most kBlock elements where they are halves.
template <class F> void for_each_piece(const std::vector<View>& params, F f) {
  std::vector<int64_t> first_piece{0};
  for (const View& p : params) first_piece.push_back(first_piece.back() + (p.size + kPiece - 1) / kPiece);
  int64_t elements = 0;
  for (const View& p : params) elements += p.size;
  const auto update = [&](int64_t piece) {
    const auto after = std::upper_bound(first_piece.begin(), first_piece.end(), piece);
    const size_t which = static_cast<size_t>(after - first_piece.begin()) - 1;
    const View& p = params[which];
    const int64_t start = (piece - first_piece[which]) * kPiece, end = std::min(p.size, start + kPiece);
    const int64_t step = is_stored_as_computed(p.dtype) ? kPiece : kBlock;
    for (int64_t begin = start; begin < end; begin += step) f(which, begin, std::min(step, end - begin));
  };
  if (elements < 2 * kPiece) {
    for (int64_t piece = 0; piece < first_piece.back(); ++piece) update(piece);
  } else {
    parallel_tasks(first_piece.back(), update);
  }
}

int float_type(const View& view) { return view.dtype == DType::kFloat64 ? 1 : 0; }

}  // namespace

void sgd_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& velocities,
              double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  const SgdStep step{lr, momentum, dampening, weight_decay, nesterov};
  for_each_piece(params, [&](size_t i, int64_t begin, int64_t n) {
    Piece p(params[i], begin, n), g(grads[i], begin, n);
    const auto run = kernels().sgd[float_type(params[i])];
    if (velocities.empty()) {
      run(step, p.data(), g.data(), nullptr, n);
    } else {
      Piece v(velocities[i], begin, n);
      run(step, p.data(), g.data(), v.data(), n);
      v.store();
    }
    p.store();
  });
}

void adam_step(const std::vector<View>& params, const std::vector<View>& grads, const std::vector<View>& means,
               const std::vector<View>& squares, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, int64_t step) {
  const double t = static_cast<double>(step);
  AdamStep update{};
  update.beta1 = beta1;
  update.beta2 = beta2;
  update.eps = eps;
  update.step_size = lr / (1 - std::pow(beta1, t));
  update.root_correction = std::sqrt(1 - std::pow(beta2, t));
  update.weight_decay = decoupled ? 0 : weight_decay;
  update.keep = decoupled ? 1 - lr * weight_decay : 1;
  for_each_piece(params, [&](size_t i, int64_t begin, int64_t n) {
    Piece p(params[i], begin, n), g(grads[i], begin, n), m(means[i], begin, n), s(squares[i], begin, n);
    kernels().adam[float_type(params[i])](update, p.data(), g.data(), m.data(), s.data(), n);
    p.store();
    m.store();
    s.store();
  });
}

}  // namespace needle
