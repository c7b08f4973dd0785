#include "kept.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "volery/nn/tiled_attention.h"
#include "volery/nn/token_shift.h"

namespace volery::goldfinch {
namespace {

at::Tensor Index(std::span<const int64_t> list, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(list.data(), list.size()), at::kLong).to(device);
}

// Rows that each have their own before them.
class RowOps final : public LayerOps {
 public:
  RowOps(const Config& c, at::Tensor before) : LayerOps(c), before_(std::move(before)) {}
  std::vector<at::Tensor> Mix(Shift, int64_t, const at::Tensor& z, const std::vector<nn::MixStream>& streams,
                              bool) override {
    return nn::MixRows(z, before_, streams, nn::MuOf::kBefore);
  }
  at::Tensor Scan(int64_t, const nn::WkvInputs&) override {
    throw std::logic_error("past tokens are not read again");
  }
  at::Tensor Attend(int64_t, const at::Tensor&, const at::Tensor&, const at::Tensor&) override {
    throw std::logic_error("past tokens have no queries");
  }

 private:
  at::Tensor before_;
};

std::vector<int64_t> Positions(int64_t begin, int64_t count) {
  std::vector<int64_t> out(count);
  std::iota(out.begin(), out.end(), begin);
  return out;
}

}  // namespace

KeptSlot::KeptSlot(const Config& config, const Ends& ends, const at::Tensor& embeddings, Memo& memo,
                   CacheMode mode, const at::Tensor& tokens, const at::Tensor& rows,
                   const std::vector<Layer>& layers)
    : c_(config), embeddings_(embeddings), memo_(memo) {
  const at::Tensor host = tokens.to(at::kCPU).contiguous();
  tokens_.assign(host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.size(0));
  proto_keys_ = mode == CacheMode::kProtoKeys ? rows : ProtoKeysOf(ends, rows);
  std::vector<uint64_t> keys;
  for (size_t t = 0; t < tokens_.size(); t++) keys.push_back(PairKey(t > 0 ? tokens_[t - 1] : -1, tokens_[t]));
  pairs_ = memo_.pairs.Find(keys, memo_.most_pairs(), [&](std::span<const int64_t> positions) {
    std::vector<at::Tensor> parts;
    for (int64_t i = c_.first_upper; i < c_.layers; i++) {
      const GoldPairs made = PairsAt(layers[i], {positions.begin(), positions.end()});
      parts.insert(parts.end(), {made.key_mix, made.v});
    }
    return parts;
  });
}

at::Tensor KeptSlot::ProtoKeysOf(const Ends& ends, const at::Tensor& compressed) {
  const int64_t count = compressed.size(0);
  at::Tensor out = at::empty({count, c_.width}, compressed.options());
  std::vector<int64_t> found(count, -1);
  if (ends.cut())
    found = memo_.tokens.Find(std::vector<uint64_t>(tokens_.begin(), tokens_.end()), memo_.most_tokens(),
                              [&](std::span<const int64_t> positions) {
                                return std::vector{
                                    TokenPart(ends, Embedded({positions.begin(), positions.end()}, 0))};
                              });
  for (int64_t begin = 0; begin < count; begin += RowMemo::kBatch) {
    const int64_t now = std::min(RowMemo::kBatch, count - begin);
    const at::Tensor part = compressed.narrow(0, begin, now);
    const std::span<const int64_t> numbers = std::span(found).subspan(begin, now);
    const bool all = std::find(numbers.begin(), numbers.end(), -1) == numbers.end();
    out.narrow(0, begin, now)
        .copy_(all ? ProtoKeysOfParts(ends, memo_.tokens.Rows(0, numbers), part)
                   : ProtoKeys(ends, Embedded(Positions(begin, now), 0), part));
  }
  return out;
}

// x0 of the tokens `shift` before these positions; zero before the first.
at::Tensor KeptSlot::Embedded(const std::vector<int64_t>& positions, int64_t shift) const {
  std::vector<int64_t> ids, none;
  for (size_t i = 0; i < positions.size(); i++) {
    const int64_t at = positions[i] - shift;
    if (at < 0) none.push_back(static_cast<int64_t>(i));
    ids.push_back(at < 0 ? 0 : tokens_[at]);
  }
  const at::Tensor rows = embeddings_.index_select(0, Index(ids, embeddings_.device()));
  if (!none.empty()) rows.index_fill_(0, Index(none, rows.device()), 0);
  return rows;
}

GoldPairs KeptSlot::PairsAt(const Layer& layer, const std::vector<int64_t>& positions) const {
  RowOps ops(c_, UnitEmbedding(Embedded(positions, 1)));
  return GoldPairsOf(c_, layer, UnitEmbedding(Embedded(positions, 0)), ops);
}

// Found again, as far as they are remembered.
GoldPairs KeptSlot::PairsOfTile(const Layer& layer, int64_t begin, int64_t count) const {
  const std::span<const int64_t> numbers = std::span(pairs_).subspan(begin, count);
  std::vector<int64_t> rows, missing;
  for (int64_t i = 0; i < count; i++) {
    if (numbers[i] >= 0) continue;
    rows.push_back(i);
    missing.push_back(begin + i);
  }
  if (static_cast<int64_t>(rows.size()) == count) return PairsAt(layer, missing);
  const size_t part = static_cast<size_t>(layer.index - c_.first_upper) * 2;
  const GoldPairs out{memo_.pairs.Rows(part, numbers), memo_.pairs.Rows(part + 1, numbers)};
  if (rows.empty()) return out;
  const GoldPairs made = PairsAt(layer, missing);
  const at::Tensor index = Index(rows, made.v.device());
  out.key_mix.index_copy_(0, index, made.key_mix);
  out.v.index_copy_(0, index, made.v);
  return out;
}

at::Tensor KeptSlot::Attend(const Layer& layer, const at::Tensor& q, const nn::RotaryRows& rotary,
                            double scale) const {
  const int64_t tokens = proto_keys_.size(0), queries = q.size(0);
  std::vector<int64_t> seen = Positions(tokens - queries + 1, queries);
  nn::TiledAttention attention(q, c_.heads(), std::move(seen), scale);
  const at::Tensor first = at::zeros({1, c_.width}, proto_keys_.options());
  for (int64_t begin = 0; begin < tokens; begin += nn::TiledAttention::kTile) {
    const int64_t count = std::min(nn::TiledAttention::kTile, tokens - begin);
    const at::Tensor before = begin > 0 ? proto_keys_.narrow(0, begin - 1, count)
                                        : at::cat({first, proto_keys_.narrow(0, 0, count - 1)});
    RowOps ops(c_, before);
    nn::RotaryRows part;
    if (rotary.cos.defined()) part = {rotary.cos.narrow(0, begin, count), rotary.sin.narrow(0, begin, count)};
    const GoldPairs pairs = PairsOfTile(layer, begin, count);
    attention.Add(GoldKeys(c_, layer, proto_keys_.narrow(0, begin, count), pairs.key_mix, part, ops), pairs.v);
  }
  return attention.Result();
}

}  // namespace volery::goldfinch
