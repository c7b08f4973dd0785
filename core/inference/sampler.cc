#include "core/inference/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "core/base/clones.h"
#include "core/inference/fixed_exp.h"
#include "volery/nn/pool.h"

namespace volery::inference {
namespace {

constexpr int64_t kBlock = 64;       // ids that share one noise threshold
constexpr int64_t kSumBlock = 1024;  // terms that are added in float32 before they go to the double sum
constexpr int kLanes = 16;
constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// Divides by `temperature` into z and returns the largest of each block of kBlock ids in `maxima`. A NaN or
// +inf anywhere makes the result false. `count` is a multiple of kBlock; the caller pads with -inf.
VOLERY_CLONES bool ScaleAndMax(const float* logits, int64_t count, float temperature, float* z,
                               float* maxima) {
  Int16Lanes bad = {};
  for (int64_t block = 0; block < count; block += kBlock) {
    Float16Lanes largest;
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      Float16Lanes x;
      std::memcpy(&x, logits + block + i, sizeof x);
      x = x / temperature;
      std::memcpy(z + block + i, &x, sizeof x);
      bad |= ~(x <= std::numeric_limits<float>::max());
      largest = i == 0 ? x : (x > largest ? x : largest);
    }
    float top = largest[0];
    for (int lane = 1; lane < kLanes; ++lane) top = std::max(top, largest[lane]);
    maxima[block / kBlock] = top;
  }
  int32_t any = 0;
  for (int lane = 0; lane < kLanes; ++lane) any |= bad[lane];
  return any == 0;
}

// Sum of exp(z - shift) over a multiple of kLanes entries: lanes of float32 inside a block, blocks in double.
VOLERY_CLONES double SumExp(const float* z, int64_t count, float shift) {
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    const int64_t end = std::min(count, begin + kSumBlock);
    Float16Lanes sum = {};
    for (int64_t i = begin; i < end; i += kLanes) {
      Float16Lanes x;
      std::memcpy(&x, z + i, sizeof x);
      x = x - shift;
      ExpInPlace<Float16Lanes, Int16Lanes>(x);
      sum += x;
    }
    double block = 0;
    for (int lane = 0; lane < kLanes; ++lane) block += static_cast<double>(sum[lane]);
    total += block;
  }
  return total;
}

int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// For each value of a word's top ten bits, no word of that bucket has more noise than this.
class NoiseBounds {
 public:
  static const NoiseBounds& Get() {
    static const NoiseBounds bounds;
    return bounds;
  }
  // The smallest word that could have noise of at least `needed`; false if none has.
  bool Threshold(double needed, uint32_t& word) const {
    const auto found = std::lower_bound(bounds_.begin(), bounds_.end(), needed);
    if (found == bounds_.end()) return false;
    word = static_cast<uint32_t>(found - bounds_.begin()) << kShift;
    return true;
  }

 private:
  static constexpr int kBits = 10, kShift = 32 - kBits;
  NoiseBounds() {
    for (uint32_t bucket = 0; bucket < bounds_.size(); ++bucket) {
      bounds_[bucket] = base::GumbelFromWord(bucket << kShift | ((1u << kShift) - 1)) + 1e-9;
    }
  }
  std::array<double, 1u << kBits> bounds_;
};

struct Winner {
  int32_t id = -1;
  double score = 0;
  void Offer(int32_t candidate, double candidate_score) {
    if (id < 0 || candidate_score > score || (candidate_score == score && candidate < id)) {
      id = candidate;
      score = candidate_score;
    }
  }
};

struct Scratch {
  std::vector<float> z, maxima;
  std::vector<int32_t> ids;
};

base::RandomStream StreamOf(const NoiseKey& key) {
  return base::RandomStream(key.seed, base::RandomUse::kToken, key.group.bits,
                            static_cast<uint32_t>(key.sample));
}

uint64_t FirstWord(const NoiseKey& key) {
  return static_cast<uint64_t>(key.position) << 32;
}

int32_t FirstOfLargest(const Scratch& s) {
  const auto block = std::max_element(s.maxima.begin(), s.maxima.end()) - s.maxima.begin();
  const float* z = s.z.data() + block * kBlock;
  return static_cast<int32_t>(block * kBlock + (std::max_element(z, z + kBlock) - z));
}

// Argmax of z + noise over the whole vocabulary. A block is skipped when its largest z can't win with the
// largest noise there is; in other blocks exact noise is computed only for words above the threshold.
int32_t ArgmaxWithNoise(const Scratch& s, int64_t vocabulary, const NoiseKey& key) {
  const base::RandomStream stream = StreamOf(key);
  const uint64_t first = FirstWord(key);
  const NoiseBounds& bounds = NoiseBounds::Get();
  Winner best;
  const int32_t start = FirstOfLargest(s);
  best.Offer(start, static_cast<double>(s.z[start]) + base::GumbelFromWord(stream.Word(first + start)));
  std::array<uint32_t, kBlock> words;
  for (int64_t block = 0; block < vocabulary; block += kBlock) {
    uint32_t threshold;
    if (!bounds.Threshold(best.score - static_cast<double>(s.maxima[block / kBlock]), threshold)) continue;
    const int64_t count = std::min(kBlock, vocabulary - block);
    stream.Words(first + block, words.data(), static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      if (words[i] < threshold) continue;
      const float z = s.z[block + i];
      if (z != kNegativeInfinity)
        best.Offer(static_cast<int32_t>(block + i), static_cast<double>(z) + base::GumbelFromWord(words[i]));
    }
  }
  return best.id;
}

// Leaves in s.ids, ascending, every id whose z is at least the `blocks`-th largest maximum of a block: at
// least `blocks` ids, and no id left out has a larger z than one taken. Everything but -inf where there are
// fewer blocks.
void TakeLargest(Scratch& s, size_t blocks) {
  float least = -std::numeric_limits<float>::max();
  if (blocks <= s.maxima.size()) {
    std::vector<float> maxima = s.maxima;
    std::nth_element(maxima.begin(), maxima.begin() + static_cast<ptrdiff_t>(blocks) - 1, maxima.end(),
                     std::greater<float>());
    least = std::max(least, maxima[blocks - 1]);
  }
  s.ids.clear();
  for (size_t block = 0; block < s.maxima.size(); ++block) {
    if (s.maxima[block] < least) continue;
    for (size_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
      if (s.z[i] >= least) s.ids.push_back(static_cast<int32_t>(i));
    }
  }
}

// Cuts s.ids, in descending order of z, where their weights reach `wanted`; false if all together don't.
template <class Weight>
bool CutAt(std::vector<int32_t>& ids, double wanted, const Weight& weight) {
  double sum = 0;
  for (size_t kept = 0; kept < ids.size(); ++kept) {
    if (kept > 0 && sum >= wanted) {
      ids.resize(kept);
      return true;
    }
    sum += weight(ids[kept]);
  }
  return sum >= wanted;
}

// Leaves in s.ids the ids that top-k, top-p and min-p keep, in no particular order. `total`: sum of exp(z -
// largest z).
void KeepIds(Scratch& s, const data::SamplingParams& params, double total) {
  const auto before = [&s](int32_t a, int32_t b) { return s.z[a] != s.z[b] ? s.z[a] > s.z[b] : a < b; };
  const float largest = *std::max_element(s.maxima.begin(), s.maxima.end());
  const auto weight = [&](int32_t id) { return static_cast<double>(FixedExp(s.z[id] - largest)); };
  constexpr size_t kAll = std::numeric_limits<size_t>::max();
  const size_t top_k = static_cast<size_t>(params.top_k);
  const double top_p = static_cast<double>(params.top_p);
  if (top_k > 0) {
    TakeLargest(s, top_k);
    std::sort(s.ids.begin(), s.ids.end(), before);
    s.ids.resize(std::min(s.ids.size(), top_k));
    total = 0;
    for (int32_t id : s.ids) total += weight(id);
    if (top_p < 1) CutAt(s.ids, top_p * total, weight);
  } else if (top_p < 1) {
    for (size_t blocks = 16;; blocks *= 8) {
      const bool all = blocks > s.maxima.size();
      TakeLargest(s, all ? kAll : blocks);
      std::sort(s.ids.begin(), s.ids.end(), before);
      if (CutAt(s.ids, top_p * total, weight) || all) break;
    }
  } else {
    TakeLargest(s, kAll);
  }
  if (params.min_p > 0) {
    std::erase_if(s.ids, [&](int32_t id) { return weight(id) < static_cast<double>(params.min_p); });
  }
}

int32_t ArgmaxOverKept(Scratch& s, const SampleRow& row, double total) {
  KeepIds(s, *row.params, total);
  const base::RandomStream stream = StreamOf(row.key);
  const uint64_t first = FirstWord(row.key);
  Winner best;
  for (int32_t id : s.ids)
    best.Offer(id, static_cast<double>(s.z[id]) + base::GumbelFromWord(stream.Word(first + id)));
  return best.id;
}

SampledToken SampleOne(const SampleRow& row, int64_t vocabulary, Scratch& s) {
  const data::SamplingParams& params = *row.params;
  const int64_t whole = vocabulary / kBlock * kBlock, padded = RoundUp(vocabulary, kBlock);
  s.z.resize(padded);
  s.maxima.resize(padded / kBlock);
  const float temperature = params.temperature == 0 ? 1 : params.temperature;
  bool finite = ScaleAndMax(row.logits, whole, temperature, s.z.data(), s.maxima.data());
  if (whole < vocabulary) {
    std::array<float, kBlock> tail;
    tail.fill(kNegativeInfinity);
    std::copy(row.logits + whole, row.logits + vocabulary, tail.begin());
    finite =
        ScaleAndMax(tail.data(), kBlock, temperature, s.z.data() + whole, s.maxima.data() + whole / kBlock) &&
        finite;
  }
  const float largest = *std::max_element(s.maxima.begin(), s.maxima.end());
  if (!finite || largest == kNegativeInfinity) return {};
  SampledToken result;
  const double total = SumExp(s.z.data(), padded, largest);
  const bool truncated = params.top_k > 0 || params.top_p < 1 || params.min_p > 0;
  result.token = params.temperature == 0 ? FirstOfLargest(s)
                 : truncated             ? ArgmaxOverKept(s, row, total)
                                         : ArgmaxWithNoise(s, vocabulary, row.key);
  const double log_sum = static_cast<double>(largest) + base::FixedLog(total);
  result.logprob = static_cast<float>(static_cast<double>(s.z[result.token]) - log_sum);
  return result;
}

}  // namespace

void SampleTokens(std::span<const SampleRow> rows, int64_t vocabulary, std::span<SampledToken> out) {
  VOLERY_CHECK(rows.size() == out.size() && vocabulary > 0);
  nn::ForRows(static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t i = begin; i < end; ++i) out[i] = SampleOne(rows[i], vocabulary, scratch);
  });
}

double LogSumExp(std::span<const float> z) {
  std::vector<float> padded(RoundUp(static_cast<int64_t>(z.size()), kBlock), kNegativeInfinity);
  std::copy(z.begin(), z.end(), padded.begin());
  std::vector<float> scaled(padded.size()), maxima(padded.size() / kBlock);
  if (!ScaleAndMax(padded.data(), static_cast<int64_t>(padded.size()), 1, scaled.data(), maxima.data())) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const float largest = maxima.empty() ? kNegativeInfinity : *std::max_element(maxima.begin(), maxima.end());
  if (largest == kNegativeInfinity) return kNegativeInfinity;
  return static_cast<double>(largest) +
         base::FixedLog(SumExp(padded.data(), static_cast<int64_t>(padded.size()), largest));
}

Status CheckSamplingParams(const data::SamplingParams& params, int64_t vocabulary) {
  const auto refuse = [](const char* what, auto value, const char* allowed) {
    return InvalidError("sampling: ", what, " = ", value, "; allowed: ", allowed);
  };
  if (!(params.temperature >= 0) || std::isinf(params.temperature))
    return refuse("temperature", params.temperature, "0 or more");
  if (params.temperature > 0 && params.temperature < 1e-3f) {
    return refuse("temperature", params.temperature, "0 (greedy) or at least 0.001");
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) return refuse("top_p", params.top_p, "above 0 up to 1");
  if (!(params.min_p >= 0 && params.min_p <= 1)) return refuse("min_p", params.min_p, "0 to 1");
  if (params.top_k < 0) return refuse("top_k", params.top_k, "0 (off) or more");
  if (params.max_new_tokens < 1) return refuse("max_new_tokens", params.max_new_tokens, "1 or more");
  for (int32_t id : params.stop_ids) {
    if (id < 0 || id >= vocabulary) {
      return InvalidError("sampling: stop id ", id, " is not in the vocabulary of ", vocabulary, " tokens");
    }
  }
  return OkStatus();
}

}  // namespace volery::inference
