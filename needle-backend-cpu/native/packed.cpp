#include "packed.h"

#include <mutex>
#include <unordered_set>

#include "buffer.h"

namespace needle {
namespace {

constexpr size_t kMostKeys = 16;  // of one buffer; an arena of many matrices need not be remembered whole

std::atomic<size_t> all_bytes{0};

// One lock for all copies: it is held for look-ups, never while anything is packed.
struct Registry {
  std::mutex mutex;
  std::unordered_set<Copies*> holding;
};

Registry& registry() {
  static Registry* const r = new Registry;  // never destroyed: buffers may be freed while the interpreter shuts down
  return *r;
}

}  // namespace

std::shared_ptr<Packed> Packed::make(size_t nbytes) {
  static const size_t total = physical_memory();
  if (all_bytes.fetch_add(nbytes) + nbytes > total / 4) {
    all_bytes.fetch_sub(nbytes);
    return nullptr;
  }
  void* const data = system_allocate(nbytes);
  if (data == nullptr) {
    all_bytes.fetch_sub(nbytes);
    return nullptr;
  }
  return std::shared_ptr<Packed>(new Packed(data, nbytes));
}

Packed::~Packed() {
  system_free(data_);
  all_bytes.fetch_sub(nbytes_);
}

size_t packed_bytes() { return all_bytes.load(); }

void drop_packed() {
  std::unordered_set<Copies*> holding;
  {
    const std::lock_guard<std::mutex> locked(registry().mutex);
    holding = registry().holding;
  }
  for (Copies* copies : holding) copies->drop();  // called with the GIL, which no buffer dies without
}

void Copies::written() {
  version_.fetch_add(1);
  if (holds_.load()) drop();
}

void Copies::shared() {
  shared_.store(true);
  written();
}

void Copies::drop() {
  if (!holds_.load()) return;
  std::vector<Entry> entries;  // freed when the lock is not held any more
  const std::lock_guard<std::mutex> locked(registry().mutex);
  entries.swap(entries_);
  holds_.store(false);
  registry().holding.erase(this);
}

size_t Copies::nbytes() const {
  if (!holds_.load()) return 0;
  const std::lock_guard<std::mutex> locked(registry().mutex);
  size_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.copy == nullptr ? 0 : entry.copy->nbytes();
  return sum;
}

std::shared_ptr<const Packed> Copies::look_up(std::vector<int64_t>&& key, uint64_t& version, bool& again) {
  version = version_.load();
  if (shared_.load()) return nullptr;
  const std::lock_guard<std::mutex> locked(registry().mutex);
  if (seen_ != version) entries_.clear();
  seen_ = version;
  for (const Entry& entry : entries_) {
    if (entry.key != key) continue;
    again = entry.copy == nullptr;
    return entry.copy;
  }
  if (entries_.size() == kMostKeys) return nullptr;
  entries_.push_back({std::move(key), nullptr});
  if (!holds_.exchange(true)) registry().holding.insert(this);
  return nullptr;
}

bool Copies::keep(const std::vector<int64_t>& key, uint64_t version, const std::shared_ptr<const Packed>& copy) {
  const std::lock_guard<std::mutex> locked(registry().mutex);
  if (version_.load() != version || seen_ != version || shared_.load()) return false;
  for (Entry& entry : entries_) {
    if (entry.key == key) entry.copy = copy;
  }
  return true;
}

}  // namespace needle
