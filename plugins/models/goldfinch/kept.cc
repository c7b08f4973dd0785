#include "kept.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "volery/nn/tiled_attention.h"
#include "volery/nn/token_shift.h"

namespace volery::goldfinch {
namespace {

std::vector<int64_t> Range(int64_t begin, int64_t count) {
  std::vector<int64_t> out(count);
  std::iota(out.begin(), out.end(), begin);
  return out;
}

// Rows that each have their own before them.
MixRows With(const at::Tensor& before) {
  return [&before](const at::Tensor& z, const nn::MixStream& stream) {
    return nn::MixRows(z, before, {stream}, nn::MuOf::kBefore)[0];
  };
}

}  // namespace

KeptSlot::Remembered::Remembered(std::vector<int64_t> numbers, at::Device device) {
  for (size_t i = 0; i < numbers.size(); i++) {
    if (numbers[i] >= 0) continue;
    missing.push_back(static_cast<int64_t>(i));
    numbers[i] = 0;
  }
  index = IndexTensor(numbers, device);
}

std::vector<int64_t> KeptSlot::Remembered::MissingIn(int64_t begin, int64_t count) const {
  const auto first = std::lower_bound(missing.begin(), missing.end(), begin),
             last = std::lower_bound(first, missing.end(), begin + count);
  std::vector<int64_t> out(first, last);
  for (int64_t& position : out) position -= begin;
  return out;
}

KeptSlot::KeptSlot(const Config& config, const Ends& ends, const std::vector<Layer>& layers,
                   const at::Tensor& embeddings, Memo& memo, CacheMode mode, const at::Tensor& tokens,
                   const at::Tensor& rows)
    : c_(config), embeddings_(embeddings), memo_(memo) {
  const at::Tensor host = tokens.to(at::kCPU).contiguous();
  tokens_.assign(host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.size(0));
  proto_keys_ = mode == CacheMode::kProtoKeys ? rows : ProtoKeysOf(ends, rows);
  std::vector<uint64_t> keys;
  for (size_t t = 0; t < tokens_.size(); t++) keys.push_back(PairKey(t > 0 ? tokens_[t - 1] : -1, tokens_[t]));
  const auto make = [&](std::span<const int64_t> positions) {
    const Pairs pairs = PairsAt(positions);
    std::vector<at::Tensor> parts;
    for (int64_t i = c_.first_upper; i < c_.layers; i++) {
      const GoldPairs made = Made(layers[i], pairs);
      parts.insert(parts.end(), {made.key_mix, made.v});
    }
    return parts;
  };
  pairs_ = Remembered(memo_.pairs.Find(keys, memo_.most_pairs(), make), rows.device());
}

at::Tensor KeptSlot::ProtoKeysOf(const Ends& ends, const at::Tensor& compressed) const {
  const int64_t tokens = compressed.size(0);
  at::Tensor out = at::empty({tokens, c_.width}, compressed.options());
  Remembered remembered;
  if (ends.cut()) {
    const std::vector<uint64_t> keys(tokens_.begin(), tokens_.end());
    const auto make = [&](std::span<const int64_t> positions) {
      return std::vector{TokenPart(ends, Embedded(positions, 0))};
    };
    remembered = Remembered(memo_.tokens.Find(keys, memo_.most_tokens(), make), compressed.device());
  }
  for (int64_t begin = 0; begin < tokens; begin += RowMemo::kBatch) {
    const int64_t count = std::min(RowMemo::kBatch, tokens - begin);
    const at::Tensor part = compressed.narrow(0, begin, count);
    const auto keys = [&] {
      if (!ends.cut()) return ProtoKeys(ends, Embedded(Range(begin, count), 0), part);
      std::vector<int64_t> missing = remembered.MissingIn(begin, count);
      if (static_cast<int64_t>(missing.size()) == count)
        return ProtoKeysOfParts(ends, TokenPart(ends, Embedded(Range(begin, count), 0)), part);
      const at::Tensor token = memo_.tokens.Rows(0, remembered.index.narrow(0, begin, count));
      if (!missing.empty()) {
        const at::Tensor rows = IndexTensor(missing, token.device());
        for (int64_t& position : missing) position += begin;
        token.index_copy_(0, rows, TokenPart(ends, Embedded(missing, 0)));
      }
      return ProtoKeysOfParts(ends, token, part);
    };
    out.narrow(0, begin, count).copy_(keys());
  }
  return out;
}

// x0 of the tokens `shift` before these positions; zero before the first.
at::Tensor KeptSlot::Embedded(std::span<const int64_t> positions, int64_t shift) const {
  std::vector<int64_t> ids, none;
  for (size_t i = 0; i < positions.size(); i++) {
    const int64_t at = positions[i] - shift;
    if (at < 0) none.push_back(static_cast<int64_t>(i));
    ids.push_back(at < 0 ? 0 : tokens_[at]);
  }
  const at::Tensor rows = embeddings_.index_select(0, IndexTensor(ids, embeddings_.device()));
  if (!none.empty()) rows.index_fill_(0, IndexTensor(none, rows.device()), 0);
  return rows;
}

KeptSlot::Pairs KeptSlot::PairsAt(std::span<const int64_t> positions) const {
  return {UnitEmbedding(Embedded(positions, 0)), UnitEmbedding(Embedded(positions, 1))};
}

GoldPairs KeptSlot::Made(const Layer& layer, const Pairs& pairs) const {
  return GoldPairsOf(c_, layer, pairs.embedded, With(pairs.before));
}

GoldPairs KeptSlot::PairsOfTile(const Layer& layer, int64_t begin, int64_t count) const {
  std::vector<int64_t> missing = pairs_.MissingIn(begin, count);
  if (static_cast<int64_t>(missing.size()) == count) return Made(layer, PairsAt(Range(begin, count)));
  const size_t part = static_cast<size_t>(layer.index - c_.first_upper) * 2;
  const at::Tensor index = pairs_.index.narrow(0, begin, count);
  const GoldPairs out{memo_.pairs.Rows(part, index), memo_.pairs.Rows(part + 1, index)};
  if (missing.empty()) return out;
  const at::Tensor rows = IndexTensor(missing, index.device());
  for (int64_t& position : missing) position += begin;
  const GoldPairs made = Made(layer, PairsAt(missing));
  out.key_mix.index_copy_(0, rows, made.key_mix);
  out.v.index_copy_(0, rows, made.v);
  return out;
}

at::Tensor KeptSlot::Attend(const Layer& layer, const at::Tensor& q, const nn::RotaryRows& rotary,
                            double scale) const {
  const int64_t tokens = proto_keys_.size(0), queries = q.size(0);
  nn::TiledAttention attention(q, c_.heads(), Range(tokens - queries + 1, queries), scale);
  const at::Tensor first = at::zeros({1, c_.width}, proto_keys_.options());
  for (int64_t begin = 0; begin < tokens; begin += nn::TiledAttention::kTile) {
    const int64_t count = std::min(nn::TiledAttention::kTile, tokens - begin);
    const at::Tensor before = begin > 0 ? proto_keys_.narrow(0, begin - 1, count)
                                        : at::cat({first, proto_keys_.narrow(0, 0, count - 1)});
    nn::RotaryRows part;
    if (rotary.cos.defined()) part = {rotary.cos.narrow(0, begin, count), rotary.sin.narrow(0, begin, count)};
    const GoldPairs pairs = PairsOfTile(layer, begin, count);
    attention.Add(
        GoldKeys(c_, layer, proto_keys_.narrow(0, begin, count), pairs.key_mix, part, With(before)), pairs.v);
  }
  return attention.Result();
}

}  // namespace volery::goldfinch
