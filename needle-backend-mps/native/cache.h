// Compiled things by their keys, of which the least recently used go when there are too many.
#ifndef NEEDLE_MPS_CACHE_H
#define NEEDLE_MPS_CACHE_H

#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace needle {

struct CacheCounts {
  uint64_t made = 0, found = 0, dropped = 0;
};

template <class T> class Cache {
 public:
  // The entry of this key, made by `make()` at its first use. It stays until the next call.
  template <class Make> T& get(const std::string& key, Make make) {
    const auto found = places_.find(key);
    if (found != places_.end()) {
      ++counts_.found;
      entries_.splice(entries_.begin(), entries_, found->second);
      return entries_.front().second;
    }
    entries_.emplace_front(key, make());
    places_[key] = entries_.begin();
    ++counts_.made;
    shrink(limit_);
    return entries_.front().second;
  }

  void set_limit(size_t limit) {
    limit_ = limit > 0 ? limit : 1;
    shrink(limit_);
  }

  void clear() { shrink(0); }
  const CacheCounts& counts() const { return counts_; }

 private:
  void shrink(size_t size) {
    while (entries_.size() > size) {
      places_.erase(entries_.back().first);
      entries_.pop_back();
      ++counts_.dropped;
    }
  }

  std::list<std::pair<std::string, T>> entries_;
  std::unordered_map<std::string, typename std::list<std::pair<std::string, T>>::iterator> places_;
  CacheCounts counts_;
  size_t limit_ = 256;
};

}  // namespace needle

#endif  // NEEDLE_MPS_CACHE_H
