// METALSIM_RECORD=folder writes every dispatch with the memory that it finds, to be run again elsewhere: a line of JSON
// each in dispatches.jsonl, the bytes in data.bin. Memory is written only where it is not what earlier dispatches left.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "state.h"

namespace msl {
namespace {

uint64_t hash_of(const char* bytes, size_t size) {  // FNV-1a
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 1099511628211u;
  return hash;
}

class Recorder {
 public:
  explicit Recorder(const std::string& folder)
      : lines_(fopen((folder + "/dispatches.jsonl").c_str(), "w")),
        data_(fopen((folder + "/data.bin").c_str(), "wb")) {}
  ~Recorder() {
    if (lines_ != nullptr) fclose(lines_);
    if (data_ != nullptr) fclose(data_);
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void before(const msl_fn& f, const msl_buf bufs[31], msl_dim grid, msl_dim group, int exact) {
    if (lines_ == nullptr || data_ == nullptr) return;
    fprintf(lines_, "{\"kernel\": \"%s\", \"library\": \"%s\", \"grid\": [%u, %u, %u], \"group\": [%u, %u, %u], ",
            f.k->name, f.lib->path.c_str(), grid.x, grid.y, grid.z, group.x, group.y, group.z);
    fprintf(lines_, "\"exact\": %s, \"constants\": {", exact ? "true" : "false");
    const char* comma = "";
    int i = 0;
    for (auto* c = f.lib->fc; c->name; ++c, ++i) {
      if (f.consts[i].empty()) continue;
      fprintf(lines_, "%s\"%s\": \"", comma, c->name);
      for (unsigned char byte : f.consts[i]) fprintf(lines_, "%02x", byte);
      fputc('"', lines_);
      comma = ", ";
    }
    fprintf(lines_, "}, \"buffers\": [");
    comma = "";
    for (int a = 0; a < f.k->nargs; ++a) {
      if (f.k->args[a].kind != 0) continue;
      const msl_buf& b = bufs[f.k->args[a].index];
      fprintf(lines_, "%s{\"index\": %d, \"base\": %zu, \"length\": %zu, \"offset\": %zu, \"data\": %ld}", comma,
              f.k->args[a].index, reinterpret_cast<size_t>(b.base), b.length, b.offset, write(b));
      comma = ", ";
    }
    fprintf(lines_, "]}\n");
  }

  void after(const msl_fn& f, const msl_buf bufs[31]) {
    for (int a = 0; a < f.k->nargs; ++a) {
      if (f.k->args[a].kind != 0) continue;
      const msl_buf& b = bufs[f.k->args[a].index];
      left_[b.base] = hash_of(static_cast<const char*>(b.base), b.length);
    }
    fflush(lines_);
    fflush(data_);
  }

 private:
  // Where in the file the memory of a buffer lies, or -1 if it is as it was left.
  long write(const msl_buf& b) {
    const uint64_t hash = hash_of(static_cast<const char*>(b.base), b.length);
    const auto found = left_.find(b.base);
    if (found != left_.end() && found->second == hash) return -1;
    left_[b.base] = hash;
    const long at = ftell(data_);
    fwrite(b.base, 1, b.length, data_);
    return at;
  }

  FILE *lines_, *data_;
  std::map<const void*, uint64_t> left_;
};

// The recorder of the folder that the environment names now.
Recorder* recorder() {
  static std::unique_ptr<Recorder> current;
  static std::string folder;
  const char* wanted = getenv("METALSIM_RECORD");
  if (folder != (wanted ? wanted : "")) {
    folder = wanted ? wanted : "";
    current = folder.empty() ? nullptr : std::make_unique<Recorder>(folder);
  }
  return current.get();
}

}  // namespace

void record_before(const msl_fn& f, const msl_buf bufs[31], msl_dim grid, msl_dim group, int exact) {
  if (Recorder* r = recorder()) r->before(f, bufs, grid, group, exact);
}

void record_after(const msl_fn& f, const msl_buf bufs[31]) {
  if (Recorder* r = recorder()) r->after(f, bufs);
}

}  // namespace msl
