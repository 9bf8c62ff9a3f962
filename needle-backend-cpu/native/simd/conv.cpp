// Convolutions as products of the windows of images with a kernel: see Patches in kernels.h.
//
// The kernel is packed into panels as wide as a tile, blocks of which stay in the second-level cache; strips of places
// go past them. A sum runs over a whole window in registers, so that it does not depend on the number of threads.
#include "caches.h"
#include "launch.h"
#include "simd/conv_tiles.h"
#include "workspace.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kParallelWork = 1 << 17;  // multiplications that are worth a second thread
constexpr int64_t kGradPlaces = 256;        // whose sum is taken in registers

inline int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

template <class T> constexpr int kPanel = kTileVectors * Vector<T>::lanes;

// A last panel of few columns is one vector wide.
template <class T> int64_t panel_width(int64_t count) {
  return count <= Vector<T>::lanes ? Vector<T>::lanes : kPanel<T>;
}

// `rows` rows of `count` columns, as out[row * width + column], padded with zeros; the steps are those of `from`.
template <class T>
void pack_panel(const T* from, int64_t row_step, int64_t column_step, int64_t rows, int64_t count, int64_t width,
                T* out) {
  using V = Vector<T>;
  if (column_step == 1) {
    for (int64_t q = 0; q < rows; ++q, from += row_step, out += width) {
      if (count == width) {
        for (int64_t v = 0; v < width; v += V::lanes) V::store(out + v, V::load(from + v));
      } else {
        for (int64_t j = 0; j < width; ++j) out[j] = j < count ? from[j] : T(0);
      }
    }
    return;
  }
  constexpr int64_t kRows = V::lanes;  // a square at a time, so that both sides stay in the first-level cache
  for (int64_t top = 0; top < rows; top += kRows) {
    const int64_t end = least(rows, top + kRows);
    for (int64_t j = 0; j < width; j += V::lanes) {
      const T* corner = from + j * column_step + top * row_step;
      if (row_step == 1 && end - top == kRows && j + V::lanes <= count) {
        typename V::type square[V::lanes];
#pragma GCC unroll 16
        for (int s = 0; s < V::lanes; ++s) square[s] = V::load(corner + s * column_step);
        transpose<T>(square);
#pragma GCC unroll 16
        for (int s = 0; s < V::lanes; ++s) V::store(out + (top + s) * width + j, square[s]);
        continue;
      }
      for (int64_t s = 0; s < V::lanes; ++s) {
        for (int64_t q = top; q < end; ++q) {
          out[q * width + j + s] = j + s < count ? corner[s * column_step + (q - top) * row_step] : T(0);
        }
      }
    }
  }
}

inline bool inside(int64_t at, int64_t size) { return at >= 0 && at < size; }

// The places of a batch in strips of kTileRows at most. A strip of one place of many images sees the same of their
// borders: runs that lie outside are not even multiplied.
struct Strips {
  const Patches& p;
  int64_t length, per_group, count;
  int64_t least_y = 0, most_y = 0, least_x = 0, most_x = 0;  // of all runs

  explicit Strips(const Patches& patches) : p(patches) {
    for (int64_t k = 0; k < p.run_count; ++k) {
      const Run& run = p.runs[k];
      if (k == 0 || run.y < least_y) least_y = run.y;
      if (k == 0 || run.y > most_y) most_y = run.y;
      if (k == 0 || run.x < least_x) least_x = run.x;
      if (k == 0 || run.x > most_x) most_x = run.x;
    }
    length = p.by_place ? p.batch : p.batch * p.rows * p.columns;
    per_group = (length + kTileRows - 1) / kTileRows;
    count = p.by_place ? per_group * p.rows * p.columns : per_group;
  }
};

// One strip: where its places lie, and what they see. Slots beyond its height repeat the first.
template <class T> struct Strip {
  using I = Vector<int64_t>;

  const Patches& p;
  int height, edges = 0;
  int edge[kTileRows];   // rows whose runs may lie outside in part
  bool interior = true;  // no run of any place lies outside
  int64_t y[kSlots], x[kSlots], pixel[kSlots], result[kTileRows];

  Strip(const Strips& all, const PatchProduct& product, int64_t index) : p(all.p) {
    const int64_t part = index % all.per_group, group = index / all.per_group;
    const int64_t first = all.length * part / all.per_group, end = all.length * (part + 1) / all.per_group;
    int64_t image = p.by_place ? first : first / (p.rows * p.columns);
    int64_t row = p.by_place ? group / p.columns : first / p.columns % p.rows;
    int64_t column = p.by_place ? group % p.columns : first % p.columns;
    height = static_cast<int>(end - first);
    for (int r = 0; r < height; ++r) {
      y[r] = row * p.step_y, x[r] = column * p.step_x;
      pixel[r] =
          address(static_cast<const T*>(p.image) + image * p.image_step + y[r] * p.line_step + x[r] * p.pixel_step);
      result[r] = image * product.image_step + row * product.line_step + column * product.place_step;
      const bool within = x[r] + all.least_x >= 0 && x[r] + all.most_x + p.run_pixels <= p.width;
      interior &= within && y[r] + all.least_y >= 0 && y[r] + all.most_y < p.height;
      if (!within) edge[edges++] = r;
      if (p.by_place) {
        ++image;
      } else if (++column == p.columns) {
        column = 0;
        if (++row == p.rows) row = 0, ++image;
      }
    }
    for (int r = height; r < kSlots; ++r) y[r] = y[0], x[r] = x[0], pixel[r] = pixel[0];
  }

  static int64_t address(const T* at) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(at)); }

  // The runs that one place at least sees inside, with zeros for the others. `space` is for the runs that are inside in
  // part.
  void see(const T* zeros, T* space, Seen<T>& seen) const {
    seen.runs = 0;
    for (int64_t k = 0; k < p.run_count; ++k) {
      const T** from = seen.from + seen.runs * kSlots;
      const bool any = interior ? see_inside(p.runs[k], from) : see_border(p.runs[k], zeros, space, from);
      if (any) seen.kernel_row[seen.runs++] = k * p.length;
    }
  }

  bool see_inside(const Run& run, const T** from) const {
    const int64_t offset = run.offset * static_cast<int64_t>(sizeof(T));
    int64_t* to = reinterpret_cast<int64_t*>(from);
    for (int r = 0; r < kSlots; r += I::lanes) I::store(to + r, I::load(pixel + r) + offset);
    return true;
  }

  bool see_border(const Run& run, const T* zeros, T*& space, const T** from) const {
    const int64_t offset = run.offset * static_cast<int64_t>(sizeof(T)), last_x = p.width - p.run_pixels;
    int64_t* to = reinterpret_cast<int64_t*>(from);
    I::type any = I::splat(0);
    for (int r = 0; r < kSlots; r += I::lanes) {
      const I::type at_y = I::load(y + r) + run.y, at_x = I::load(x + r) + run.x;
      const I::type in = (at_y >= 0) & (at_y < p.height) & (at_x >= 0) & (at_x <= last_x);
      I::store(to + r, (in & (I::load(pixel + r) + offset)) | (~in & address(zeros)));
      any |= in;
    }
    bool seen = fold<int64_t>(any, [](I::type a, I::type b) { return a | b; }) != 0;
    if (p.run_pixels == 1) return seen;
    for (int e = 0; e < edges; ++e) {
      const int r = edge[e];
      const int64_t at = x[r] + run.x, left = at < 0 ? -at : 0, right = least(p.run_pixels, p.width - at);
      if (left >= right || right - left == p.run_pixels || !inside(y[r] + run.y, p.height)) continue;
      from[r] = space;
      space = partial(reinterpret_cast<const T*>(pixel[r] + offset), left, right, space);
      seen = true;
    }
    return seen;
  }

  // The pixels from `left` to `right` of a run, and zeros for the others; returns the end.
  T* partial(const T* run, int64_t left, int64_t right, T* to) const {
    const int64_t begin = left * p.pixel_length, end = right * p.pixel_length;
    for (int64_t q = 0; q < begin; ++q) to[q] = T(0);
    for (int64_t q = begin; q < end; ++q) to[q] = run[q];
    for (int64_t q = end; q < p.length; ++q) to[q] = T(0);
    return to + p.length;
  }
};

template <class T> using WindowTile = void (*)(const Seen<T>&, const T*, T* const*, int64_t, const T*);
template <class T>
using GradTile = void (*)(const Line<T>*, int64_t, int64_t, int64_t, const T*, T*, int64_t, int64_t, bool);

// window_tile and grad_tile by their number of rows.
template <class T, int kVectors> struct ConvTiles {
  WindowTile<T> window[kTileRows + 1] = {};
  GradTile<T> grad[kTileRows + 1] = {};

  constexpr ConvTiles() { fill(typename MakeIndices<kTileRows>::type()); }

  template <int... kRow> constexpr void fill(Indices<kRow...>) {
    const WindowTile<T> windows[] = {window_tile<T, kRow + 1, kVectors>...};
    const GradTile<T> grads[] = {grad_tile<T, kRow + 1, kVectors>...};
    for (int i = 0; i < kTileRows; ++i) window[i + 1] = windows[i], grad[i + 1] = grads[i];
  }
};

template <class T> constexpr ConvTiles<T, kTileVectors> kWide{};
template <class T> constexpr ConvTiles<T, 1> kNarrow{};

// The kernel in panels, each of the rows that the runs meet one after the other.
template <class T> void pack_kernel(const PatchProduct& product, void* out) {
  const Patches& p = product.patches;
  const KernelMatrix& kernel = product.kernel;
  const int64_t inner = p.run_count * p.length, panels = (kernel.n + kPanel<T> - 1) / kPanel<T>;
  const auto pack = [&](int64_t panel) {
    const int64_t first = panel * kPanel<T>, count = least(kPanel<T>, kernel.n - first), width = panel_width<T>(count);
    for (int64_t k = 0; k < p.run_count; ++k) {
      const T* from = static_cast<const T*>(kernel.data) + p.runs[k].kernel + first * kernel.column_step;
      pack_panel(from, kernel.row_step, kernel.column_step, p.length, count, width,
                 static_cast<T*>(out) + first * inner + k * p.length * width);
    }
  };
  if (p.batch * p.rows * p.columns * inner * kernel.n < kParallelWork) {
    for (int64_t i = 0; i < panels; ++i) pack(i);
  } else {
    parallel_tasks(panels, pack);
  }
}

template <class T> int64_t kernel_packed_bytes(const PatchProduct& product) {
  const int64_t inner = product.patches.run_count * product.patches.length;
  return inner * ((product.kernel.n + kPanel<T> - 1) / kPanel<T> * kPanel<T>)*static_cast<int64_t>(sizeof(T));
}

template <class T> void convolve(const PatchProduct& product) {
  const Patches& p = product.patches;
  const KernelMatrix& kernel = product.kernel;
  const Strips strips(p);
  const int64_t inner = p.run_count * p.length, panels = (kernel.n + kPanel<T> - 1) / kPanel<T>;
  const int64_t threads = p.batch * p.rows * p.columns * inner * kernel.n < kParallelWork ? 1 : threads_here();
  const bool kept = product.packed != nullptr;
  const Workspace space(kept ? 1 : static_cast<size_t>(kernel_packed_bytes<T>(product)));
  if (!kept) pack_kernel<T>(product, space.as<void>());
  const T* const packed = kept ? static_cast<const T*>(product.packed) : space.as<T>();
  const T* const bias = static_cast<const T*>(product.bias);
  const Workspace nothing(static_cast<size_t>(p.length) * sizeof(T));
  for (int64_t i = 0; i < p.length; ++i) nothing.as<T>()[i] = T(0);

  // Panels in blocks; for each block, all strips.
  const int64_t most = caches().second / 2 / static_cast<int64_t>(sizeof(T)) / (inner * kPanel<T>);
  const int64_t per_block = least(panels, most < 1 ? 1 : most), blocks = (panels + per_block - 1) / per_block;
  const int64_t parts = threads == 1 ? 1 : least(strips.count, 8 * threads);
  const auto run = [&](int64_t task) {
    const int64_t block = task / parts, part = task % parts;
    const Workspace pointers(static_cast<size_t>(p.run_count * kSlots) * sizeof(T*));
    const Workspace rows(static_cast<size_t>(p.run_count) * sizeof(int64_t));
    const bool whole = p.run_pixels == 1;
    const Workspace partial(whole ? 1 : static_cast<size_t>(p.run_count * kTileRows * p.length) * sizeof(T));
    Seen<T> seen{pointers.as<const T*>(), rows.as<int64_t>(), 0, p.length};
    for (int64_t s = strips.count * part / parts; s < strips.count * (part + 1) / parts; ++s) {
      const Strip<T> strip(strips, product, s);
      strip.see(nothing.as<T>(), partial.as<T>(), seen);
      for (int64_t panel = block * per_block; panel < least(panels, (block + 1) * per_block); ++panel) {
        const int64_t first = panel * kPanel<T>, count = least(kPanel<T>, kernel.n - first);
        const int64_t width = panel_width<T>(count);
        T* result[kTileRows];
        for (int r = 0; r < strip.height; ++r) {
          result[r] = static_cast<T*>(product.result) + strip.result[r] + first;
        }
        const auto tile = width == kPanel<T> ? kWide<T>.window[strip.height] : kNarrow<T>.window[strip.height];
        tile(seen, packed + first * inner, result, count, bias == nullptr ? nullptr : bias + first);
      }
    }
  };
  if (threads == 1) {
    for (int64_t i = 0; i < blocks * parts; ++i) run(i);
  } else {
    parallel_tasks(blocks * parts, run);
  }
}

// Of `count` lines of places from the `first` on, those that see the run, and what of them does.
template <class T>
int64_t lines_that_see(const Patches& p, const Run& run, int64_t first, int64_t count, Line<T>* lines) {
  int64_t left = 0, right = p.columns, found = 0;
  while (left < right && !inside(left * p.step_x + run.x, p.width)) ++left;
  while (right > left && !inside((right - 1) * p.step_x + run.x, p.width)) --right;
  for (int64_t i = 0; i < count && left < right; ++i) {
    const int64_t image = (first + i) / p.rows, row = (first + i) % p.rows;
    if (!inside(row * p.step_y + run.y, p.height)) continue;
    const T* from = static_cast<const T*>(p.image) + image * p.image_step + row * p.step_y * p.line_step;
    lines[found++] = {from + left * p.step_x * p.pixel_step, right - left, i * p.columns + left};
  }
  return found;
}

// Rows of the kernel's gradient are cut into tiles within a run; tiles take their sums a group of lines at a time.
template <class T> void convolve_grad(const PatchGrad& problem) {
  const Patches& p = problem.patches;
  const KernelMatrix& dw = problem.kernel;
  const int64_t panels = (dw.n + kPanel<T> - 1) / kPanel<T>, cuts = (p.length + kTileRows - 1) / kTileRows;
  const int64_t lines = p.batch * p.rows, per_part = 1 + (kGradPlaces - 1) / p.columns;
  const int64_t work = p.run_count * p.length * dw.n * lines * p.columns;
  const int64_t threads = work < kParallelWork ? 1 : threads_here();
  const int64_t halves = least(threads, p.run_count * cuts), columns = least((threads + halves - 1) / halves, panels);

  const auto run = [&](int64_t task) {
    const int64_t begin = p.run_count * cuts * (task / columns) / halves;
    const int64_t end = p.run_count * cuts * (task / columns + 1) / halves;
    const int64_t first_panel = panels * (task % columns) / columns;
    const int64_t last_panel = panels * (task % columns + 1) / columns;
    const Workspace packed(static_cast<size_t>(per_part * p.columns * (last_panel - first_panel) * kPanel<T>) *
                           sizeof(T));
    const Workspace space(static_cast<size_t>(per_part) * sizeof(Line<T>));
    for (int64_t line = 0; line < lines; line += per_part) {
      const int64_t count = least(per_part, lines - line), places = count * p.columns;
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        const int64_t first = panel * kPanel<T>, width = least(kPanel<T>, dw.n - first);
        pack_panel(static_cast<const T*>(problem.g) + line * p.columns * problem.g_step + first, problem.g_step, 1,
                   places, width, panel_width<T>(width),
                   packed.as<T>() + (panel - first_panel) * kPanel<T> * per_part * p.columns);
      }
      int64_t seen_of = -1, found = 0;
      for (int64_t i = begin; i < end; ++i) {
        const Run& seen = p.runs[i / cuts];
        if (seen_of != i / cuts) found = lines_that_see(p, seen, line, count, space.as<Line<T>>());
        seen_of = i / cuts;
        const int64_t top = p.length * (i % cuts) / cuts, height = p.length * (i % cuts + 1) / cuts - top;
        const int64_t shift = seen.offset + top;
        for (int64_t panel = first_panel; panel < last_panel; ++panel) {
          const int64_t first = panel * kPanel<T>, width = least(kPanel<T>, dw.n - first);
          const bool wide = panel_width<T>(width) == kPanel<T>;
          const auto tile = wide ? kWide<T>.grad[height] : kNarrow<T>.grad[height];
          tile(space.as<Line<T>>(), found, shift, p.step_x * p.pixel_step,
               packed.as<T>() + (panel - first_panel) * kPanel<T> * per_part * p.columns,
               static_cast<T*>(dw.data) + seen.kernel + top * dw.row_step + first, dw.row_step, width, line == 0);
        }
      }
    }
  };
  if (threads == 1) {
    run(0);
  } else {
    parallel_tasks(halves * columns, run);
  }
}

}  // namespace

void fill_conv(Kernels& table) {
  table.convolve[0] = convolve<float>;
  table.convolve[1] = convolve<double>;
  table.kernel_packed_bytes[0] = kernel_packed_bytes<float>;
  table.kernel_packed_bytes[1] = kernel_packed_bytes<double>;
  table.pack_kernel[0] = pack_kernel<float>;
  table.pack_kernel[1] = pack_kernel<double>;
  table.convolve_grad[0] = convolve_grad<float>;
  table.convolve_grad[1] = convolve_grad<double>;
}

NEEDLE_END
